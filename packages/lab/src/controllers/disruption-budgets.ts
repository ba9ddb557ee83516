// Owns running the PodDisruptionBudget plan.
import type { Kind, KubeObject, Pod } from "@ambit/kube";
import { keyOf } from "./engine/cache.ts";
import type { ControllerEnv } from "./engine/env.ts";
import { followSelf } from "./follow.ts";
import { controllerOf } from "./plan/claim.ts";
import { planBudget, type DisruptionBudget } from "./plan/disruption-budget.ts";
import { DEPLOYMENT, POD, POD_DISRUPTION_BUDGET, REPLICA_SET, STATEFUL_SET } from "./plan/kinds.ts";
import { matchesSelector } from "./plan/labels.ts";

const WORKERS = 1;
const COUNTED: Readonly<Record<string, Kind>> = { ReplicaSet: REPLICA_SET, StatefulSet: STATEFUL_SET, Deployment: DEPLOYMENT };

export function runDisruptionBudgets(env: ControllerEnv): void {
  const budgets = env.cache<DisruptionBudget>(POD_DISRUPTION_BUDGET);
  const pods = env.cache<Pod>(POD);
  const applier = env.applier("disruption-controller");
  /** Up the chain: a ReplicaSet of a Deployment wants what the Deployment wants. */
  const wantedBy = (object: KubeObject): { uid: string; replicas: number } | undefined => {
    const ref = controllerOf(object);
    const kind = COUNTED[ref?.kind ?? ""];
    const owner = kind === undefined || ref === undefined ? undefined : env.cache<KubeObject>(kind).get(object.metadata.namespace, ref.name);
    if (ref === undefined || owner?.metadata.uid !== ref.uid) return undefined;
    return wantedBy(owner) ?? { uid: ref.uid, replicas: (owner["spec"] as { replicas?: number }).replicas ?? 1 };
  };
  const queue = env.queue("disruption", WORKERS, async (key) => {
    const budget = budgets.at(key);
    if (budget === undefined) return undefined;
    return applier.run(planBudget({ budget, pods: pods.in(budget.metadata.namespace ?? ""), wantedBy, now: env.clock.now() }));
  });
  followSelf(budgets, queue);
  const touch = (namespace: string, labels?: Record<string, string>): void => {
    for (const budget of budgets.in(namespace)) if (labels === undefined || matchesSelector(budget.spec?.selector, labels)) queue.add(keyOf(budget));
  };
  pods.listen(({ object }) => touch(object.metadata.namespace ?? "", object.metadata.labels ?? {}));
  for (const kind of Object.values(COUNTED)) env.cache(kind).listen(({ object }) => touch(object.metadata.namespace ?? ""));
}
