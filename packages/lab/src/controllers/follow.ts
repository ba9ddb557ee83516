// Owns the wiring between changes and queues: which owners must look again when a dependant changes.
import type { KubeObject } from "@ambit/kube";
import { controllerOf } from "./plan/claim.ts";
import { matchesSelector } from "./plan/labels.ts";
import type { LabelSelector } from "./plan/model.ts";
import { joinKey, keyOf, type Cache } from "./engine/cache.ts";
import type { WorkQueue } from "./engine/queue.ts";

interface Owner extends KubeObject { spec: { selector: LabelSelector } }

/** Every change of the kind itself. */
export function followSelf(cache: Cache, queue: WorkQueue): void {
  cache.listen((change) => queue.add(keyOf(change.object)));
}

/** Dependants lead to their controller; orphans to every owner whose selector would adopt them. */
export function followOwners<T extends Owner>(dependants: Cache, owners: Cache<T>, ownerKind: string, queue: WorkQueue): void {
  dependants.listen((change) => {
    const { object } = change;
    const old = change.type === "put" ? change.old : undefined;
    const namespace = object.metadata.namespace ?? "";
    for (const ref of [controllerOf(object), old && controllerOf(old)]) {
      if (ref?.kind === ownerKind) queue.add(joinKey(namespace, ref.name));
    }
    if (controllerOf(object) !== undefined || change.type === "drop") return;
    for (const owner of owners.in(namespace)) if (matchesSelector(owner.spec.selector, object.metadata.labels)) queue.add(keyOf(owner));
  });
}
