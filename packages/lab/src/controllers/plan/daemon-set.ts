// Owns the DaemonSet decision: which nodes need a pod, which pods must go, how an update advances.
import type { Node, Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { claim } from "./claim.ts";
import { scaled } from "./deployment-facts.ts";
import { isEqual } from "./equal.ts";
import { DAEMON_SET, POD } from "./kinds.ts";
import type { ControllerRevision, DaemonSet, Toleration } from "./model.ts";
import { matchesNodeSelection, taintsOf, tolerationsOf, untolerated } from "./node-fit.ts";
import { availableInMs, byAge, isFinished, isReady, isTerminating } from "./pods.ts";
import { hashOf, planHistory, REVISION_HASH } from "./revisions.ts";
import { podFromTemplate } from "./template.ts";

export interface DaemonSetFacts {
  readonly set: DaemonSet;
  readonly pods: readonly Pod[];
  readonly nodes: readonly Node[];
  readonly revisions: readonly ControllerRevision[];
  readonly now: number;
}

/** Daemons are how a node becomes usable, so they run on nodes that are not (upstream's list). */
const TOLERATIONS: readonly Toleration[] = [
  ...["not-ready", "unreachable"].map((key) => ({ key: `node.kubernetes.io/${key}`, operator: "Exists", effect: "NoExecute" })),
  ...["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"].map((key) => ({ key: `node.kubernetes.io/${key}`, operator: "Exists", effect: "NoSchedule" })),
];
const NETWORK_TOLERATION: Toleration = { key: "node.kubernetes.io/network-unavailable", operator: "Exists", effect: "NoSchedule" };

export function planDaemonSet(facts: DaemonSetFacts): Plan {
  const { set, now } = facts;
  const { mine, actions } = claim({ kind: DAEMON_SET, object: set, selector: set.spec.selector }, POD, facts.pods);
  const inUse = new Set(mine.map((p) => p.metadata.labels?.[REVISION_HASH] ?? ""));
  const history = planHistory(DAEMON_SET, set, facts.revisions, inUse);
  const steps: Action[] = [...actions, ...history.actions];
  if (history.current === undefined) return planOf(steps);
  const hash = hashOf(history.current);
  const byNode = new Map<string, Pod[]>();
  for (const pod of mine) {
    const node = targetNode(pod);
    if (node !== undefined) byNode.set(node, [...(byNode.get(node) ?? []), pod]);
  }
  const stations = facts.nodes.map((node) => ({ node, ...suits(set, node), pods: (byNode.get(node.metadata.name) ?? []).sort(byAge) }));
  if (set.metadata.deletionTimestamp === undefined) {
    const moves = stations.flatMap((station) => place(set, station, hash));
    // An update waits until every node has what it should have.
    steps.push(...(moves.length > 0 ? moves : update(set, stations, hash, now)));
  }
  const { status, againInMs } = statusOf(set, stations, hash, now);
  if (!isEqual({ ...set.status, ...status }, set.status)) {
    steps.push({ do: "replace", kind: DAEMON_SET, object: { ...set, status: { ...set.status, ...status } }, subresource: "status" });
  }
  return planOf(steps, againInMs);
}

interface Station { readonly node: Node; readonly run: boolean; readonly keep: boolean; readonly pods: readonly Pod[] }

/** Bound, or waiting for the scheduler with an affinity for exactly one node. */
export function targetNode(pod: Pod): string | undefined {
  if (pod.spec.nodeName !== undefined) return pod.spec.nodeName;
  const affinity = pod.spec["affinity"] as { nodeAffinity?: { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: { matchFields?: { key: string; values?: string[] }[] }[] } } } | undefined;
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return terms.flatMap((t) => t.matchFields ?? []).find((f) => f.key === "metadata.name")?.values?.[0];
}

/** `run`: a pod should start there; `keep`: a pod that already runs there may stay. */
function suits(set: DaemonSet, node: Node): { run: boolean; keep: boolean } {
  const probe = daemonPod(set, node.metadata.name, "");
  if (!matchesNodeSelection({ ...probe, spec: { ...set.spec.template.spec } } as Pod, node)) return { run: false, keep: false };
  const tolerations = tolerationsOf(probe as Pod);
  return {
    run: untolerated(taintsOf(node), tolerations, ["NoSchedule", "NoExecute"]) === undefined,
    keep: untolerated(taintsOf(node), tolerations, ["NoExecute"]) === undefined,
  };
}

function daemonPod(set: DaemonSet, node: string, hash: string): ReturnType<typeof podFromTemplate> & { spec: Pod["spec"] } {
  const { spec } = set.spec.template;
  const affinity = (spec["affinity"] ?? {}) as { nodeAffinity?: { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: object[] } } };
  const matchFields = [{ key: "metadata.name", operator: "In", values: [node] }];
  const terms = affinity.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const required = { nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields })) };
  const own = (spec["tolerations"] ?? []) as Toleration[];
  const tolerations = [...own, ...TOLERATIONS, ...(spec.hostNetwork === true ? [NETWORK_TOLERATION] : [])];
  return podFromTemplate(DAEMON_SET, set, set.spec.template, {
    labels: { [REVISION_HASH]: hash, "pod-template-generation": String(set.metadata.generation ?? 1) },
    spec: {
      affinity: { ...affinity, nodeAffinity: { ...affinity.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required } },
      tolerations: tolerations.filter((t, i) => tolerations.findIndex((other) => isEqual(other, t)) === i),
    },
  }) as ReturnType<typeof daemonPod>;
}

/** What this node needs regardless of updates: the first pod, or the removal of failed, surplus and misplaced ones. */
function place(set: DaemonSet, station: Station, hash: string): Action[] {
  const { node, run, keep, pods } = station;
  const remove = (object: Pod): Action => ({ do: "delete", kind: POD, object, owner: set });
  const live = pods.filter((p) => !isTerminating(p));
  if (!keep) return live.map(remove);
  const failed = live.filter(isFinished);
  const running = live.filter((p) => !isFinished(p));
  const actions = failed.map(remove);
  if (running.length === 0) {
    // A terminating pod may still hold the node's ports and files: its successor waits, unless surging.
    if (!run || failed.length > 0 || pods.some(isTerminating)) return actions;
    return [{ do: "create", kind: POD, object: daemonPod(set, node.metadata.name, hash), owner: set }];
  }
  const surging = running.length === 2 && boundsOf(set, 1).maxSurge > 0 && running.filter((p) => isCurrent(p, hash)).length === 1;
  return surging ? actions : [...actions, ...running.slice(1).map(remove)];
}

function isCurrent(pod: Pod, hash: string): boolean {
  return pod.metadata.labels?.[REVISION_HASH] === hash;
}

function boundsOf(set: DaemonSet, wanted: number): { maxSurge: number; maxUnavailable: number } {
  const rolling = set.spec.updateStrategy?.rollingUpdate;
  const maxSurge = scaled(rolling?.maxSurge ?? 0, wanted, "up");
  const maxUnavailable = scaled(rolling?.maxUnavailable ?? 1, wanted, "up");
  return maxSurge === 0 && maxUnavailable === 0 ? { maxSurge, maxUnavailable: 1 } : { maxSurge, maxUnavailable };
}

function update(set: DaemonSet, stations: readonly Station[], hash: string, now: number): Action[] {
  if (set.spec.updateStrategy?.type === "OnDelete") return [];
  const wanted = stations.filter((s) => s.run);
  const bounds = boundsOf(set, wanted.length);
  const minReady = set.spec.minReadySeconds ?? 0;
  const isUp = (p: Pod): boolean => !isTerminating(p) && availableInMs(p, minReady, now) === 0;
  return bounds.maxSurge > 0 ? surge(set, wanted, hash, bounds.maxSurge, isUp) : replace(set, wanted, hash, bounds.maxUnavailable, isUp);
}

function replace(set: DaemonSet, stations: readonly Station[], hash: string, maxUnavailable: number, isUp: (p: Pod) => boolean): Action[] {
  const down = stations.filter((s) => !s.pods.some(isUp));
  const outdated = (s: Station): Pod[] => s.pods.filter((p) => !isTerminating(p) && !isCurrent(p, hash));
  // Replacing a pod that is down anyway costs no availability.
  const free = down.flatMap(outdated);
  const room = Math.max(0, maxUnavailable - down.length);
  const costly = stations.filter((s) => !down.includes(s)).flatMap(outdated).slice(0, room);
  return [...free, ...costly].map((object) => ({ do: "delete", kind: POD, object, owner: set }));
}

function surge(set: DaemonSet, stations: readonly Station[], hash: string, maxSurge: number, isUp: (p: Pod) => boolean): Action[] {
  const actions: Action[] = [];
  const fresh = (s: Station): Pod | undefined => s.pods.find((p) => !isTerminating(p) && isCurrent(p, hash));
  const stale = (s: Station): Pod | undefined => s.pods.find((p) => !isTerminating(p) && !isCurrent(p, hash));
  let room = maxSurge - stations.filter((s) => fresh(s) !== undefined && stale(s) !== undefined).length;
  for (const station of stations) {
    const [next, old] = [fresh(station), stale(station)];
    if (old === undefined) continue;
    if (next !== undefined) {
      if (isUp(next)) actions.push({ do: "delete", kind: POD, object: old, owner: set });
    } else if (!isUp(old)) {
      actions.push({ do: "delete", kind: POD, object: old, owner: set });
    } else if (room-- > 0) {
      actions.push({ do: "create", kind: POD, object: daemonPod(set, station.node.metadata.name, hash), owner: set });
    }
  }
  return actions;
}

function statusOf(set: DaemonSet, stations: readonly Station[], hash: string, now: number): { status: Record<string, number>; againInMs?: number } {
  const minReady = set.spec.minReadySeconds ?? 0;
  const wanted = stations.filter((s) => s.run);
  const best = wanted.map((s) => [...s.pods].filter((p) => !isTerminating(p)).sort((a, b) => Number(isReady(b)) - Number(isReady(a)))[0]);
  const present = best.filter((p) => p !== undefined);
  const waits = present.map((p) => availableInMs(p, minReady, now)).filter((ms) => ms !== undefined);
  const available = waits.filter((ms) => ms === 0).length;
  const pending = waits.filter((ms) => ms > 0);
  const status = {
    desiredNumberScheduled: wanted.length,
    currentNumberScheduled: present.length,
    numberMisscheduled: stations.filter((s) => !s.run && s.pods.some((p) => !isFinished(p))).length,
    numberReady: present.filter(isReady).length,
    updatedNumberScheduled: wanted.filter((s) => s.pods.some((p) => isCurrent(p, hash) && !isTerminating(p))).length,
    numberAvailable: available,
    numberUnavailable: wanted.length - available,
    observedGeneration: set.metadata.generation ?? 0,
  };
  return { status, ...(pending.length === 0 ? {} : { againInMs: Math.min(...pending) }) };
}
