// Owns what a controller may decide to do: every plan is a list of these, and one applier carries them out.
import type { Kind, KubeObject, Pod } from "@ambit/kube";

export type Propagation = "Background" | "Foreground" | "Orphan";

export type Action =
  /** `owner` hears of success and failure as an Event, the way upstream's pod control says it. */
  | { readonly do: "create"; readonly kind: Kind; readonly object: NewObject; readonly owner?: KubeObject }
  /** The object carries the resourceVersion it was planned from: a conflict means "plan again". */
  | { readonly do: "replace"; readonly kind: Kind; readonly object: KubeObject; readonly subresource?: "status" | "finalize" }
  | { readonly do: "merge"; readonly kind: Kind; readonly of: KubeObject; readonly body: object; readonly subresource?: "status" }
  | {
      readonly do: "delete"; readonly kind: Kind; readonly object: KubeObject; readonly owner?: KubeObject;
      readonly propagation?: Propagation; readonly graceSeconds?: number;
    }
  | { readonly do: "bind"; readonly pod: Pod; readonly node: string }
  | { readonly do: "event"; readonly about: KubeObject; readonly type: "Normal" | "Warning"; readonly reason: string; readonly message: string };

/** What is sent to create: the API server may still have to make up the name. */
export type NewObject = Omit<KubeObject, "metadata"> & {
  metadata: Omit<KubeObject["metadata"], "name"> & { name?: string };
};

export interface Plan {
  readonly actions: readonly Action[];
  /** Time alone will change the answer: plan again after this many milliseconds. */
  readonly againInMs?: number;
}

export const NOTHING: Plan = { actions: [] };

/** The sooner of two optional delays. */
export function sooner(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}

export function planOf(actions: readonly Action[], againInMs?: number): Plan {
  return againInMs === undefined ? { actions } : { actions, againInMs: Math.max(1, Math.ceil(againInMs)) };
}
