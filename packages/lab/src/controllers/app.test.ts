import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { KINDS, KubeClient, loadClientConfig, Reflector, type EndpointSlice, type Kind, type KubeObject, type Pod } from "@ambit/kube";
import { createLogger, LogLevels, type Bound } from "@ambit/runtime";
import { startApiServer, type RunningApiServer } from "../apiserver/server.ts";
import { startControllers } from "./app.ts";
import { startObedientNodes, type ObedientNodes } from "./obedient-nodes.ts";
import type { DaemonSet, Deployment, Job } from "./plan/model.ts";

const log = createLogger("test", process.env["TEST_LOG"] === undefined ? { write: () => undefined } : { levels: new LogLevels("debug") });
const TOY: Kind = { group: "example.com", version: "v1", plural: "toys", kind: "Toy", namespaced: true };
/** Far more than any of these steps takes; only a broken controller meets it. */
const PATIENCE_MS = 15_000;

describe("the controllers against the API server", function () {
  this.timeout(30_000);
  let server: RunningApiServer;
  let client: KubeClient;
  let controllers: Bound;
  let nodes: ObedientNodes;
  let kubeconfig: string;

  const run = (): Promise<Bound> => startControllers({ config: loadClientConfig({ kubeconfig }), log });

  before(async () => {
    server = await startApiServer();
    kubeconfig = join(server.pkiDir, "test-controllers.kubeconfig");
    await server.writeKubeconfig(kubeconfig, "system:kube-controller-manager");
    client = new KubeClient(loadClientConfig({ kubeconfig: server.adminKubeconfig }));
    controllers = await run();
    nodes = await startObedientNodes(client, ["node-1", "node-2"]);
  });
  after(async () => {
    await controllers.drain();
    await nodes.stop();
    client.close();
    await server.close();
  });

  /** Resolves with the objects of the namespace as soon as they satisfy `ok`; fails with what they are. */
  async function until<T extends KubeObject>(kind: Kind, namespace: string | undefined, what: string, ok: (objects: T[]) => boolean): Promise<T[]> {
    const reflector = new Reflector<T>(client, kind, namespace === undefined ? {} : { namespace });
    const timeout = AbortSignal.timeout(PATIENCE_MS);
    try {
      return await new Promise<T[]>((resolve, reject) => {
        const check = (): void => { if (reflector.synced && ok(reflector.items())) resolve(reflector.items()); };
        reflector.handle({ onAdd: check, onUpdate: check, onDelete: check, onSynced: check }).start();
        timeout.addEventListener("abort", () => reject(new Error(`${what}: ${JSON.stringify(reflector.items().map((o) => [o.metadata.name, o["spec"], o["status"]])).slice(0, 3000)}`)));
      });
    } finally {
      await reflector.stop();
    }
  }
  const make = (kind: Kind, name: string, namespace: string, spec: object) =>
    client.create(kind, namespace, { apiVersion: kind.group === "" ? "v1" : `${kind.group}/v1`, kind: kind.kind, metadata: { name, namespace }, spec });
  const template = (app: string, image = "v1") => ({ metadata: { labels: { app } }, spec: { containers: [{ name: "c", image, ports: [{ name: "http", containerPort: 8080 }] }] } });
  const namespace = (name: string) => client.create(KINDS.namespaces, undefined, { apiVersion: "v1", kind: "Namespace", metadata: { name } });

  it("gives every namespace its ServiceAccount and the root CA", async () => {
    await namespace("given");
    await until(KINDS.serviceAccounts, "given", "default account", (all) => all.some((a) => a.metadata.name === "default"));
    const [map] = await until(KINDS.configMaps, "given", "root CA", (all) => all.some((a) => a.metadata.name === "kube-root-ca.crt"));
    assert.deepEqual(map?.["data"], { "ca.crt": server.ca });
  });

  it("rolls a Deployment out, up and over, with its Service's endpoints following", async () => {
    await namespace("shop");
    await until(KINDS.serviceAccounts, "shop", "default account", (all) => all.length > 0);
    await make(KINDS.services, "web", "shop", { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http" }] });
    await make(KINDS.deployments, "web", "shop", { replicas: 3, selector: { matchLabels: { app: "web" } }, template: template("web") });
    const done = (replicas: number, generation: number) => ([d]: Deployment[]): boolean =>
      d?.status?.availableReplicas === replicas && d.status.updatedReplicas === replicas && d.status.replicas === replicas && (d.status.observedGeneration ?? 0) >= generation;
    await until(KINDS.deployments, "shop", "3 available", done(3, 1));
    const ready = (n: number) => (slices: EndpointSlice[]): boolean => slices.flatMap((s) => s.endpoints ?? []).filter((e) => e.conditions?.ready === true).length === n;
    const [slice] = await until(KINDS.endpointSlices, "shop", "3 endpoints", ready(3));
    assert.deepEqual(slice?.ports, [{ name: "http", port: 8080, protocol: "TCP" }]);

    await client.patch(KINDS.deployments, "shop", "web", { spec: { replicas: 5 } }, { subresource: "scale" });
    await until(KINDS.deployments, "shop", "5 available", done(5, 2));
    const pods = await client.list<Pod>(KINDS.pods, "shop");
    assert.equal(Math.abs(pods.items.filter((p) => p.spec.nodeName === "node-1").length * 2 - 5), 1, "spread over both nodes");

    await client.patch(KINDS.deployments, "shop", "web", { spec: { template: template("web", "v2") } });
    await until(KINDS.deployments, "shop", "5 of v2", done(5, 3));
    const after = await until<Pod>(KINDS.pods, "shop", "only v2", (all) => all.length === 5 && all.every((p) => p.spec.containers[0]?.image === "v2"));
    assert.equal(after.length, 5);
    await until(KINDS.endpointSlices, "shop", "5 endpoints", ready(5));
  });

  it("puts a DaemonSet's pod on every node, also after a restart of the controllers", async () => {
    await namespace("daemons");
    await until(KINDS.serviceAccounts, "daemons", "default account", (all) => all.length > 0);
    await make(KINDS.daemonSets, "agent", "daemons", { selector: { matchLabels: { app: "agent" } }, template: template("agent") });
    const available = (n: number) => ([d]: DaemonSet[]): boolean => d?.status?.["numberAvailable"] === n && d.status["updatedNumberScheduled"] === n;
    await until(KINDS.daemonSets, "daemons", "2 daemons", available(2));
    await controllers.drain();
    controllers = await run();
    await client.patch(KINDS.daemonSets, "daemons", "agent", { spec: { template: template("agent", "v2") } });
    const pods = await until<Pod>(KINDS.pods, "daemons", "both replaced", (all) => all.length === 2 && all.every((p) => p.spec.containers[0]?.image === "v2" && p.spec.nodeName !== undefined));
    assert.deepEqual(pods.map((p) => p.spec.nodeName).sort(), ["node-1", "node-2"]);
  });

  it("empties a namespace of everything, custom resources included, and lets it go", async () => {
    await client.create(KINDS.customResourceDefinitions, undefined, {
      apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: { name: "toys.example.com" },
      spec: {
        group: "example.com", scope: "Namespaced", names: { plural: "toys", singular: "toy", kind: "Toy" },
        versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } }],
      },
    });
    await until(KINDS.customResourceDefinitions, undefined, "established", (all) =>
      all.some((c) => (c["status"] as { conditions?: { type: string; status: string }[] } | undefined)?.conditions?.some((x) => x.type === "Established" && x.status === "True")));
    await namespace("doomed");
    await until(KINDS.serviceAccounts, "doomed", "default account", (all) => all.length > 0);
    await make(KINDS.deployments, "web", "doomed", { replicas: 2, selector: { matchLabels: { app: "web" } }, template: template("web") });
    await client.create(TOY, "doomed", { apiVersion: "example.com/v1", kind: "Toy", metadata: { name: "bear" } });
    await until<Pod>(KINDS.pods, "doomed", "2 pods run", (all) => all.filter((p) => p.status?.phase === "Running").length === 2);
    await client.delete(KINDS.namespaces, undefined, "doomed");
    await until(KINDS.namespaces, undefined, "namespace gone", (all) => all.every((n) => n.metadata.name !== "doomed"));
    assert.equal((await client.list(KINDS.pods, "doomed")).items.length, 0);
    assert.equal((await client.list(TOY, "doomed")).items.length, 0);
  });

  it("collects what an owner leaves behind: in the background, in the foreground, or not at all", async () => {
    await namespace("owners");
    await until(KINDS.serviceAccounts, "owners", "default account", (all) => all.length > 0);
    for (const [policy, left] of [["Background", 0], ["Foreground", 0], ["Orphan", 2]] as const) {
      const name = `web-${policy.toLowerCase()}`;
      await make(KINDS.deployments, name, "owners", { replicas: 2, selector: { matchLabels: { app: name } }, template: template(name) });
      const mine = (all: Pod[]): Pod[] => all.filter((p) => p.metadata.labels?.["app"] === name);
      await until<Pod>(KINDS.pods, "owners", `${name} runs`, (all) => mine(all).filter((p) => p.status?.phase === "Running").length === 2);
      await client.delete(KINDS.deployments, "owners", name, { propagationPolicy: policy });
      await until(KINDS.deployments, "owners", `${name} is gone`, (all) => all.every((d) => d.metadata.name !== name));
      const sets = await until(KINDS.replicaSets, "owners", `${policy} decides on the set`, (all) => all.filter((s) => s.metadata.name.startsWith(name)).length === (left === 0 ? 0 : 1));
      await until<Pod>(KINDS.pods, "owners", `${policy} decides on the pods`, (all) => mine(all).length === left);
      if (left > 0) assert.deepEqual(sets.find((s) => s.metadata.name.startsWith(name))?.metadata.ownerReferences ?? [], []);
    }
  });

  it("collects a custom resource whose owner never existed", async () => {
    const ownerReferences = [{ apiVersion: "v1", kind: "ConfigMap", name: "nobody", uid: "00000000-0000-0000-0000-000000000000" }];
    await client.create(TOY, "owners", { apiVersion: "example.com/v1", kind: "Toy", metadata: { name: "stray", ownerReferences } });
    await until(TOY, "owners", "stray is gone", (all) => all.length === 0);
  });

  it("is killed again and again in the middle of work, and neither loses nor doubles anything", async () => {
    await controllers.drain();
    await namespace("stormy");
    const spawned = (): ChildProcess => spawn(process.execPath, [join(import.meta.dirname, "main.ts"), "--kubeconfig", kubeconfig], { stdio: "ignore" });
    let child = spawned();
    try {
      await until(KINDS.serviceAccounts, "stormy", "default account", (all) => all.length > 0);
      await make(KINDS.deployments, "web", "stormy", { replicas: 20, selector: { matchLabels: { app: "web" } }, template: template("web") });
      await make(KINDS.jobs, "once", "stormy", { completions: 6, parallelism: 3, template: { spec: { ...template("job").spec, restartPolicy: "Never" } } });
      nodes.fate = (p) => (p.metadata.labels?.["job-name"] === undefined ? "run" : "Succeeded");
      for (const milestone of [1, 8, 15]) {
        await until<Pod>(KINDS.pods, "stormy", `${milestone} pods`, (all) => all.length >= milestone);
        child.kill("SIGKILL");
        await once(child, "exit");
        child = spawned();
      }
      await until<Deployment>(KINDS.deployments, "stormy", "20 available", ([d]) => d?.status?.availableReplicas === 20);
      await until<Job>(KINDS.jobs, "stormy", "job complete", ([j]) => j?.status?.succeeded === 6);
      const pods = (await client.list<Pod>(KINDS.pods, "stormy")).items;
      assert.deepEqual([pods.filter((p) => p.metadata.labels?.["app"] === "web").length, pods.filter((p) => p.status?.phase === "Succeeded").length], [20, 6]);
      assert.equal((await client.list(KINDS.replicaSets, "stormy")).items.length, 1);
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
      controllers = await run();
    }
  });
});
