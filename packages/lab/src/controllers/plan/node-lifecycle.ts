// Owns what follows from a node's silence: conditions, taints, unready pods, and whom the taints drive out.
import type { Condition, KubeObject, Node, Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf, sooner } from "./action.ts";
import { isEqual } from "./equal.ts";
import { NODE, POD } from "./kinds.ts";
import type { Taint, Toleration } from "./model.ts";
import { taintsOf, tolerates, tolerationsOf } from "./node-fit.ts";
import { conditionOf, instant, isFinished, isTerminating, timestamp } from "./pods.ts";

/** Upstream's --node-monitor-grace-period: four missed renewals of ten seconds. */
export const GRACE_MS = 40_000;
/** What admission gives every pod upstream (DefaultTolerationSeconds): the lab honours it without writing it into pods. */
const DEFAULT_TOLERATION_S = 300;

const NOT_READY = "node.kubernetes.io/not-ready";
const UNREACHABLE = "node.kubernetes.io/unreachable";
const OWN = [NOT_READY, UNREACHABLE];
const SILENT = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
export type Liveness = "alive" | "silent";

export interface NodeFacts {
  readonly node: Node;
  readonly liveness: Liveness;
  /** Pods bound to the node. */
  readonly pods: readonly Pod[];
  readonly now: number;
}

export function planNode({ node, liveness, pods, now }: NodeFacts): Plan {
  const actions: Action[] = [];
  const conditions = liveness === "silent" ? silenced(node, now) : (node.status?.conditions ?? []);
  if (!isEqual(conditions, node.status?.conditions ?? [])) {
    actions.push({ do: "replace", kind: NODE, object: { ...node, status: { ...node.status, conditions } }, subresource: "status" });
    actions.push({ do: "event", about: node, type: "Normal", reason: "NodeNotReady", message: `Node ${node.metadata.name} status is now: NodeNotReady` });
    // The node's version has changed by this: its taints follow in the next round.
    return planOf([...actions, ...unreadyPods(pods, now)], 1);
  }
  const ready = conditionOf(conditions, "Ready")?.status ?? "Unknown";
  const wanted = wantedTaints(node, ready, now);
  if (!isEqual(wanted, taintsOf(node))) actions.push({ do: "replace", kind: NODE, object: { ...node, spec: { ...node.spec, taints: wanted } } });
  if (ready !== "True" && liveness === "silent") actions.push(...unreadyPods(pods, now));
  const eviction = planEvictions(wanted, pods, now);
  return planOf([...actions, ...eviction.actions], eviction.againInMs);
}

function silenced(node: Node, now: number): Condition[] {
  const conditions = [...(node.status?.conditions ?? [])];
  for (const type of SILENT) {
    const at = conditions.findIndex((c) => c.type === type);
    const old = conditions[at];
    if (old?.status === "Unknown" || (old === undefined && type !== "Ready")) continue;
    const next: Condition = { ...old, type, status: "Unknown", reason: "NodeStatusUnknown", message: "Kubelet stopped posting node status.", lastTransitionTime: timestamp(now) };
    if (at === -1) conditions.push(next);
    else conditions[at] = next;
  }
  return conditions;
}

/** Ours come and go with the Ready condition; everybody else's stay as they are. */
function wantedTaints(node: Node, ready: string, now: number): Taint[] {
  const before = taintsOf(node);
  const others = before.filter((t) => !OWN.includes(t.key));
  if (ready === "True") return others;
  const key = ready === "False" ? NOT_READY : UNREACHABLE;
  const mine = ["NoSchedule", "NoExecute"].map((effect) => before.find((t) => t.key === key && t.effect === effect)
    ?? { key, effect, ...(effect === "NoExecute" ? { timeAdded: timestamp(now) } : {}) });
  return [...others, ...mine];
}

/** Their kubelet cannot say it any more; endpoints must not go on pointing at them. */
function unreadyPods(pods: readonly Pod[], now: number): Action[] {
  return pods.filter((p) => !isFinished(p) && conditionOf(p.status?.conditions, "Ready")?.status === "True").map((pod) => {
    const conditions = (pod.status?.conditions ?? []).map((c) => (c.type === "Ready" ? { ...c, status: "False", lastTransitionTime: timestamp(now) } : c));
    const { uid, resourceVersion } = pod.metadata;
    return { do: "merge", kind: POD, of: pod, body: { metadata: { uid, resourceVersion }, status: { conditions } }, subresource: "status" };
  });
}

function planEvictions(taints: readonly Taint[], pods: readonly Pod[], now: number): Plan {
  const actions: Action[] = [];
  let againInMs: number | undefined;
  const driving = taints.filter((t) => t.effect === "NoExecute");
  for (const pod of driving.length === 0 ? [] : pods.filter((p) => !isTerminating(p) && !isFinished(p))) {
    const left = Math.min(...driving.map((taint) => toleratedForMs(taint, tolerationsOf(pod), now)));
    if (left === Infinity) continue;
    if (left > 0) { againInMs = sooner(againInMs, left); continue; }
    actions.push({ do: "event", about: pod, type: "Normal", reason: "TaintManagerEviction", message: `Marking for deletion Pod ${pod.metadata.namespace}/${pod.metadata.name}` });
    actions.push({ do: "delete", kind: POD, object: pod });
  }
  return planOf(actions, againInMs);
}

/** Infinity when tolerated for good, 0 or less when its time is up. */
function toleratedForMs(taint: Taint, tolerations: readonly Toleration[], now: number): number {
  const matching = tolerations.filter((t) => tolerates(t, taint));
  const defaulted = matching.length === 0 && OWN.includes(taint.key) ? [{ tolerationSeconds: DEFAULT_TOLERATION_S }] : matching;
  if (defaulted.length === 0) return 0;
  const seconds = defaulted.map((t) => t.tolerationSeconds).filter((s) => s !== undefined);
  if (seconds.length === 0) return Infinity;
  return (instant(taint.timeAdded) ?? now) + Math.max(0, Math.min(...seconds)) * 1000 - now;
}

/** Pods whose node is gone: nobody is left who could end them. */
export function planPodCollection(pod: Pod, node: KubeObject | undefined): Plan {
  if (node !== undefined || pod.spec.nodeName === undefined) return planOf([]);
  return planOf([{ do: "delete", kind: POD, object: pod, graceSeconds: 0 }]);
}
