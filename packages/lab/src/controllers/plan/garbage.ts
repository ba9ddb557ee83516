// Owns the garbage collector's decision about one object: its owners are gone, or it must wait for its own dependants.
import type { Kind, KubeObject, OwnerReference } from "@ambit/kube";
import type { Action, Plan, Propagation } from "./action.ts";
import { NOTHING, planOf } from "./action.ts";

export const FOREGROUND = "foregroundDeletion";
export const ORPHAN = "orphan";

/** `solid`: alive. `waiting`: it is being deleted in the foreground and waits for us. `absent`: checked with the server. */
export type OwnerState = "solid" | "waiting" | "absent";

export interface GarbageFacts {
  readonly kind: Kind;
  /** As the server has it now, not as some cache remembers it. */
  readonly object: KubeObject;
  readonly owners: readonly { readonly ref: OwnerReference; readonly state: OwnerState }[];
  readonly dependents: readonly { readonly kind: Kind; readonly object: KubeObject }[];
}

export function planGarbage(facts: GarbageFacts): Plan {
  const { kind, object, owners } = facts;
  const finalizers = object.metadata.finalizers ?? [];
  if (object.metadata.deletionTimestamp !== undefined) {
    if (finalizers.includes(ORPHAN)) return planOrphans(facts);
    if (finalizers.includes(FOREGROUND)) return planForeground(facts);
    return NOTHING;
  }
  if (owners.length === 0) return NOTHING;
  const stale = owners.filter((o) => o.state !== "solid");
  if (stale.length === 0) return NOTHING;
  if (stale.length < owners.length) return planOf([dropReferences(kind, object, new Set(stale.map((o) => o.ref.uid)))]);
  return planOf([{ do: "delete", kind, object, propagation: policyOf(facts) }]);
}

/** The object's own wish comes first; an owner that waits passes its way of deletion on. */
function policyOf({ object, owners, dependents }: GarbageFacts): Propagation {
  const finalizers = object.metadata.finalizers ?? [];
  if (finalizers.includes(ORPHAN)) return "Orphan";
  if (finalizers.includes(FOREGROUND)) return "Foreground";
  const waited = owners.some((o) => o.state === "waiting");
  return waited && dependents.length > 0 ? "Foreground" : "Background";
}

function planOrphans({ kind, object, dependents }: GarbageFacts): Plan {
  const uid = new Set([object.metadata.uid ?? ""]);
  return planOf([...dependents.map((d) => dropReferences(d.kind, d.object, uid)), dropFinalizer(kind, object, ORPHAN)]);
}

/** Only references with blockOwnerDeletion hold their owner back. */
function planForeground({ kind, object, dependents }: GarbageFacts): Plan {
  const blocks = (d: KubeObject): boolean =>
    (d.metadata.ownerReferences ?? []).some((r) => r.uid === object.metadata.uid && r.blockOwnerDeletion === true);
  return dependents.some((d) => blocks(d.object)) ? NOTHING : planOf([dropFinalizer(kind, object, FOREGROUND)]);
}

/** Names uid and version: a reference that somebody added meanwhile is not lost. */
function dropReferences(kind: Kind, of: KubeObject, uids: ReadonlySet<string>): Action {
  const { uid, resourceVersion, ownerReferences = [] } = of.metadata;
  const left = ownerReferences.filter((r) => !uids.has(r.uid));
  return { do: "merge", kind, of, body: { metadata: { uid, resourceVersion, ownerReferences: left.length === 0 ? null : left } } };
}

function dropFinalizer(kind: Kind, of: KubeObject, name: string): Action {
  const { uid, resourceVersion, finalizers = [] } = of.metadata;
  const left = finalizers.filter((f) => f !== name);
  return { do: "merge", kind, of, body: { metadata: { uid, resourceVersion, finalizers: left.length === 0 ? null : left } } };
}
