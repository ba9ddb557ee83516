// Owns waiting until Deployments and DaemonSets have come to what was asked for, and saying what they wait for.
import { KINDS, Reflector, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { systemClock, withTimeout } from "@ambit/runtime";
import { UsageError } from "../usage-error.ts";

/** Without a namespace the whole cluster is watched. */
export interface RolloutQuestion { readonly concerns: (o: KubeObject) => boolean; readonly limitMs: number; readonly namespace?: string }
export interface Rollout { readonly name: string; readonly ready: number; readonly wanted: number }

/**
 * Every Deployment and DaemonSet that `concerns` picks is current and ready, and its pods are of the newest template alone; at least one there must be.
 * Statuses do not tell the last: while pods surge, a ready old one and a starting new one look like a ready new one.
 */
export async function untilRolledOut(client: KubeClient, { concerns, limitMs, ...where }: RolloutQuestion, onProgress: (rollouts: Rollout[]) => void): Promise<void> {
  const deployments = new Reflector(client, KINDS.deployments, where);
  const daemonSets = new Reflector(client, KINDS.daemonSets, where);
  const pods = new Reflector<Pod>(client, KINDS.pods, where);
  let last: Rollout[] = [];
  let late = false;
  try {
    const done = new Promise<void>((resolve) => {
      const look = () => {
        if (!deployments.synced || !daemonSets.synced || !pods.synced) return;
        const all = [...pods.items()];
        last = [...deployments.items(), ...daemonSets.items()].filter(concerns).map((o) => rolloutOf(o, all));
        onProgress(last);
        if (last.length > 0 && !last.some(isLate)) resolve();
      };
      for (const r of [deployments, daemonSets, pods]) r.handle({ onAdd: look, onUpdate: look, onDelete: look, onSynced: look }).start();
    });
    await withTimeout(systemClock, limitMs, done, () => {
      late = true;
      return new Error("late");
    }).catch(async (error: unknown) => {
      if (!late) throw error;
      const sets = new Set([...deployments.items(), ...daemonSets.items()].filter(concerns).map((o) => o.metadata.namespace ?? ""));
      const why = await reasons(client, [...sets]);
      throw new UsageError(`not ready after ${limitMs / 1000} s: ${waitingFor(last)}${why === "" ? "" : ` (${why})`}`);
    });
  } finally {
    await Promise.all([deployments.stop(), daemonSets.stop(), pods.stop()]);
  }
}

export const isLate = (r: Rollout): boolean => r.wanted === 0 || r.ready < r.wanted;
export const waitingFor = (rollouts: readonly Rollout[]): string => rollouts.filter(isLate).map((r) => `${r.name} ${r.ready}/${r.wanted}`).join(", ") || "the first objects";

/** Pods of one template carry one hash, whichever kind made them. */
const hashOf = (p: Pod): string => p.metadata.labels?.["pod-template-hash"] ?? p.metadata.labels?.["controller-revision-hash"] ?? "";

function rolloutOf(o: KubeObject, all: readonly Pod[]): Rollout {
  const spec = o["spec"] as { replicas?: number; selector?: { matchLabels?: Readonly<Record<string, string>> } };
  const labels = Object.entries(spec.selector?.matchLabels ?? {});
  const own = all.filter((p) => p.metadata.namespace === o.metadata.namespace && p.metadata.deletionTimestamp === undefined && labels.every(([k, v]) => p.metadata.labels?.[k] === v));
  const isReady = (p: Pod): boolean => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
  const settled = own.every(isReady) && new Set(own.map(hashOf)).size < 2;
  const status = (o["status"] ?? {}) as { observedGeneration?: number; readyReplicas?: number; numberReady?: number; desiredNumberScheduled?: number; updatedReplicas?: number; updatedNumberScheduled?: number };
  const current = (status.observedGeneration ?? 0) >= (o.metadata.generation ?? 0);
  const deployment = o.kind === "Deployment";
  const wanted = deployment ? (spec.replicas ?? 1) : current ? (status.desiredNumberScheduled ?? 0) : 0;
  const ready = !current ? 0 : deployment ? Math.min(status.readyReplicas ?? 0, status.updatedReplicas ?? 0) : Math.min(status.numberReady ?? 0, status.updatedNumberScheduled ?? 0);
  return { name: `${o.kind?.toLowerCase()}/${o.metadata.name}`, wanted, ready: settled ? ready : Math.max(0, Math.min(ready, wanted - 1)) };
}

/** What kubelets and the scheduler say about pods that are not ready, the first few. */
async function reasons(client: KubeClient, namespaces: readonly string[]): Promise<string> {
  const pods = (await Promise.all(namespaces.map((n) => client.list<Pod>(KINDS.pods, n)))).flatMap((l) => l.items);
  return pods.flatMap((p) => {
    if (p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true) return [];
    const statuses = (p.status?.["containerStatuses"] ?? []) as readonly { state?: { waiting?: { reason?: string; message?: string } } }[];
    const waiting = statuses.map((s) => s.state?.waiting).find((w) => w?.reason !== undefined);
    const condition = p.status?.conditions?.find((c) => c.status === "False");
    const said = waiting === undefined ? (condition?.message ?? condition?.reason) : `${waiting.reason ?? ""}${waiting.message === undefined ? "" : `: ${waiting.message}`}`;
    return said === undefined ? [] : [`${p.metadata.name}: ${said}`];
  }).slice(0, 3).join("; ");
}
