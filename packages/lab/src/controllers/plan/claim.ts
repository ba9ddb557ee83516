// Owns adoption: which dependants belong to a controller by owner reference and selector, and what must change for it.
import type { Kind, KubeObject, OwnerReference } from "@ambit/kube";
import type { Action } from "./action.ts";
import { apiVersionOf } from "./kinds.ts";
import { isEmptySelector, matchesSelector } from "./labels.ts";
import type { LabelSelector } from "./model.ts";

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return (object.metadata.ownerReferences ?? []).find((r) => r.controller === true);
}

export function ownerReference(kind: Kind, owner: KubeObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(kind), kind: kind.kind, name: owner.metadata.name, uid: owner.metadata.uid ?? "",
    controller: true, blockOwnerDeletion: true,
  };
}

export interface Claimed<T> { readonly mine: T[]; readonly actions: Action[] }

/**
 * Candidates are all objects of the kind in the owner's namespace. Those adopted or released here change hands by a
 * merge patch that names uid and resourceVersion, so a stale view cannot take another controller's object.
 */
export function claim<T extends KubeObject>(
  owner: { kind: Kind; object: KubeObject; selector: LabelSelector | undefined }, kind: Kind, candidates: readonly T[],
): Claimed<T> {
  const mine: T[] = [];
  const actions: Action[] = [];
  const uid = owner.object.metadata.uid;
  const dying = owner.object.metadata.deletionTimestamp !== undefined;
  for (const candidate of candidates) {
    const controller = controllerOf(candidate);
    const matches = !isEmptySelector(owner.selector) && matchesSelector(owner.selector, candidate.metadata.labels);
    if (controller !== undefined) {
      if (controller.uid !== uid) continue;
      if (matches) mine.push(candidate);
      else if (!dying) actions.push(handOver(kind, candidate, (refs) => refs.filter((r) => r.uid !== uid)));
      continue;
    }
    if (!matches || dying || candidate.metadata.deletionTimestamp !== undefined) continue;
    mine.push(candidate);
    actions.push(handOver(kind, candidate, (refs) => [...refs.filter((r) => r.uid !== uid), ownerReference(owner.kind, owner.object)]));
  }
  return { mine, actions };
}

function handOver(kind: Kind, of: KubeObject, change: (refs: OwnerReference[]) => OwnerReference[]): Action {
  const { uid, resourceVersion, ownerReferences = [] } = of.metadata;
  return { do: "merge", kind, of, body: { metadata: { uid, resourceVersion, ownerReferences: change(ownerReferences) } } };
}
