// Owns running the StatefulSet plan.
import type { Pod } from "@ambit/kube";
import type { ControllerEnv } from "./engine/env.ts";
import { followOwners, followSelf } from "./follow.ts";
import { CONTROLLER_REVISION, POD, STATEFUL_SET } from "./plan/kinds.ts";
import type { ControllerRevision, StatefulSet } from "./plan/model.ts";
import { planStatefulSet } from "./plan/stateful-set.ts";

const WORKERS = 2;

export function runStatefulSets(env: ControllerEnv): void {
  const sets = env.cache<StatefulSet>(STATEFUL_SET);
  const pods = env.cache<Pod>(POD);
  const revisions = env.cache<ControllerRevision>(CONTROLLER_REVISION);
  const applier = env.applier("statefulset-controller");
  const queue = env.queue("statefulset", WORKERS, async (key) => {
    const set = sets.at(key);
    if (set === undefined) return undefined;
    const namespace = set.metadata.namespace ?? "";
    return applier.run(planStatefulSet({ set, pods: pods.in(namespace), revisions: revisions.in(namespace), now: env.clock.now() }));
  });
  followSelf(sets, queue);
  followOwners(pods, sets, "StatefulSet", queue);
  followOwners(revisions, sets, "StatefulSet", queue);
}
