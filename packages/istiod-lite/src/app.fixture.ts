// Owns the surroundings of the app's tests: the lab's API server as a process, the manifests' rights, clients of both sides.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { applyManifests, KINDS, KubeClient, parseKubeconfig, parseManifests, type KubeObject } from "@ambit/kube";
import { security, workload } from "@ambit/proto";
import { createLogger, LogLevels, seededRandom, systemClock } from "@ambit/runtime";
import { chartObjects } from "@ambit/testkit";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, createControlPlane, createXdsClient, proxyNode, type ControlPlane, type XdsClient } from "@ambit/xds";
import { build, type App } from "./app.ts";
import { readConfig } from "./config.ts";

const REPO = join(import.meta.dirname, "../../..");
const WAIT_MS = 10_000;
export const quiet = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });

/** Polls a condition that has no event of its own on this side of the wire. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline; await systemClock.sleep(10)) if (await holds()) return;
  throw new Error(`still not after ${WAIT_MS} ms: ${what}`);
}

export class Cluster {
  /** Warnings and errors of control planes, as they would be logged. */
  readonly warnings: string[] = [];
  readonly #dir = mkdtempSync(join(tmpdir(), "ambit-istiod-"));
  #process: ChildProcess | undefined;
  #port = 0;
  #admin: KubeClient | undefined;

  get admin(): KubeClient {
    if (this.#admin === undefined) throw new Error("the cluster is not started");
    return this.#admin;
  }
  get server(): string { return `https://127.0.0.1:${this.#port}`; }

  /** Also after `stop`: on the same port with the same state. */
  async start(): Promise<void> {
    const args = [join(REPO, "packages/lab/src/apiserver/main.ts"), "--data", join(this.#dir, "data"), "--pki", join(this.#dir, "pki"), "--listen", `127.0.0.1:${this.#port}`];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#process = child;
    this.#port = await new Promise<number>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`the API server ended with ${code}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const record = JSON.parse(line) as { msg: string; port: number };
        if (record.msg === "listening") resolve(record.port);
      });
    });
    const file = join(this.#dir, "pki", "admin.kubeconfig");
    this.#admin ??= new KubeClient({ ...parseKubeconfig(readFileSync(file, "utf8"), file), server: this.server });
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    await new Promise<void>((resolve) => { child.once("exit", () => resolve()); child.kill("SIGTERM"); });
  }

  async remove(): Promise<void> {
    this.#admin?.close();
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async apply(yaml: string): Promise<void> {
    await applyManifests(this.admin, parseManifests(yaml, "test"), { fieldManager: "test" });
  }
  crd(path: string): Promise<void> {
    return this.apply(readFileSync(join(REPO, "manifests/charts/base/crds", path), "utf8"));
  }
  /** The namespace, and the control plane's account, rights and settings. Its webhook is open: nobody answers for it in most tests. */
  async mesh(): Promise<void> {
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "istio-system" } };
    for (const o of [namespace, ...chartObjects("istiod-lite")]) {
      for (const webhook of (o as { webhooks?: Record<string, unknown>[] }).webhooks ?? []) webhook["failurePolicy"] = "Ignore";
      await this.apply(JSON.stringify(o));
    }
  }

  /** A pod that runs, as a kubelet would report it. */
  async runPod(o: { name: string; namespace: string; node: string; ip: string; serviceAccount: string; labels?: Record<string, string>; enrolled?: boolean }): Promise<KubeObject> {
    const { name, namespace } = o;
    await this.apply(JSON.stringify({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: o.serviceAccount, namespace } }));
    await this.admin.create(KINDS.pods, namespace, {
      apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels: o.labels ?? {}, annotations: o.enrolled === true ? { "ambient.istio.io/redirection": "enabled" } : {} },
      spec: { nodeName: o.node, serviceAccountName: o.serviceAccount, containers: [{ name: "c", image: "x" }] },
    });
    const status = { phase: "Running", podIP: o.ip, podIPs: [{ ip: o.ip }], conditions: [{ type: "Ready", status: "True" }] };
    return this.admin.patch(KINDS.pods, namespace, name, { status }, { subresource: "status" });
  }

  /** A projected token; bound to a pod when one is given. */
  async token(namespace: string, serviceAccount: string, audience: string | undefined, pod?: KubeObject): Promise<string> {
    const spec = {
      ...(audience === undefined ? {} : { audiences: [audience] }), expirationSeconds: 3600,
      ...(pod === undefined ? {} : { boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod.metadata.name, uid: pod.metadata.uid } }),
    };
    const answer = await this.admin.request<{ status: { token: string } }>("POST", `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`, {
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec } });
    return answer.status.token;
  }

  /** The control plane as its own service account, with no more rights than its manifest gives. */
  async istiod(env: Record<string, string> = {}): Promise<App> {
    const token = await this.token("istio-system", "istiod", undefined);
    const { ca } = this.admin.config;
    const config = readConfig({ GRPC_PORT: "0", HTTP_PORT: "0", MONITORING_PORT: "0", DEBUG_PORT: "0", HTTPS_PORT: "0", LISTEN_ADDRESS: "127.0.0.1", ...env });
    return build({ config, levels: new LogLevels("warn"), log: createLogger("istiod", { levels: new LogLevels("warn"), write: (line) => this.warnings.push(line) }), cluster: { server: this.server, ...(ca === undefined ? {} : { ca }), token: async () => token } });
  }
}

/** A ztunnel's side of xDS: keeps what it is sent, in order. */
export class Proxy {
  readonly addresses = new Map<string, MessageShape<typeof workload.AddressSchema>>();
  readonly policies = new Map<string, MessageShape<typeof security.AuthorizationSchema>>();
  /** One entry per resource received: `+name` or `-name`. */
  readonly log: string[] = [];
  readonly client: XdsClient;
  readonly #plane: ControlPlane;

  constructor(app: App, token: string, name = "ztunnel-1", node = "node-1") {
    this.#plane = createControlPlane({ address: `https://127.0.0.1:${app.grpcPort}`, roots: app.rootsPem, token, clusterId: "Kubernetes", altHostname: "istiod.istio-system.svc", clock: systemClock });
    this.client = createXdsClient({
      connect: this.#plane, clock: systemClock, random: seededRandom(1), log: quiet,
      node: proxyNode({ role: "ztunnel", ip: "10.244.1.2", podName: name, podNamespace: "istio-system", nodeName: node }),
      types: [{ typeUrl: ADDRESS_TYPE, onDemand: false }, { typeUrl: AUTHORIZATION_TYPE, onDemand: false }],
      handler: (type, { upserts, removed }) => {
        for (const u of upserts) {
          this.log.push(`+${u.name}`);
          if (type === ADDRESS_TYPE) this.addresses.set(u.name, fromBinary(workload.AddressSchema, u.bytes));
          else this.policies.set(u.name, fromBinary(security.AuthorizationSchema, u.bytes));
        }
        for (const name of removed) {
          this.log.push(`-${name}`);
          this.addresses.delete(name);
          this.policies.delete(name);
        }
        return [];
      },
    });
  }

  workload(name: string): MessageShape<typeof workload.WorkloadSchema> | undefined {
    const type = this.addresses.get(name)?.type;
    return type?.case === "workload" ? type.value : undefined;
  }

  close(): void {
    this.client.close();
    this.#plane.close();
  }
}

/** One question as istioctl asks it, over the first version of xDS; the answer's bytes as text. */
export async function askDebug(app: App, authorization: string, question: { typeUrl: string; resources: readonly string[] }): Promise<string> {
  const client = new Client(`127.0.0.1:${app.grpcPort}`, credentials.createSsl(Buffer.from(app.rootsPem)), { "grpc.ssl_target_name_override": "istiod.istio-system.svc", "grpc.use_local_subchannel_pool": 1 });
  const metadata = new Metadata();
  metadata.set("authorization", authorization);
  const w = new BinaryWriter();
  w.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string("sidecar~1.2.3.4~test.ns~ns.svc.cluster.local").join();
  for (const name of question.resources) w.tag(3, WireType.LengthDelimited).string(name);
  // istioctl makes up a nonce for its first request.
  w.tag(4, WireType.LengthDelimited).string(question.typeUrl).tag(5, WireType.LengthDelimited).string("2026-01-01 00:00:00 +0000 UTC m=+0.1");
  const call = client.makeBidiStreamRequest<Uint8Array, Buffer>("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", (b) => Buffer.from(b), (b) => b, metadata);
  try {
    return await new Promise((resolve, reject) => {
      call.on("data", (b: Buffer) => resolve(b.toString("latin1"))).on("error", reject);
      call.write(w.finish());
    });
  } finally {
    call.cancel();
    client.close();
  }
}
