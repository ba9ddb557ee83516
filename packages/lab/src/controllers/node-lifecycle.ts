// Owns running the node plan: hears leases, doubts silence twice, and removes the pods of nodes that are gone.
import { ifFound, type KubeObject, type Node, type Pod } from "@ambit/kube";
import { keyOf } from "./engine/cache.ts";
import type { ControllerEnv } from "./engine/env.ts";
import { GRACE_MS, planNode, planPodCollection, type Liveness } from "./plan/node-lifecycle.ts";
import { LEASE, NODE, POD } from "./plan/kinds.ts";

const WORKERS = 2;
const LEASE_NAMESPACE = "kube-node-lease";
/**
 * Silence counts only while we ourselves hear the API server: after an outage of it all leases look old at once.
 * A lease must be seen unchanged twice, this far apart (more than one renewal period), before its node is called silent.
 */
const DOUBT_MS = 12_000;
/** Upstream's quarantine before pods of a vanished node are removed. */
const VANISHED_MS = 40_000;

interface Heard { renewTime: string; at: number; doubtedAt?: number }

export function runNodeLifecycle(env: ControllerEnv): void {
  const nodes = env.cache<Node>(NODE);
  const pods = env.cache<Pod>(POD);
  const leases = env.cache<KubeObject>(LEASE);
  const applier = env.applier("node-controller");
  const heard = new Map<string, Heard>();
  const renewal = (lease: KubeObject | undefined): string => (lease?.["spec"] as { renewTime?: string } | undefined)?.renewTime ?? "";

  const listen = (name: string, renewTime: string): Heard => {
    const before = heard.get(name);
    if (before !== undefined && before.renewTime === renewTime) return before;
    const now = { renewTime, at: env.clock.monotonic() };
    heard.set(name, now);
    return now;
  };
  async function judge(name: string): Promise<{ liveness: Liveness; againInMs: number }> {
    const last = listen(name, renewal(leases.get(LEASE_NAMESPACE, name)));
    const age = env.clock.monotonic() - last.at;
    if (age < GRACE_MS) return { liveness: "alive", againInMs: GRACE_MS - age };
    const live = await ifFound(env.client.get(LEASE, LEASE_NAMESPACE, name));
    if (listen(name, renewal(live)) !== last) return { liveness: "alive", againInMs: GRACE_MS };
    const now = env.clock.monotonic();
    last.doubtedAt ??= now;
    const left = last.doubtedAt + DOUBT_MS - now;
    return left > 0 ? { liveness: "alive", againInMs: left } : { liveness: "silent", againInMs: GRACE_MS };
  }

  const queue = env.queue("node", WORKERS, async (name) => {
    const node = nodes.at(name);
    if (node === undefined) { heard.delete(name); return undefined; }
    const { liveness, againInMs } = await judge(name);
    const own = pods.all().filter((p) => p.spec.nodeName === name);
    const again = await applier.run(planNode({ node, liveness, pods: own, now: env.clock.now() }));
    return Math.min(again ?? againInMs, againInMs);
  });
  nodes.listen(({ object }) => queue.add(object.metadata.name));
  leases.listen(({ object }) => {
    if (object.metadata.namespace !== LEASE_NAMESPACE) return;
    listen(object.metadata.name, renewal(object));
    // A renewal of a healthy node changes nothing worth a look.
    const ready = nodes.at(object.metadata.name)?.status?.conditions?.find((c) => c.type === "Ready");
    if (ready?.status !== "True") queue.add(object.metadata.name);
  });

  const collector = env.queue("pod-gc", WORKERS, async (key) => {
    const pod = pods.at(key);
    if (pod?.spec.nodeName === undefined || nodes.at(pod.spec.nodeName) !== undefined) return undefined;
    const node = await ifFound(env.client.get(NODE, undefined, pod.spec.nodeName));
    return applier.run(planPodCollection(pod, node));
  });
  nodes.listen((change) => {
    if (change.type !== "drop") return;
    for (const pod of pods.all()) if (pod.spec.nodeName === change.object.metadata.name) collector.addAfter(keyOf(pod), VANISHED_MS);
  });
  pods.listen(({ type, object }) => {
    if (type !== "put") return;
    if (object.spec.nodeName !== undefined && nodes.at(object.spec.nodeName) === undefined) collector.addAfter(keyOf(object), VANISHED_MS);
    else if (object.spec.nodeName !== undefined && isTainted(nodes.at(object.spec.nodeName))) queue.add(object.spec.nodeName);
  });
}

function isTainted(node: Node | undefined): boolean {
  return (node?.spec?.taints ?? []).some((t) => t.effect === "NoExecute");
}
