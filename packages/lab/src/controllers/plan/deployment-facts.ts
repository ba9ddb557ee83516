// Owns what the Deployment plans share: bounds from the strategy, revisions, and which ReplicaSet is the new one.
import type { Deployment, IntOrPercent, PodTemplate, ReplicaSet } from "./model.ts";
import { isEqual } from "./equal.ts";
import { byAge } from "./pods.ts";

export const REVISION = "deployment.kubernetes.io/revision";
export const DESIRED = "deployment.kubernetes.io/desired-replicas";
export const MAX_REPLICAS = "deployment.kubernetes.io/max-replicas";
export const HASH_LABEL = "pod-template-hash";

export interface Bounds { readonly maxSurge: number; readonly maxUnavailable: number }

/** An absolute number or a share of `total`; anything malformed counts as 0. */
export function scaled(value: IntOrPercent | undefined, total: number, round: "up" | "down"): number {
  if (typeof value === "number") return Math.max(0, value);
  const match = /^(\d+)%$/.exec(value ?? "");
  if (match === null) return 0;
  const share = (Number(match[1]) * total) / 100;
  return round === "up" ? Math.ceil(share) : Math.floor(share);
}

export function isRolling(d: Deployment): boolean {
  return d.spec.strategy?.type !== "Recreate";
}

/** Both cannot be zero, or a rollout could never move. */
export function boundsOf(d: Deployment): Bounds {
  const total = d.spec.replicas ?? 1;
  if (!isRolling(d)) return { maxSurge: 0, maxUnavailable: 0 };
  const rolling = d.spec.strategy?.rollingUpdate;
  const maxSurge = scaled(rolling?.maxSurge ?? "25%", total, "up");
  const maxUnavailable = Math.min(total, scaled(rolling?.maxUnavailable ?? "25%", total, "down"));
  return maxSurge === 0 && maxUnavailable === 0 ? { maxSurge, maxUnavailable: 1 } : { maxSurge, maxUnavailable };
}

export function revisionOf(o: { metadata: { annotations?: Record<string, string> } }): number {
  const n = Number(o.metadata.annotations?.[REVISION] ?? "0");
  return Number.isSafeInteger(n) ? n : 0;
}

/** The oldest whose template is the Deployment's own, hash label aside. */
export function findNewSet(d: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  const wanted = withoutHash(d.spec.template);
  return [...sets].sort(byAge).find((s) => isEqual(withoutHash(s.spec.template), wanted));
}

function withoutHash(template: PodTemplate): PodTemplate {
  const { [HASH_LABEL]: _, ...labels } = template.metadata?.labels ?? {};
  const { creationTimestamp: _created, ...metadata } = template.metadata ?? {};
  return { ...template, metadata: { ...metadata, labels } };
}

export const specReplicas = (s: ReplicaSet): number => s.spec.replicas ?? 1;
export const sumOf = (sets: readonly ReplicaSet[], of: (s: ReplicaSet) => number | undefined): number =>
  sets.reduce((sum, s) => sum + (of(s) ?? 0), 0);

/** Every wanted replica is new, available, and nothing old is left. */
export function isComplete(d: Deployment, status: NonNullable<Deployment["status"]>): boolean {
  const wanted = d.spec.replicas ?? 1;
  return status.updatedReplicas === wanted && status.replicas === wanted && status.availableReplicas === wanted
    && (status.observedGeneration ?? 0) >= (d.metadata.generation ?? 0);
}
