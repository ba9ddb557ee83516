// Decides how far a Deployment or DaemonSet has come, from its status and its pods. Pure.
import type { KubeObject, Pod } from "@ambit/kube";

export interface Rollout { readonly name: string; readonly ready: number; readonly wanted: number }
interface Status { observedGeneration?: number; readyReplicas?: number; numberReady?: number; desiredNumberScheduled?: number; updatedReplicas?: number; updatedNumberScheduled?: number }

export const isLate = (r: Rollout): boolean => r.wanted === 0 || r.ready < r.wanted;
export const waitingFor = (rollouts: readonly Rollout[]): string => rollouts.filter(isLate).map((r) => `${r.name} ${r.ready}/${r.wanted}`).join(", ") || "the first objects";

/** Pods of one template carry one hash, whichever kind made them. */
const hashOf = (p: Pod): string => p.metadata.labels?.["pod-template-hash"] ?? p.metadata.labels?.["controller-revision-hash"] ?? "";
const isReady = (p: Pod): boolean => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
/** Going, or ended and kept for its log (evicted). */
const isPast = (p: Pod): boolean => p.metadata.deletionTimestamp !== undefined || p.status?.phase === "Failed" || p.status?.phase === "Succeeded";

/**
 * All are ready only when the status says so and every pod is ready and of one template. The status alone does not tell: while pods surge, a ready
 * old one and a starting new one count as one that is ready and one that is new.
 */
export function rolloutOf(o: KubeObject, pods: readonly Pod[]): Rollout {
  const spec = o["spec"] as { replicas?: number; selector?: { matchLabels?: Readonly<Record<string, string>> } };
  const labels = Object.entries(spec.selector?.matchLabels ?? {});
  const own = pods.filter((p) => p.metadata.namespace === o.metadata.namespace && !isPast(p) && labels.every(([k, v]) => p.metadata.labels?.[k] === v));
  const settled = own.every(isReady) && new Set(own.map(hashOf)).size < 2;
  const status = (o["status"] ?? {}) as Status;
  const current = (status.observedGeneration ?? 0) >= (o.metadata.generation ?? 0);
  const deployment = o.kind === "Deployment";
  const wanted = deployment ? (spec.replicas ?? 1) : current ? (status.desiredNumberScheduled ?? 0) : 0;
  const ready = !current ? 0 : deployment ? Math.min(status.readyReplicas ?? 0, status.updatedReplicas ?? 0) : Math.min(status.numberReady ?? 0, status.updatedNumberScheduled ?? 0);
  return { name: `${o.kind?.toLowerCase()}/${o.metadata.name}`, wanted, ready: settled ? ready : Math.max(0, Math.min(ready, wanted - 1)) };
}
