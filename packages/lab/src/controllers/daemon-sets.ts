// Owns running the DaemonSet plan.
import type { Node, Pod } from "@ambit/kube";
import type { ControllerEnv } from "./engine/env.ts";
import { keyOf } from "./engine/cache.ts";
import { followOwners, followSelf } from "./follow.ts";
import { planDaemonSet } from "./plan/daemon-set.ts";
import { isEqual } from "./plan/equal.ts";
import { CONTROLLER_REVISION, DAEMON_SET, NODE, POD } from "./plan/kinds.ts";
import type { ControllerRevision, DaemonSet } from "./plan/model.ts";

const WORKERS = 2;

export function runDaemonSets(env: ControllerEnv): void {
  const sets = env.cache<DaemonSet>(DAEMON_SET);
  const pods = env.cache<Pod>(POD);
  const nodes = env.cache<Node>(NODE);
  const revisions = env.cache<ControllerRevision>(CONTROLLER_REVISION);
  const applier = env.applier("daemonset-controller");
  const queue = env.queue("daemonset", WORKERS, async (key) => {
    const set = sets.at(key);
    if (set === undefined) return undefined;
    const namespace = set.metadata.namespace ?? "";
    return applier.run(planDaemonSet({ set, pods: pods.in(namespace), nodes: nodes.all(), revisions: revisions.in(namespace), now: env.clock.now() }));
  });
  followSelf(sets, queue);
  followOwners(pods, sets, "DaemonSet", queue);
  followOwners(revisions, sets, "DaemonSet", queue);
  nodes.listen((change) => {
    const old = change.type === "put" ? change.old : undefined;
    // Heartbeats change a node's status every few seconds and move no daemon.
    if (old !== undefined && isEqual(old.spec, change.object.spec) && isEqual(old.metadata.labels, change.object.metadata.labels)) return;
    for (const set of sets.all()) queue.add(keyOf(set));
  });
}
