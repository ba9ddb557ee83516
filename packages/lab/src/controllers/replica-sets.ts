// Owns running the ReplicaSet and Deployment plans.
import { errorText } from "@ambit/runtime";
import { isConflict, KubeError, type Pod } from "@ambit/kube";
import { followOwners, followSelf } from "./follow.ts";
import type { ControllerEnv } from "./engine/env.ts";
import { joinKey } from "./engine/cache.ts";
import { controllerOf } from "./plan/claim.ts";
import { planDeployment } from "./plan/deployment.ts";
import { DEPLOYMENT, POD, REPLICA_SET } from "./plan/kinds.ts";
import type { Deployment, ReplicaSet } from "./plan/model.ts";
import { planReplicaSet, relatedPods } from "./plan/replica-set.ts";

const WORKERS = 5;

export function runReplicaSets(env: ControllerEnv): void {
  const sets = env.cache<ReplicaSet>(REPLICA_SET);
  const pods = env.cache<Pod>(POD);
  const applier = env.applier("replicaset-controller");
  const queue = env.queue("replicaset", WORKERS, async (key) => {
    const set = sets.at(key);
    if (set === undefined) return undefined;
    const namespace = set.metadata.namespace ?? "";
    const facts = () => {
      const there = pods.in(namespace);
      return { set: sets.at(key) ?? set, pods: there, related: relatedPods(set, sets.in(namespace), there), now: env.clock.now() };
    };
    try {
      return await applier.run(planReplicaSet(facts()));
    } catch (error) {
      const refused = error instanceof KubeError && error.status !== 0 && !isConflict(error);
      if (refused) await applier.run(statusOnly(planReplicaSet({ ...facts(), failure: errorText(error) })));
      throw error;
    }
  });
  followSelf(sets, queue);
  followOwners(pods, sets, "ReplicaSet", queue);
}

function statusOnly(plan: ReturnType<typeof planReplicaSet>): typeof plan {
  return { actions: plan.actions.filter((a) => a.do === "replace" && a.subresource === "status") };
}

export function runDeployments(env: ControllerEnv): void {
  const deployments = env.cache<Deployment>(DEPLOYMENT);
  const sets = env.cache<ReplicaSet>(REPLICA_SET);
  const pods = env.cache<Pod>(POD);
  const applier = env.applier("deployment-controller");
  const queue = env.queue("deployment", WORKERS, async (key) => {
    const deployment = deployments.at(key);
    if (deployment === undefined) return undefined;
    const near = sets.in(deployment.metadata.namespace ?? "");
    const own = near.filter((s) => controllerOf(s)?.uid === deployment.metadata.uid);
    const facts = { deployment, sets: near, pods: own.flatMap((s) => pods.controlledBy(s.metadata.uid)), now: env.clock.now() };
    return applier.run(planDeployment(facts));
  });
  followSelf(deployments, queue);
  followOwners(sets, deployments, "Deployment", queue);
  // Only Recreate waits for pods to be gone altogether; otherwise the sets' status says enough.
  pods.listen((change) => {
    if (change.type !== "drop") return;
    const ref = controllerOf(change.object);
    const set = ref?.kind === "ReplicaSet" ? sets.get(change.object.metadata.namespace, ref.name) : undefined;
    const owner = set && controllerOf(set);
    if (owner?.kind === "Deployment") queue.add(joinKey(change.object.metadata.namespace, owner.name));
  });
}
