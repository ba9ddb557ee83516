// Owns the end of a namespace: what is still in it, what the status says, and when it may go.
import type { Condition, Kind, KubeObject } from "@ambit/kube";
import type { Action, Plan } from "./action.ts";
import { planOf } from "./action.ts";
import { isEqual } from "./equal.ts";
import { NAMESPACE } from "./kinds.ts";
import { timestamp } from "./pods.ts";

const FINALIZER = "kubernetes";
/** Things that are ending say so when they are gone; this is only for those whose end nobody is told of. */
const LOOK_AGAIN_MS = 1_000;

export interface NamespaceEndFacts {
  readonly namespace: KubeObject;
  /** Everything in it, listed from the server, by kind. */
  readonly content: readonly { readonly kind: Kind; readonly objects: readonly KubeObject[] }[];
  readonly now: number;
}

/** Deletes what is there and not yet ending; once nothing is left, takes the namespace's finalizer away. */
export function planNamespaceEnd({ namespace, content, now }: NamespaceEndFacts): Plan {
  const left = content.filter((c) => c.objects.length > 0);
  if (left.length === 0) {
    const spec = (namespace["spec"] ?? {}) as { finalizers?: string[] };
    const finalizers = (spec.finalizers ?? []).filter((f) => f !== FINALIZER);
    if (finalizers.length === (spec.finalizers ?? []).length) return planOf([]);
    return planOf([{ do: "replace", kind: NAMESPACE, object: { ...namespace, spec: { ...spec, finalizers } }, subresource: "finalize" }]);
  }
  const actions: Action[] = left.flatMap(({ kind, objects }) =>
    objects.filter((o) => o.metadata.deletionTimestamp === undefined).map((object): Action => ({ do: "delete", kind, object, propagation: "Background" })));
  const status = { ...(namespace["status"] as object | undefined), phase: "Terminating", conditions: conditions(namespace, left, now) };
  if (!isEqual(status, namespace["status"])) actions.push({ do: "replace", kind: NAMESPACE, object: { ...namespace, status }, subresource: "status" });
  return planOf(actions, LOOK_AGAIN_MS);
}

function conditions(namespace: KubeObject, left: NamespaceEndFacts["content"], now: number): Condition[] {
  const before = ((namespace["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? []);
  const finalizers = new Map<string, number>();
  for (const o of left.flatMap((c) => c.objects)) for (const f of o.metadata.finalizers ?? []) finalizers.set(f, (finalizers.get(f) ?? 0) + 1);
  const content = left.map((c) => `${c.kind.plural}${c.kind.group === "" ? "." : `.${c.kind.group}`} has ${c.objects.length} resource instances`).sort();
  const held = [...finalizers].map(([name, n]) => `${name} in ${n} resource instances`).sort();
  const say = (type: string, yes: boolean, reason: string, message: string): Condition => {
    const status = yes ? "True" : "False";
    const old = before.find((c) => c.type === type);
    return { type, status, reason, message, lastTransitionTime: old?.status === status ? (old.lastTransitionTime ?? timestamp(now)) : timestamp(now) };
  };
  return [
    say("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered"),
    say("NamespaceDeletionContentFailure", false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    say("NamespaceContentRemaining", true, "SomeResourcesRemain", `Some resources are remaining: ${content.join(", ")}`),
    held.length > 0
      ? say("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", `Some content in the namespace has finalizers remaining: ${held.join(", ")}`)
      : say("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
  ];
}
