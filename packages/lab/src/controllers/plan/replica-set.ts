// Owns the ReplicaSet decision: how many pods to make, which to remove, and what the status says.
import type { Condition, Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { claim, controllerOf } from "./claim.ts";
import { isEqual } from "./equal.ts";
import { POD, REPLICA_SET } from "./kinds.ts";
import { isSubset } from "./labels.ts";
import type { ContainerStatus, ReplicaSet } from "./model.ts";
import { availableInMs, conditionOf, createdAt, instant, isActive, isReady, timestamp } from "./pods.ts";
import { podFromTemplate } from "./template.ts";

/** Upstream's burst: one faulty template must not flood the API in one step. */
const BURST_MAX = 500;
const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";

export interface ReplicaSetFacts {
  readonly set: ReplicaSet;
  /** Every pod of the namespace. */
  readonly pods: readonly Pod[];
  /** Pods of the same grand-owner on each node decide which replica is the most redundant. */
  readonly related?: readonly Pod[];
  /** The last attempt to make or remove pods failed with this. */
  readonly failure?: string;
  readonly now: number;
}

export function planReplicaSet(facts: ReplicaSetFacts): Plan {
  const { set, now } = facts;
  const { mine, actions } = claim({ kind: REPLICA_SET, object: set, selector: set.spec.selector }, POD, facts.pods);
  const active = mine.filter(isActive);
  const steps: Action[] = [...actions];
  if (set.metadata.deletionTimestamp === undefined) steps.push(...scale(set, active, facts.related ?? active));
  const minReady = set.spec.minReadySeconds ?? 0;
  const waits = active.map((pod) => availableInMs(pod, minReady, now)).filter((ms) => ms !== undefined && ms > 0);
  const status = statusOf(facts, active);
  if (!isEqual({ ...set.status, ...status }, { conditions: [], ...set.status })) {
    steps.push({ do: "replace", kind: REPLICA_SET, object: { ...set, status: { ...set.status, ...status } }, subresource: "status" });
  }
  return planOf(steps, waits.length === 0 ? undefined : Math.min(...(waits as number[])));
}

function scale(set: ReplicaSet, active: readonly Pod[], related: readonly Pod[]): Action[] {
  const wanted = set.spec.replicas ?? 1;
  const missing = Math.min(wanted - active.length, BURST_MAX);
  if (missing > 0) {
    return Array.from({ length: missing }, () => ({ do: "create", kind: POD, object: podFromTemplate(REPLICA_SET, set, set.spec.template), owner: set }));
  }
  if (missing === 0) return [];
  return rankForDeletion(active, related)
    .slice(0, Math.min(-missing, BURST_MAX))
    .map((pod) => ({ do: "delete", kind: POD, object: pod, owner: set }));
}

function statusOf({ set, failure, now }: ReplicaSetFacts, active: readonly Pod[]): NonNullable<ReplicaSet["status"]> {
  const labels = set.spec.template.metadata?.labels ?? {};
  const minReady = set.spec.minReadySeconds ?? 0;
  return {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((p) => isSubset(labels, p.metadata.labels ?? {})).length,
    readyReplicas: active.filter(isReady).length,
    availableReplicas: active.filter((p) => availableInMs(p, minReady, now) === 0).length,
    observedGeneration: set.metadata.generation ?? 0,
    conditions: failureConditions(set, active.length, failure, now),
  };
}

/** ReplicaFailure stays until the number of pods is right again. */
function failureConditions(set: ReplicaSet, active: number, failure: string | undefined, now: number): Condition[] {
  const others = (set.status?.conditions ?? []).filter((c) => c.type !== "ReplicaFailure");
  const before = conditionOf(set.status?.conditions, "ReplicaFailure");
  const wanted = set.spec.replicas ?? 1;
  const reason = active < wanted ? "FailedCreate" : "FailedDelete";
  // Messages carry made-up pod names: to write each of them would call for the next attempt at once.
  if (failure !== undefined && before?.reason !== reason) {
    return [...others, { type: "ReplicaFailure", status: "True", reason, message: failure, lastTransitionTime: timestamp(now) }];
  }
  return before === undefined || active === wanted ? others : [...others, before];
}

/**
 * The first to go comes first. Order: not on a node, pending before running, not ready, lower deletion cost, most
 * siblings on its node, ready most recently, most restarts, youngest.
 */
export function rankForDeletion(pods: readonly Pod[], related: readonly Pod[]): Pod[] {
  const siblings = new Map<string, number>();
  for (const pod of related) {
    if (!isActive(pod)) continue;
    const node = pod.spec.nodeName ?? "";
    siblings.set(node, (siblings.get(node) ?? 0) + 1);
  }
  const key = (pod: Pod): number[] => [
    pod.spec.nodeName === undefined ? 0 : 1,
    ["Pending", "Unknown"].indexOf(pod.status?.phase ?? "Pending") + 1 || 3,
    isReady(pod) ? 1 : 0,
    Number.parseInt(pod.metadata.annotations?.[DELETION_COST] ?? "0", 10) || 0,
    -(siblings.get(pod.spec.nodeName ?? "") ?? 0),
    -(instant(conditionOf(pod.status?.conditions, "Ready")?.lastTransitionTime) ?? Number.MAX_SAFE_INTEGER),
    -restarts(pod),
    -createdAt(pod),
  ];
  return pods
    .map((pod) => ({ pod, key: key(pod) }))
    .sort((a, b) => compareKeys(a.key, b.key) || (a.pod.metadata.name < b.pod.metadata.name ? -1 : 1))
    .map(({ pod }) => pod);
}

function restarts(pod: Pod): number {
  const statuses = (pod.status?.["containerStatuses"] ?? []) as ContainerStatus[];
  return Math.max(0, ...statuses.map((s) => s.restartCount ?? 0));
}

export function compareKeys(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Pods of all ReplicaSets that share this one's controller (a Deployment), for the ranking. */
export function relatedPods(set: ReplicaSet, sets: readonly ReplicaSet[], pods: readonly Pod[]): Pod[] {
  const grand = controllerOf(set)?.uid;
  const uids = new Set(sets.filter((s) => s === set || (grand !== undefined && controllerOf(s)?.uid === grand)).map((s) => s.metadata.uid));
  return pods.filter((p) => uids.has(controllerOf(p)?.uid));
}
