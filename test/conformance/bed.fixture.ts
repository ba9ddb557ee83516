// Owns the bed of the mesh conformance cases: a cluster with echo-v1, echo-v2 and echo in one namespace, a client in another, and a waypoint for both.
import assert from "node:assert/strict";
import { KINDS, type KubeObject } from "@ambit/kube";
import { ambitLater } from "../e2e/cli.fixture.ts";
import { accountOf, documents } from "../e2e/client-log.fixture.ts";
import { TestCluster } from "../e2e/cluster.fixture.ts";

export const MESH = "gateway-conformance-mesh";
export const CONSUMER = "gateway-conformance-mesh-consumer";
/** The suite's own patience, and how often in a row a check must hold. */
const CONSISTENCY_MS = 30_000;
export const IN_A_ROW = 3;
const POLL_MS = 100;

export interface Seen { readonly server: string; readonly pod: string; readonly protocol: string; readonly method: string; readonly path: string; readonly host: string; readonly headers: Readonly<Record<string, string>>; readonly client: string; readonly sni?: string }
export interface Answer { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string; readonly seen?: Seen; readonly grpcStatus?: number; readonly error?: string }
export interface Ask { readonly method?: string; readonly headers?: Readonly<Record<string, string>>; readonly count?: number; readonly h2?: boolean; readonly body?: string; readonly from?: { readonly namespace: string; readonly pod: string } }

export const podOf = (name: string): string => `${name}-pod`;
export const echoPod = (lab: TestCluster, name: string, namespace: string, node: string, labels: Readonly<Record<string, string>> = {}, env: Readonly<Record<string, string>> = {}): string => JSON.stringify({
  // Another name than its Service's: a pod finds its own host name in /etc/hosts.
  apiVersion: "v1", kind: "Pod", metadata: { name: podOf(name), namespace, labels: { app: "echo", version: name.replace("echo-", ""), instance: name, ...labels } },
  spec: {
    nodeSelector: { "kubernetes.io/hostname": node }, terminationGracePeriodSeconds: 0, serviceAccountName: name,
    containers: [{ name: "echo", image: "ambit/sample:lab", command: lab.program("echo", "serve", name), env: Object.entries(env).map(([variable, value]) => ({ name: variable, value })) }],
  },
});
const echoService = (name: string, selector: object, grpcProtocol?: string): string => JSON.stringify({
  apiVersion: "v1", kind: "Service", metadata: { name, namespace: MESH },
  spec: { selector, ports: [
    { name: "http", port: 80, targetPort: 8080, appProtocol: "http" }, { name: "http-alt", port: 8080, appProtocol: "http" }, { name: "tcp", port: 9090 },
    { name: "grpc", port: 7070, ...(grpcProtocol === undefined ? {} : { appProtocol: grpcProtocol }) }, { name: "undeclared", port: 8090 },
  ] },
});
const namespace = (name: string): string => JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { "istio.io/dataplane-mode": "ambient", "gateway-conformance": "mesh" } } });

export class MeshBed {
  readonly lab: TestCluster;

  /** `echo: false`: without the suite's own objects. */
  static async start(o: { readonly echo?: boolean } = {}): Promise<MeshBed> {
    const lab = await TestCluster.start();
    if (o.echo === false) return new MeshBed(lab);
    try {
      await lab.apply(documents(
        namespace(MESH), namespace(CONSUMER), ...["echo-v1", "echo-v2"].map((n) => accountOf(n, MESH)), accountOf("echo-v1", CONSUMER),
        echoService("echo", { app: "echo" }, "kubernetes.io/h2c"), echoService("echo-v1", { instance: "echo-v1" }), echoService("echo-v2", { instance: "echo-v2" }),
        echoPod(lab, "echo-v1", MESH, "node-1"), echoPod(lab, "echo-v2", MESH, "node-2"), echoPod(lab, "echo-v1", CONSUMER, "node-2"),
      ));
      await Promise.all([lab.ready(MESH, { enrolled: true, count: 2 }), lab.ready(CONSUMER, { enrolled: true, count: 1 })]);
      const bed = new MeshBed(lab);
      const applied = await bed.ambit("waypoint", "apply", "-n", MESH, "--enroll-namespace", "--wait");
      assert.equal(applied.code, 0, applied.err);
      return bed;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  private constructor(lab: TestCluster) {
    this.lab = lab;
  }

  stop(): Promise<void> {
    return this.lab.stop();
  }

  ambit(...args: string[]): ReturnType<typeof ambitLater> {
    return ambitLater([...args, ...this.lab.cliOptions]);
  }

  /** From echo-v1 of the mesh namespace unless said otherwise. */
  async ask(url: string, o: Ask = {}): Promise<Answer[]> {
    const from = o.from ?? { namespace: MESH, pod: podOf("echo-v1") };
    const args = [
      ...(o.method === undefined ? [] : ["--method", o.method]), ...Object.entries(o.headers ?? {}).flatMap(([k, v]) => ["-H", `${k}:${v}`]),
      ...(o.count === undefined ? [] : ["--count", String(o.count)]), ...(o.h2 === true ? ["--h2"] : []), ...(o.body === undefined ? [] : ["--body", o.body]),
    ];
    const text = await this.lab.kubectl("-n", from.namespace, "exec", from.pod, "--", ...this.lab.program("echo", "ask", url, ...args));
    return text.trim().split("\n").map((line) => JSON.parse(line) as Answer);
  }

  async askOnce(url: string, o: Ask = {}): Promise<Answer> {
    const [answer] = await this.ask(url, { ...o, count: 1 });
    assert.ok(answer !== undefined);
    return answer;
  }

  /** As the suite: a check must hold, within its patience. Three in a row are one question with a count of three. */
  async eventually(check: () => Promise<void>): Promise<void> {
    const end = Date.now() + CONSISTENCY_MS;
    for (;;) {
      try {
        return await check();
      } catch (error) {
        if (Date.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
  }

  /** Applies objects for one case and takes them away after it. */
  async with(objects: readonly object[], run: () => Promise<void>): Promise<void> {
    const applied = await this.lab.apply(documents(...objects.map((o) => JSON.stringify(o))));
    try {
      await run();
    } finally {
      for (const o of applied) await this.lab.kubectl("-n", o.metadata.namespace ?? "default", "delete", o.kind ?? "", o.metadata.name, "--ignore-not-found");
    }
  }

  /** What a route says of its parents. */
  parentsOf(kind: "HTTPRoute" | "GRPCRoute", namespaceOfRoute: string, name: string): Promise<readonly Record<string, unknown>[]> {
    return this.statusList(kind, namespaceOfRoute, name, "parents");
  }

  async statusList(kind: string, namespaceOfRoute: string, name: string, list: "parents" | "ancestors"): Promise<readonly Record<string, unknown>[]> {
    const text = await this.lab.kubectl("-n", namespaceOfRoute, "get", kind, name, "-o", "json");
    return ((JSON.parse(text) as KubeObject)["status"] as Partial<Record<typeof list, Record<string, unknown>[]>> | undefined)?.[list] ?? [];
  }

  async serviceIp(name: string): Promise<string> {
    const found = await this.lab.client.get(KINDS.services, MESH, name);
    return (found["spec"] as { clusterIP: string }).clusterIP;
  }

  async podIp(name: string): Promise<string> {
    const found = await this.lab.client.get(KINDS.pods, MESH, podOf(name));
    return (found["status"] as { podIP: string }).podIP;
  }
}

export const toService = (name: string, port?: number, ns?: string): object => ({ group: "", kind: "Service", name, ...(port === undefined ? {} : { port }), ...(ns === undefined ? {} : { namespace: ns }) });
export const httpRoute = (name: string, spec: object, ns = MESH): object => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name, namespace: ns }, spec });
export const grpcRoute = (name: string, spec: object, ns = MESH): object => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "GRPCRoute", metadata: { name, namespace: ns }, spec });
export const backend = (name: string, more: object = {}): object => ({ name, port: 80, ...more });
export const serverOf = (a: Answer): string | undefined => a.seen?.server;
