// Owns a Deployment's status: counts, and the Available and Progressing conditions with the reasons kubectl looks for.
import { boundsOf, isComplete, sumOf } from "./deployment-facts.ts";
import type { Deployment, DeploymentCondition, ReplicaSet } from "./model.ts";
import { conditionOf, instant, timestamp } from "./pods.ts";

type Status = NonNullable<Deployment["status"]>;

export interface StatusFacts {
  readonly deployment: Deployment;
  readonly sets: readonly ReplicaSet[];
  readonly newSet: ReplicaSet | undefined;
  /** Decided in this very plan. */
  readonly created: ReplicaSet | undefined;
  readonly now: number;
}

/** The API server's stand-in for "no deadline". */
const NO_DEADLINE = 2 ** 31 - 1;

export function deploymentStatus(facts: StatusFacts): { status: Status; againInMs?: number } {
  const { deployment: d, sets, newSet, now } = facts;
  const wanted = d.spec.replicas ?? 1;
  const total = sumOf(sets, (s) => s.spec.replicas ?? 1);
  const availableReplicas = sumOf(sets, (s) => s.status?.availableReplicas);
  const counts = {
    observedGeneration: d.metadata.generation ?? 0,
    replicas: sumOf(sets, (s) => s.status?.replicas),
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: sumOf(sets, (s) => s.status?.readyReplicas),
    availableReplicas,
    unavailableReplicas: Math.max(0, total - availableReplicas),
  };
  const base: Status = { ...d.status, ...nonZero(counts) };
  for (const key of ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"] as const) {
    if (counts[key] === 0) delete base[key];
  }
  const complete = { ...base, ...counts };
  const conditions = [...(d.status?.conditions ?? [])];
  set(conditions, availability(availableReplicas >= wanted - boundsOf(d).maxUnavailable), now);
  mirrorFailure(conditions, sets, now);
  const progress = progressOf(facts, complete);
  if (progress.condition !== undefined) set(conditions, progress.condition, now, progress.moved);
  return { status: { ...base, conditions }, ...(progress.againInMs === undefined ? {} : { againInMs: progress.againInMs }) };
}

/** A set that cannot make its pods says so on the Deployment, where users look. */
function mirrorFailure(conditions: DeploymentCondition[], sets: readonly ReplicaSet[], now: number): void {
  const failure = sets.map((s) => conditionOf(s.status?.conditions, "ReplicaFailure")).find((c) => c !== undefined);
  const at = conditions.findIndex((c) => c.type === "ReplicaFailure");
  if (failure !== undefined) {
    set(conditions, { type: "ReplicaFailure", status: failure.status, reason: failure.reason ?? "", message: failure.message ?? "" }, now);
  } else if (at !== -1) conditions.splice(at, 1);
}

interface Draft { readonly type: string; readonly status: "True" | "False" | "Unknown"; readonly reason: string; readonly message: string }

function availability(yes: boolean): Draft {
  return yes
    ? { type: "Available", status: "True", reason: "MinimumReplicasAvailable", message: "Deployment has minimum availability." }
    : { type: "Available", status: "False", reason: "MinimumReplicasUnavailable", message: "Deployment does not have minimum availability." };
}

interface Progress { readonly condition?: Draft; readonly moved?: boolean; readonly againInMs?: number }

function progressOf(facts: StatusFacts, status: Status): Progress {
  const { deployment: d, newSet, created, now } = facts;
  const name = (newSet ?? created)?.metadata.name;
  const what = name === undefined ? `Deployment "${d.metadata.name}"` : `ReplicaSet "${name}"`;
  const say = (status: "True" | "False" | "Unknown", reason: string, message: string): Draft => ({ type: "Progressing", status, reason, message });
  const current = conditionOf(d.status?.conditions, "Progressing") as DeploymentCondition | undefined;
  const limitS = d.spec.progressDeadlineSeconds;
  if (limitS === undefined || limitS === NO_DEADLINE) return {};
  if (d.spec.paused === true) {
    if (current?.reason === "ProgressDeadlineExceeded" || current?.reason === "DeploymentPaused") return {};
    return { condition: say("Unknown", "DeploymentPaused", "Deployment is paused") };
  }
  if (created !== undefined) return { condition: say("True", "NewReplicaSetCreated", `Created new replica set "${name}"`), againInMs: limitS * 1000 };
  if (isComplete(d, status)) {
    if (current?.reason === "NewReplicaSetAvailable" && current.message?.startsWith(what) === true) return {};
    return { condition: say("True", "NewReplicaSetAvailable", `${what} has successfully progressed.`) };
  }
  if (current?.reason === "DeploymentPaused") return { condition: say("Unknown", "DeploymentResumed", "Deployment is resumed"), againInMs: limitS * 1000 };
  if (current === undefined && newSet !== undefined) {
    return { condition: say("True", "FoundNewReplicaSet", `Found new replica set "${name}"`), againInMs: limitS * 1000 };
  }
  if (hasProgressed(d.status ?? {}, status)) {
    return { condition: say("True", "ReplicaSetUpdated", `${what} is progressing.`), moved: true, againInMs: limitS * 1000 };
  }
  // A finished rollout that only lost a pod is not "progressing": its condition stays.
  if (current === undefined || current.reason === "NewReplicaSetAvailable" || current.reason === "ProgressDeadlineExceeded") return {};
  const deadline = (instant(current.lastUpdateTime) ?? now) + limitS * 1000;
  if (now < deadline) return { againInMs: deadline - now };
  return { condition: say("False", "ProgressDeadlineExceeded", `${what} has timed out progressing.`) };
}

function hasProgressed(before: Status, after: Status): boolean {
  const old = (s: Status): number => (s.replicas ?? 0) - (s.updatedReplicas ?? 0);
  return (after.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) || old(after) < old(before)
    || (after.readyReplicas ?? 0) > (before.readyReplicas ?? 0) || (after.availableReplicas ?? 0) > (before.availableReplicas ?? 0);
}

/** Changes the list; lastTransitionTime moves with the status only, lastUpdateTime whenever something is said anew. */
function set(conditions: DeploymentCondition[], draft: Draft, now: number, moved = false): void {
  const at = conditions.findIndex((c) => c.type === draft.type);
  const before = conditions[at];
  if (before !== undefined && !moved && before.status === draft.status && before.reason === draft.reason && before.message === draft.message) return;
  const time = timestamp(now);
  const next: DeploymentCondition = {
    ...draft, lastUpdateTime: time,
    lastTransitionTime: before?.status === draft.status ? (before.lastTransitionTime ?? time) : time,
  };
  if (at === -1) conditions.push(next);
  else conditions[at] = next;
}

function nonZero<T extends Record<string, number>>(counts: T): Partial<T> {
  return Object.fromEntries(Object.entries(counts).filter(([key, n]) => n !== 0 || key === "observedGeneration")) as Partial<T>;
}
