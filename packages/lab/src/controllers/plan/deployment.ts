// Owns the Deployment decision: the one next step of a rollout, as changes to ReplicaSets and to the status.
import type { Pod } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf, sooner } from "./action.ts";
import { claim, ownerReference } from "./claim.ts";
import {
  boundsOf, DESIRED, findNewSet, HASH_LABEL, isComplete, isRolling, MAX_REPLICAS, REVISION, revisionOf, specReplicas, sumOf,
} from "./deployment-facts.ts";
import { planProportional, planRolling, type Resize } from "./deployment-rolling.ts";
import { deploymentStatus } from "./deployment-status.ts";
import { hashName, isEqual } from "./equal.ts";
import { apiVersionOf, DEPLOYMENT, REPLICA_SET } from "./kinds.ts";
import { isEmptySelector } from "./labels.ts";
import type { Deployment, ReplicaSet } from "./model.ts";
import { byAge, isFinished } from "./pods.ts";

export interface DeploymentFacts {
  readonly deployment: Deployment;
  /** Every ReplicaSet of the namespace. */
  readonly sets: readonly ReplicaSet[];
  /** Pods controlled by those sets that belong to this Deployment. */
  readonly pods: readonly Pod[];
  readonly now: number;
}

/** Annotations that describe the Deployment itself and are not passed on to its ReplicaSets. */
const OWN_ANNOTATIONS = new Set([
  "kubectl.kubernetes.io/last-applied-configuration", REVISION, "deployment.kubernetes.io/revision-history", DESIRED, MAX_REPLICAS,
]);

export function planDeployment(facts: DeploymentFacts): Plan {
  const { deployment: d, now } = facts;
  if (isEmptySelector(d.spec.selector)) {
    return planOf([{ do: "event", about: d, type: "Warning", reason: "SelectingAll", message: "This deployment is selecting all pods. A non-empty selector is required." }]);
  }
  const { mine, actions } = claim({ kind: DEPLOYMENT, object: d, selector: d.spec.selector }, REPLICA_SET, facts.sets);
  const sets = [...mine].sort(byAge);
  const newSet = findNewSet(d, sets);
  const old = sets.filter((s) => s !== newSet);
  const steps: Action[] = [...actions];
  let created: ReplicaSet | undefined;
  if (d.metadata.deletionTimestamp === undefined) {
    const move = nextMove(facts, newSet, old);
    created = move.created;
    steps.push(...move.actions);
  }
  const { status, againInMs } = deploymentStatus({ deployment: d, sets, newSet, created, now });
  const revision = newSet === undefined ? created && String(revisionOf(created)) : String(newRevision(newSet, old));
  const annotated = revision === undefined || d.metadata.annotations?.[REVISION] === revision;
  if (!annotated) {
    steps.push({ do: "merge", kind: DEPLOYMENT, of: d, body: { metadata: { annotations: { [REVISION]: revision } } } });
  } else if (!isEqual(status, d.status)) {
    steps.push({ do: "replace", kind: DEPLOYMENT, object: { ...d, status }, subresource: "status" });
  }
  if (!d.spec.paused && d.metadata.deletionTimestamp === undefined && isComplete(d, status)) steps.push(...trimHistory(d, old));
  return planOf(steps, annotated ? againInMs : sooner(againInMs, 1));
}

interface Move { readonly actions: Action[]; readonly created?: ReplicaSet }

function nextMove(facts: DeploymentFacts, newSet: ReplicaSet | undefined, old: readonly ReplicaSet[]): Move {
  const { deployment: d } = facts;
  const all = newSet === undefined ? old : [...old, newSet];
  const resizing = all.some((s) => specReplicas(s) > 0 && s.metadata.annotations?.[DESIRED] !== undefined
    && s.metadata.annotations[DESIRED] !== String(d.spec.replicas ?? 1));
  if (d.spec.paused === true || (resizing && newSet !== undefined)) {
    return { actions: resize(d, newSet, old, planProportional(d, newSet, old)) };
  }
  if (isRolling(d)) {
    if (newSet === undefined) return create(d, old, boundedNewReplicas(d, old));
    return { actions: resize(d, newSet, old, planRolling(d, newSet, old)) };
  }
  return recreate(facts, newSet, old);
}

function recreate(facts: DeploymentFacts, newSet: ReplicaSet | undefined, old: readonly ReplicaSet[]): Move {
  const { deployment: d } = facts;
  const running = old.filter((s) => specReplicas(s) > 0);
  if (running.length > 0) return { actions: resize(d, newSet, old, running.map((set) => ({ set, replicas: 0 }))) };
  const oldUids = new Set(old.map((s) => s.metadata.uid));
  const left = facts.pods.some((p) => !isFinished(p) && (p.metadata.ownerReferences ?? []).some((r) => r.controller === true && oldUids.has(r.uid)));
  if (left) return { actions: [] };
  if (newSet === undefined) return create(d, old, d.spec.replicas ?? 1);
  return { actions: resize(d, newSet, old, [{ set: newSet, replicas: d.spec.replicas ?? 1 }]) };
}

function boundedNewReplicas(d: Deployment, old: readonly ReplicaSet[]): number {
  const wanted = d.spec.replicas ?? 1;
  const room = wanted + boundsOf(d).maxSurge - sumOf(old, specReplicas);
  return Math.max(0, Math.min(room, wanted));
}

function create(d: Deployment, old: readonly ReplicaSet[], replicas: number): Move {
  const hash = hashName(d.spec.template, d.status?.collisionCount ?? 0);
  const labels = { ...d.spec.template.metadata?.labels, [HASH_LABEL]: hash };
  const revision = Math.max(0, ...old.map(revisionOf)) + 1;
  const set: ReplicaSet = {
    apiVersion: apiVersionOf(REPLICA_SET), kind: "ReplicaSet",
    metadata: {
      name: `${d.metadata.name}-${hash}`, ...(d.metadata.namespace === undefined ? {} : { namespace: d.metadata.namespace }),
      labels, annotations: { ...setAnnotations(d), [REVISION]: String(revision) }, ownerReferences: [ownerReference(DEPLOYMENT, d)],
    },
    spec: {
      replicas, ...(d.spec.minReadySeconds === undefined ? {} : { minReadySeconds: d.spec.minReadySeconds }),
      selector: { ...d.spec.selector, matchLabels: { ...d.spec.selector.matchLabels, [HASH_LABEL]: hash } },
      template: { ...d.spec.template, metadata: { ...d.spec.template.metadata, labels } },
    },
  };
  return {
    created: set,
    actions: [
      { do: "create", kind: REPLICA_SET, object: set },
      ...(replicas === 0 ? [] : [scalingEvent(d, set, 0, replicas)]),
    ],
  };
}

function setAnnotations(d: Deployment): Record<string, string> {
  const passed = Object.entries(d.metadata.annotations ?? {}).filter(([key]) => !OWN_ANNOTATIONS.has(key));
  const wanted = d.spec.replicas ?? 1;
  return { ...Object.fromEntries(passed), [DESIRED]: String(wanted), [MAX_REPLICAS]: String(wanted + boundsOf(d).maxSurge) };
}

function newRevision(newSet: ReplicaSet, old: readonly ReplicaSet[]): number {
  const above = Math.max(0, ...old.map(revisionOf)) + 1;
  return Math.max(revisionOf(newSet), above);
}

/** Sizes and the annotations that must follow them, one write per ReplicaSet. */
function resize(d: Deployment, newSet: ReplicaSet | undefined, old: readonly ReplicaSet[], sizes: readonly Resize[]): Action[] {
  const actions: Action[] = [];
  const sized = new Map(sizes.map((r) => [r.set, r.replicas]));
  for (const set of newSet === undefined ? old : [newSet, ...old]) {
    const replicas = sized.get(set) ?? specReplicas(set);
    const { [DESIRED]: desired = "", [MAX_REPLICAS]: max = "", ...described } = setAnnotations(d);
    const annotations = {
      ...set.metadata.annotations,
      ...(set === newSet ? { ...described, [REVISION]: String(newRevision(set, old)) } : {}),
      ...(specReplicas(set) > 0 || replicas > 0 ? { [DESIRED]: desired, [MAX_REPLICAS]: max } : {}),
    };
    const minReadySeconds = set === newSet ? (d.spec.minReadySeconds ?? 0) : (set.spec.minReadySeconds ?? 0);
    const spec = { ...set.spec, replicas, ...(minReadySeconds === 0 && set.spec.minReadySeconds === undefined ? {} : { minReadySeconds }) };
    if (isEqual(spec, set.spec) && isEqual(annotations, set.metadata.annotations ?? {})) continue;
    actions.push({ do: "replace", kind: REPLICA_SET, object: { ...set, metadata: { ...set.metadata, annotations }, spec } });
    if (replicas !== specReplicas(set)) actions.push(scalingEvent(d, set, specReplicas(set), replicas));
  }
  return actions;
}

function scalingEvent(d: Deployment, set: ReplicaSet, from: number, to: number): Action {
  const message = `Scaled ${to > from ? "up" : "down"} replica set ${set.metadata.name} from ${from} to ${to}`;
  return { do: "event", about: d, type: "Normal", reason: "ScalingReplicaSet", message };
}

function trimHistory(d: Deployment, old: readonly ReplicaSet[]): Action[] {
  const limit = d.spec.revisionHistoryLimit ?? 10;
  const idle = old.filter((s) => specReplicas(s) === 0 && (s.status?.replicas ?? 0) === 0
    && (s.status?.observedGeneration ?? 0) >= (s.metadata.generation ?? 0) && s.metadata.deletionTimestamp === undefined);
  return [...idle]
    .sort((a, b) => revisionOf(a) - revisionOf(b))
    .slice(0, Math.max(0, idle.length - limit))
    .map((object) => ({ do: "delete", kind: REPLICA_SET, object }));
}
