// Owns the StatefulSet decision: which ordinal to make, replace or remove next, and the status.
import type { Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { claim } from "./claim.ts";
import { isEqual } from "./equal.ts";
import { scaled } from "./deployment-facts.ts";
import { POD, STATEFUL_SET } from "./kinds.ts";
import type { ControllerRevision, StatefulSet } from "./model.ts";
import { availableInMs, isFinished, isReady, isTerminating } from "./pods.ts";
import { hashOf, planHistory, REVISION_HASH, templateOf } from "./revisions.ts";
import { podFromTemplate } from "./template.ts";

export interface StatefulSetFacts {
  readonly set: StatefulSet;
  readonly pods: readonly Pod[];
  readonly revisions: readonly ControllerRevision[];
  readonly now: number;
}

const POD_NAME = "statefulset.kubernetes.io/pod-name";
const POD_INDEX = "apps.kubernetes.io/pod-index";

export function planStatefulSet(facts: StatefulSetFacts): Plan {
  const { set, now } = facts;
  if ((set.spec.volumeClaimTemplates ?? []).length > 0) {
    const message = "volumeClaimTemplates need storage provisioning, which the lab does not have; use an emptyDir or hostPath volume instead";
    return planOf([{ do: "event", about: set, type: "Warning", reason: "VolumesUnsupported", message }]);
  }
  const { mine, actions } = claim({ kind: STATEFUL_SET, object: set, selector: set.spec.selector }, POD, facts.pods);
  const inUse = new Set([...mine.map((p) => p.metadata.labels?.[REVISION_HASH] ?? ""), set.status?.currentRevision?.replace(`${set.metadata.name}-`, "") ?? ""]);
  const history = planHistory(STATEFUL_SET, set, facts.revisions, inUse);
  const steps: Action[] = [...actions, ...history.actions];
  if (history.current === undefined) return planOf(steps);
  const update = history.current;
  const current = history.all.find((r) => r.metadata.name === set.status?.currentRevision) ?? update;
  const members = new Map(mine.flatMap((pod) => { const n = ordinalOf(set, pod); return n === undefined ? [] : [[n, pod] as const]; }));
  const view: View = { set, members, update, current, now };
  if (set.metadata.deletionTimestamp === undefined) steps.push(...nextMoves(view));
  const status = statusOf(view);
  if (!isEqual({ ...set.status, ...status }, set.status)) {
    steps.push({ do: "replace", kind: STATEFUL_SET, object: { ...set, status: { ...set.status, ...status } }, subresource: "status" });
  }
  const waits = [...members.values()].map((p) => availableInMs(p, set.spec.minReadySeconds ?? 0, now)).filter((ms) => ms !== undefined && ms > 0);
  return planOf(steps, waits.length === 0 ? undefined : Math.min(...(waits as number[])));
}

interface View {
  readonly set: StatefulSet;
  readonly members: ReadonlyMap<number, Pod>;
  readonly update: ControllerRevision;
  readonly current: ControllerRevision;
  readonly now: number;
}

export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const match = /^(.*)-(\d+)$/.exec(pod.metadata.name);
  return match?.[1] === set.metadata.name ? Number(match[2]) : undefined;
}

function range(set: StatefulSet): number[] {
  const start = set.spec.ordinals?.start ?? 0;
  return Array.from({ length: set.spec.replicas ?? 1 }, (_, i) => start + i);
}

const isCurrent = (pod: Pod, revision: ControllerRevision): boolean => pod.metadata.labels?.[REVISION_HASH] === hashOf(revision);

/** OrderedReady moves one pod at a time, upwards to make and downwards to remove; Parallel does all at once. */
function nextMoves(view: View): Action[] {
  const { set, members, now } = view;
  const ordered = set.spec.podManagementPolicy !== "Parallel";
  const up = (pod: Pod): boolean => !isTerminating(pod) && availableInMs(pod, set.spec.minReadySeconds ?? 0, now) === 0;
  const wanted = range(set);
  const actions: Action[] = [];
  for (const ordinal of wanted) {
    const pod = members.get(ordinal);
    if (pod === undefined) actions.push({ do: "create", kind: POD, object: podOf(view, ordinal), owner: set });
    else if (isFinished(pod) && !isTerminating(pod)) actions.push({ do: "delete", kind: POD, object: pod, owner: set });
    else if (!ordered || up(pod)) continue;
    // A predecessor that is not up holds back everything after it.
    if (ordered) return actions.length > 0 ? actions : replaceBroken(view, ordinal);
  }
  if (actions.length > 0) return actions;
  const surplus = [...members].filter(([n]) => !wanted.includes(n)).sort(([a], [b]) => b - a).map(([, pod]) => pod);
  if (surplus.length > 0) {
    const next = ordered ? surplus.slice(0, 1) : surplus;
    return next.filter((p) => !isTerminating(p)).map((object) => ({ do: "delete", kind: POD, object, owner: set }));
  }
  return rollingUpdate(view, wanted, up);
}

/** A pod of an older template that never came up would block its own repair: it is replaced first. */
function replaceBroken({ set, members, update }: View, ordinal: number): Action[] {
  const pod = members.get(ordinal);
  if (pod === undefined || set.spec.updateStrategy?.type === "OnDelete" || ordinal < partitionOf(set)) return [];
  return isCurrent(pod, update) || isTerminating(pod) || isReady(pod) ? [] : [{ do: "delete", kind: POD, object: pod, owner: set }];
}

function partitionOf(set: StatefulSet): number {
  return set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
}

/** From the highest ordinal down to the partition; as many at a time as maxUnavailable allows. */
function rollingUpdate({ set, members, update }: View, wanted: readonly number[], up: (p: Pod) => boolean): Action[] {
  if (set.spec.updateStrategy?.type === "OnDelete") return [];
  const start = set.spec.ordinals?.start ?? 0;
  const max = Math.max(1, scaled(set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanted.length, "up"));
  const actions: Action[] = [];
  let down = 0;
  for (const ordinal of [...wanted].reverse()) {
    if (ordinal < start + partitionOf(set)) break;
    const pod = members.get(ordinal);
    if (pod === undefined) continue;
    if (!isCurrent(pod, update) && !isTerminating(pod)) actions.push({ do: "delete", kind: POD, object: pod, owner: set });
    else if (up(pod)) continue;
    down += 1;
    if (down >= max) break;
  }
  return actions;
}

/** Below the partition a pod comes back with the template it had. */
function podOf({ set, update, current }: View, ordinal: number): ReturnType<typeof podFromTemplate> {
  const start = set.spec.ordinals?.start ?? 0;
  const held = set.spec.updateStrategy?.type !== "OnDelete" && ordinal < start + partitionOf(set);
  const revision = held ? current : update;
  const template = revision === update ? set.spec.template : (templateOf(revision) ?? set.spec.template);
  const name = `${set.metadata.name}-${ordinal}`;
  return podFromTemplate(STATEFUL_SET, set, template, {
    name, labels: { [POD_NAME]: name, [POD_INDEX]: String(ordinal), [REVISION_HASH]: hashOf(revision) },
    spec: { hostname: name, ...(set.spec.serviceName === undefined || set.spec.serviceName === "" ? {} : { subdomain: set.spec.serviceName }) },
  });
}

function statusOf({ set, members, update, current, now }: View): Record<string, unknown> {
  const pods = [...members.values()].filter((p) => !isFinished(p));
  const live = pods.filter((p) => !isTerminating(p));
  const updated = live.filter((p) => isCurrent(p, update));
  const wanted = set.spec.replicas ?? 1;
  const ready = live.filter(isReady).length;
  const done = updated.length === wanted && live.length === wanted && ready === wanted && partitionOf(set) === 0;
  const currentRevision = done || set.status?.currentRevision === undefined ? update.metadata.name : current.metadata.name;
  return {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: pods.length, readyReplicas: ready,
    availableReplicas: live.filter((p) => availableInMs(p, set.spec.minReadySeconds ?? 0, now) === 0).length,
    currentReplicas: done ? wanted : live.filter((p) => isCurrent(p, current)).length, updatedReplicas: updated.length,
    currentRevision, updateRevision: update.metadata.name, collisionCount: 0,
  };
}
