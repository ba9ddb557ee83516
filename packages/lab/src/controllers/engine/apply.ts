// Owns carrying out plans: actions become API calls, their answers go back into the caches before the next plan.
import { isAlreadyExists, isNotFound, KubeError, type Kind, type KubeClient, type KubeObject } from "@ambit/kube";
import { errorText, type Clock } from "@ambit/runtime";
import type { Action, Plan } from "../plan/action.ts";
import { NAMESPACE } from "../plan/kinds.ts";
import { timestamp } from "../plan/pods.ts";
import type { Cache } from "./cache.ts";
import type { EventRecorder } from "./events.ts";

/** Creates and deletes of one plan that are under way together: enough to hide latency, too few to starve others. */
const PARALLEL = 8;

export interface Applier { run(plan: Plan): Promise<number | undefined> }

export interface ApplierParts {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly component: string;
  cacheOf(kind: Kind): Cache | undefined;
}

/** Runs actions in order, neighbouring creates and deletes side by side. After a failure only status is still written. */
export function makeApplier(parts: ApplierParts): Applier {
  return {
    async run(plan) {
      const failures: unknown[] = [];
      for (const batch of batches(plan.actions)) {
        // What follows a failure was planned on its success, except a status: that says what was seen.
        if (failures.length > 0 && !batch.every((a) => (a.do === "replace" || a.do === "merge") && a.subresource === "status")) continue;
        const results = await Promise.allSettled(batch.map((action) => applyOne(parts, action)));
        for (const r of results) if (r.status === "rejected") failures.push(r.reason);
      }
      if (failures.length > 0) throw failures[0];
      return plan.againInMs;
    },
  };
}

function batches(actions: readonly Action[]): Action[][] {
  const out: Action[][] = [];
  for (const action of actions) {
    const last = out.at(-1);
    const side = action.do === "create" || action.do === "delete";
    if (side && last !== undefined && last.length < PARALLEL && last[0]?.do === action.do) last.push(action);
    else out.push([action]);
  }
  return out;
}

async function applyOne(parts: ApplierParts, action: Action): Promise<void> {
  const { client, clock, events, component } = parts;
  const wrote = (kind: Kind, answer: KubeObject): void => {
    if (answer.metadata?.uid !== undefined) parts.cacheOf(kind)?.wrote(answer, clock.now());
  };
  switch (action.do) {
    case "event":
      events.record(action, component);
      return;
    case "create":
      return create(parts, action, wrote);
    case "replace":
      wrote(action.kind, await client.replace(action.kind, action.object, action.subresource));
      return;
    case "merge": {
      const { namespace, name } = action.of.metadata;
      wrote(action.kind, await client.patch(action.kind, namespace, name, action.body, action.subresource === undefined ? {} : { subresource: action.subresource }));
      return;
    }
    case "delete":
      return remove(parts, action, wrote);
    case "bind": {
      const { namespace, name, uid } = action.pod.metadata;
      const body = { apiVersion: "v1", kind: "Binding", metadata: { name, namespace, uid }, target: { apiVersion: "v1", kind: "Node", name: action.node } };
      await client.request("POST", `/api/v1/namespaces/${encodeURIComponent(namespace ?? "")}/pods/${encodeURIComponent(name)}/binding`, { body });
      return;
    }
  }
}

type Wrote = (kind: Kind, answer: KubeObject) => void;

async function create(parts: ApplierParts, action: Extract<Action, { do: "create" }>, wrote: Wrote): Promise<void> {
  const { client, events, component } = parts;
  const { kind, object, owner } = action;
  const noun = kind.kind.toLowerCase();
  try {
    const made = await client.create(kind, object.metadata.namespace, object);
    wrote(kind, made);
    if (owner !== undefined) events.record({ about: owner, type: "Normal", reason: "SuccessfulCreate", message: `Created ${noun}: ${made.metadata.name}` }, component);
  } catch (error) {
    // Fixed names make creation idempotent: what is there is either ours from before a restart, or the next plan's problem.
    if (isAlreadyExists(error) && object.metadata.name !== undefined) {
      const there = await client.get(kind, object.metadata.namespace, object.metadata.name);
      if (!isOurs(object, there)) throw error;
      wrote(kind, there);
      return;
    }
    // Nothing can be made in a namespace that ends, and nothing needs to be.
    if (isNamespaceEnding(parts, error, object.metadata.namespace)) return;
    if (owner !== undefined) events.record({ about: owner, type: "Warning", reason: "FailedCreate", message: `Error creating: ${errorText(error)}` }, component);
    throw error;
  }
}

function isNamespaceEnding(parts: ApplierParts, error: unknown, namespace: string | undefined): boolean {
  if (!(error instanceof KubeError) || error.status !== 403 || namespace === undefined) return false;
  const { causes = [] } = (error.details ?? {}) as { causes?: { reason?: string }[] };
  return causes.some((c) => c.reason === "NamespaceTerminating") || parts.cacheOf(NAMESPACE)?.at(namespace)?.metadata.deletionTimestamp !== undefined;
}

function isOurs(wanted: { metadata: { ownerReferences?: readonly { uid: string }[] } }, there: KubeObject): boolean {
  const owner = wanted.metadata.ownerReferences?.[0]?.uid;
  return owner === undefined || (there.metadata.ownerReferences ?? []).some((r) => r.uid === owner);
}

async function remove(parts: ApplierParts, action: Extract<Action, { do: "delete" }>, wrote: Wrote): Promise<void> {
  const { client, clock, events, component } = parts;
  const { kind, object, owner } = action;
  const { namespace, name, uid } = object.metadata;
  const body = {
    apiVersion: "v1", kind: "DeleteOptions", ...(uid === undefined ? {} : { preconditions: { uid } }),
    ...(action.propagation === undefined ? {} : { propagationPolicy: action.propagation }),
    ...(action.graceSeconds === undefined ? {} : { gracePeriodSeconds: action.graceSeconds }),
  };
  try {
    const answer = (await client.delete(kind, namespace, name, body)) as KubeObject;
    if (answer?.metadata?.uid !== undefined && answer.metadata.uid === uid && answer.metadata.deletionTimestamp !== undefined) wrote(kind, answer);
    else parts.cacheOf(kind)?.deleting(object, timestamp(clock.now()));
  } catch (error) {
    // Gone, or another object of that name by now: either way ours is deleted.
    const replaced = error instanceof KubeError && error.status === 409 && uid !== undefined;
    if (!isNotFound(error) && !replaced) throw error;
    parts.cacheOf(kind)?.deleting(object, timestamp(clock.now()));
    return;
  }
  if (owner === undefined) return;
  events.record({ about: owner, type: "Normal", reason: "SuccessfulDelete", message: `Deleted ${kind.kind.toLowerCase()}: ${name}` }, component);
}
