// Owns a PodDisruptionBudget's status: how many pods an eviction may take right now.
import type { Condition, KubeObject, Pod } from "@ambit/kube";
import type { Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { scaled } from "./deployment-facts.ts";
import { isEqual } from "./equal.ts";
import { POD_DISRUPTION_BUDGET } from "./kinds.ts";
import { matchesSelector } from "./labels.ts";
import type { IntOrPercent, LabelSelector } from "./model.ts";
import { conditionOf, instant, isActive, isFinished, isReady, isTerminating, timestamp } from "./pods.ts";

/** An eviction that was granted but whose pod lives on after this was given up (upstream's DeletionTimeout). */
const GRANT_MS = 120_000;

export interface DisruptionBudget extends KubeObject {
  spec?: { selector?: LabelSelector; minAvailable?: IntOrPercent; maxUnavailable?: IntOrPercent };
  status?: Record<string, unknown> & { disruptedPods?: Record<string, string>; conditions?: Condition[] };
}

export interface BudgetFacts {
  readonly budget: DisruptionBudget;
  readonly pods: readonly Pod[];
  /** Replicas that the owner of a pod wants, or undefined when it has none that counts. */
  readonly wantedBy: (pod: Pod) => { readonly uid: string; readonly replicas: number } | undefined;
  readonly now: number;
}

export function planBudget({ budget, pods, wantedBy, now }: BudgetFacts): Plan {
  const selector = budget.spec?.selector;
  const mine = pods.filter((p) => !isFinished(p) && matchesSelector(selector, p.metadata.labels));
  const owners = new Map(mine.flatMap((p) => { const o = wantedBy(p); return o === undefined ? [] : [[o.uid, o.replicas] as const]; }));
  const unowned = mine.filter((p) => wantedBy(p) === undefined).length;
  const expectedPods = owners.size === 0 ? mine.length : owners.values().reduce((sum, n) => sum + n, unowned);
  const { minAvailable, maxUnavailable } = budget.spec ?? {};
  const desiredHealthy = maxUnavailable !== undefined && maxUnavailable !== null
    ? Math.max(0, expectedPods - scaled(maxUnavailable, expectedPods, "up")) : scaled(minAvailable ?? 1, expectedPods, "up");
  const disruptedPods = Object.fromEntries(Object.entries(budget.status?.disruptedPods ?? {}).filter(([name, since]) => {
    const pod = mine.find((p) => p.metadata.name === name);
    return pod !== undefined && !isTerminating(pod) && (instant(since) ?? 0) + GRANT_MS > now;
  }));
  const currentHealthy = mine.filter((p) => isActive(p) && isReady(p) && disruptedPods[p.metadata.name] === undefined).length;
  const disruptionsAllowed = expectedPods === 0 ? 0 : Math.max(0, currentHealthy - desiredHealthy);
  const before = conditionOf(budget.status?.conditions, "DisruptionAllowed");
  const state = disruptionsAllowed > 0 ? "True" : "False";
  const condition: Condition = {
    type: "DisruptionAllowed", status: state, reason: state === "True" ? "SufficientPods" : "InsufficientPods", message: "",
    observedGeneration: budget.metadata.generation ?? 0,
    lastTransitionTime: before?.status === state ? (before.lastTransitionTime ?? timestamp(now)) : timestamp(now),
  };
  const status = {
    ...budget.status, expectedPods, desiredHealthy, currentHealthy, disruptionsAllowed, observedGeneration: budget.metadata.generation ?? 0,
    ...(Object.keys(disruptedPods).length === 0 && budget.status?.disruptedPods === undefined ? {} : { disruptedPods }),
    conditions: [...(budget.status?.conditions ?? []).filter((c) => c.type !== "DisruptionAllowed"), condition],
  };
  const waits = Object.values(disruptedPods).map((since) => (instant(since) ?? 0) + GRANT_MS - now);
  if (isEqual(status, budget.status)) return planOf([], waits.length === 0 ? undefined : Math.min(...waits));
  return planOf([{ do: "replace", kind: POD_DISRUPTION_BUDGET, object: { ...budget, status }, subresource: "status" }], waits.length === 0 ? undefined : Math.min(...waits));
}
