// Owns the scheduler's decision: the node for one pod, or why there is none.
import type { KubeObject, Node, Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { NOTHING, planOf } from "./action.ts";
import { controllerOf } from "./claim.ts";
import { POD } from "./kinds.ts";
import { affinityOf, matchesNodeSelection, matchesTerm, misfit, taintsOf, tolerationsOf, untolerated } from "./node-fit.ts";
import { conditionOf, isFinished, isTerminating, timestamp } from "./pods.ts";
import { compareKeys } from "./replica-set.ts";
import { matchesSelector } from "./labels.ts";
import type { LabelSelector } from "./model.ts";
import { planTopology } from "./topology.ts";

export const SCHEDULER_NAME = "default-scheduler";

export interface ScheduleFacts {
  readonly pod: Pod;
  readonly nodes: readonly Node[];
  /** Every pod, with the node of those bound a moment ago filled in. */
  readonly pods: readonly Pod[];
  readonly namespaces: readonly KubeObject[];
  readonly now: number;
}

interface SpreadConstraint { maxSkew: number; topologyKey: string; whenUnsatisfiable?: string; labelSelector?: LabelSelector; minDomains?: number }

export function isSchedulable(pod: Pod): boolean {
  return pod.spec.nodeName === undefined && !isTerminating(pod) && !isFinished(pod)
    && (pod.spec["schedulerName"] ?? SCHEDULER_NAME) === SCHEDULER_NAME;
}

export function planSchedule(facts: ScheduleFacts): Plan {
  const { pod, nodes } = facts;
  if (!isSchedulable(pod)) return NOTHING;
  const gates = (pod.spec["schedulingGates"] ?? []) as { name: string }[];
  if (gates.length > 0) {
    return planOf(refuse(facts, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", false));
  }
  const byNode = new Map<string, Pod[]>(nodes.map((n) => [n.metadata.name, []]));
  for (const p of facts.pods) if (p.spec.nodeName !== undefined && p.metadata.uid !== pod.metadata.uid) byNode.get(p.spec.nodeName)?.push(p);
  const there = (n: Node): Pod[] => byNode.get(n.metadata.name) ?? [];
  const reasons = new Map<string, number>();
  const blame = (reason: string): void => void reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const topology = planTopology(facts, byNode);
  const fitting = nodes.filter((node) => {
    const reason = misfit(pod, node, there(node)) ?? topology.misfit(node) ?? skewed(facts, node, byNode);
    if (reason !== undefined) blame(reason);
    return reason === undefined;
  });
  const best = fitting
    .map((node) => ({ node, key: rank(pod, node, there(node)) }))
    .sort((a, b) => compareKeys(a.key, b.key) || (a.node.metadata.name < b.node.metadata.name ? -1 : 1))[0];
  if (best !== undefined) {
    const name = `${pod.metadata.namespace ?? ""}/${pod.metadata.name}`;
    return planOf([
      { do: "bind", pod, node: best.node.metadata.name },
      { do: "event", about: pod, type: "Normal", reason: "Scheduled", message: `Successfully assigned ${name} to ${best.node.metadata.name}` },
    ]);
  }
  return planOf(refuse(facts, "Unschedulable", explain(nodes.length, reasons), true));
}

/** Smaller is better: soft taints, then preferred affinity, then fewest pods of the same owner, then fewest pods. */
function rank(pod: Pod, node: Node, there: readonly Pod[]): number[] {
  const preferred = affinityOf(pod).nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const weight = preferred.filter((p) => matchesTerm(p.preference, node)).reduce((sum, p) => sum + p.weight, 0);
  const soft = untolerated(taintsOf(node), tolerationsOf(pod), ["PreferNoSchedule"]) === undefined ? 0 : 1;
  const owner = controllerOf(pod)?.uid;
  const live = there.filter((p) => !isFinished(p) && !isTerminating(p));
  return [soft, -weight, owner === undefined ? 0 : live.filter((p) => controllerOf(p)?.uid === owner).length, live.length];
}

/** topologySpreadConstraints with DoNotSchedule; ScheduleAnyway is served by the ranking's own spreading. */
function skewed(facts: ScheduleFacts, node: Node, byNode: ReadonlyMap<string, Pod[]>): string | undefined {
  const { pod, nodes } = facts;
  const constraints = (pod.spec["topologySpreadConstraints"] ?? []) as SpreadConstraint[];
  for (const c of constraints.filter((each) => (each.whenUnsatisfiable ?? "DoNotSchedule") === "DoNotSchedule")) {
    const domain = node.metadata.labels?.[c.topologyKey];
    if (domain === undefined) return "node(s) didn't match pod topology spread constraints (missing required label)";
    const counts = new Map<string, number>();
    for (const other of nodes) {
      const at = other.metadata.labels?.[c.topologyKey];
      if (at === undefined || !matchesNodeSelection(pod, other)) continue;
      const same = (byNode.get(other.metadata.name) ?? []).filter((p) => !isTerminating(p) && !isFinished(p)
        && p.metadata.namespace === pod.metadata.namespace && matchesSelector(c.labelSelector, p.metadata.labels));
      counts.set(at, (counts.get(at) ?? 0) + same.length);
    }
    const fewest = counts.size < (c.minDomains ?? 1) ? 0 : Math.min(...counts.values());
    const self = matchesSelector(c.labelSelector, pod.metadata.labels) ? 1 : 0;
    if ((counts.get(domain) ?? 0) + self - fewest > c.maxSkew) return "node(s) didn't match pod topology spread constraints";
  }
  return undefined;
}

function explain(total: number, reasons: ReadonlyMap<string, number>): string {
  if (total === 0) return "no nodes available to schedule pods";
  const parts = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${total} nodes are available: ${parts.join(", ")}.`;
}

function refuse(facts: ScheduleFacts, reason: string, message: string, tell: boolean): Action[] {
  const { pod, now } = facts;
  const before = conditionOf(pod.status?.conditions, "PodScheduled");
  if (before?.status === "False" && before.reason === reason && before.message === message) return [];
  const condition = {
    type: "PodScheduled", status: "False", reason, message,
    lastTransitionTime: before?.status === "False" ? (before.lastTransitionTime ?? timestamp(now)) : timestamp(now),
  };
  const conditions = [...(pod.status?.conditions ?? []).filter((c) => c.type !== "PodScheduled"), condition];
  const body = { metadata: { uid: pod.metadata.uid, resourceVersion: pod.metadata.resourceVersion }, status: { conditions } };
  const write: Action = { do: "merge", kind: POD, of: pod, body, subresource: "status" };
  return tell ? [write, { do: "event", about: pod, type: "Warning", reason: "FailedScheduling", message }] : [write];
}
