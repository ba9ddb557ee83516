// Owns waiting until Deployments and DaemonSets have come to what was asked for, and saying what they wait for.
import { KINDS, Reflector, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { systemClock, withTimeout } from "@ambit/runtime";
import { UsageError } from "../usage-error.ts";
import { isLate, rolloutOf, waitingFor, type Rollout } from "./plan/rollout.ts";

/** Without a namespace the whole cluster is watched. */
export interface RolloutQuestion { readonly concerns: (o: KubeObject) => boolean; readonly limitMs: number; readonly namespace?: string }

/** Every Deployment and DaemonSet that `concerns` picks has come to its newest template; at least one there must be. */
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
