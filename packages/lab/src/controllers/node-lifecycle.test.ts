import assert from "node:assert/strict";
import { KINDS, KubeClient, loadClientConfig, Reflector, type Kind, type KubeObject, type Node, type Pod } from "@ambit/kube";
import { createLogger, systemClock, type Bound, type Clock } from "@ambit/runtime";
import { startApiServer, type RunningApiServer } from "../apiserver/server.ts";
import { startControllers } from "./app.ts";

/** Minutes of a node's silence in seconds of a test. */
const SPEED = 50;
const fast: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * SPEED,
  after: (delayMs, task, options) => systemClock.after(delayMs / SPEED, task, options),
  every: (periodMs, task) => systemClock.every(periodMs / SPEED, task),
  sleep: (delayMs, signal) => systemClock.sleep(delayMs / SPEED, signal),
};
const log = createLogger("test", { write: () => undefined });
const PATIENCE_MS = 15_000;

describe("the node lifecycle against the API server", function () {
  this.timeout(30_000);
  let server: RunningApiServer;
  let client: KubeClient;
  let controllers: Bound;
  before(async () => {
    server = await startApiServer();
    client = new KubeClient(loadClientConfig({ kubeconfig: server.adminKubeconfig }));
    controllers = await startControllers({ config: loadClientConfig({ kubeconfig: server.adminKubeconfig }), log, clock: fast });
  });
  after(async () => {
    await controllers.drain();
    client.close();
    await server.close();
  });

  async function until<T extends KubeObject>(kind: Kind, name: string, what: string, ok: (object: T | undefined) => boolean): Promise<T | undefined> {
    const reflector = new Reflector<T>(client, kind, { fieldSelector: `metadata.name=${name}` });
    const timeout = AbortSignal.timeout(PATIENCE_MS);
    try {
      return await new Promise<T | undefined>((resolve, reject) => {
        const check = (): void => { if (reflector.synced && ok(reflector.items()[0])) resolve(reflector.items()[0]); };
        reflector.handle({ onAdd: check, onUpdate: check, onDelete: check, onSynced: check }).start();
        timeout.addEventListener("abort", () => reject(new Error(`${what}: ${JSON.stringify(reflector.items())}`)));
      });
    } finally {
      await reflector.stop();
    }
  }
  const ready = (object: { status?: { conditions?: { type: string; status: string }[] } } | undefined): string | undefined =>
    object?.status?.conditions?.find((c) => c.type === "Ready")?.status;
  const setReady = (kind: Kind, namespace: string | undefined, name: string) => client.patch(kind, namespace, name,
    { status: { ...(kind === KINDS.pods ? { phase: "Running", podIP: "10.244.1.9" } : {}), conditions: [{ type: "Ready", status: "True", lastTransitionTime: new Date().toISOString() }] } }, { subresource: "status" });

  it("notices that a node fell silent, and that it is back", async () => {
    await client.create(KINDS.nodes, undefined, { apiVersion: "v1", kind: "Node", metadata: { name: "quiet" } });
    await setReady(KINDS.nodes, undefined, "quiet");
    const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "quiet" }, spec: { holderIdentity: "quiet", leaseDurationSeconds: 40, renewTime: "2026-01-01T00:00:00.000000Z" } };
    await client.create(KINDS.leases, "kube-node-lease", lease);
    await until(KINDS.serviceAccounts, "default", "account", (a) => a !== undefined);
    await client.create(KINDS.pods, "default", { apiVersion: "v1", kind: "Pod", metadata: { name: "there" }, spec: { nodeName: "quiet", containers: [{ name: "c", image: "x" }] } });
    await setReady(KINDS.pods, "default", "there");
    const node = await until<Node>(KINDS.nodes, "quiet", "silence is noticed", (n) => ready(n) === "Unknown" && (n?.spec?.taints ?? []).length === 2);
    assert.deepEqual(node?.spec?.taints?.map((t) => `${t.key}:${t.effect}`), ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"]);
    await until<Pod>(KINDS.pods, "there", "its pod is not ready any more", (p) => ready(p) === "False" && p?.metadata.deletionTimestamp === undefined);

    await client.patch(KINDS.leases, "kube-node-lease", "quiet", { spec: { renewTime: "2026-01-01T00:10:00.000000Z" } });
    await setReady(KINDS.nodes, undefined, "quiet");
    await until<Node>(KINDS.nodes, "quiet", "it is welcome again", (n) => ready(n) === "True" && (n?.spec?.taints ?? []).length === 0);
  });

  it("removes the pods of a node that is gone", async () => {
    await client.delete(KINDS.nodes, undefined, "quiet");
    await until<Pod>(KINDS.pods, "there", "its pod goes too", (p) => p === undefined);
  });
});
