// Owns addresses for ServiceEntries where there is no API server to keep them: what the allocator would have written. Pure.
import type { KubeObject } from "@ambit/kube";
import type { SourceName } from "../collections/admit.ts";
import { decodeServiceEntry } from "../collections/entry-spec.ts";
import { allocatableHosts, wantsAllocation } from "../collections/service-entries.ts";
import { allocate, type Allocated, type AllocationInput } from "./allocate.ts";

/** Entries whose status the addresses change, under the keys they came with. Same names, same addresses, in every process. */
export function allocateAddresses(objects: ReadonlyMap<string, { readonly source: SourceName; readonly object: KubeObject }>): Map<string, KubeObject> {
  const inputs: AllocationInput[] = [];
  for (const [key, { source, object }] of objects) {
    if (source !== "serviceEntries") continue;
    const decoded = decodeServiceEntry(object);
    if (!decoded.ok) continue;
    const { spec } = decoded;
    inputs.push({
      key, created: object.metadata.creationTimestamp ?? "", chosen: spec.addresses, current: standing(object),
      hosts: wantsAllocation(spec, object.metadata.labels ?? {}) ? allocatableHosts(spec) : [],
    });
  }
  const out = new Map<string, KubeObject>();
  for (const [key, addresses] of allocate(inputs)) {
    const object = objects.get(key)?.object;
    if (object === undefined || addresses.length === 0) continue;
    out.set(key, { ...object, status: { ...(object["status"] as object | undefined), addresses } });
  }
  return out;
}

function standing(object: KubeObject): Allocated[] {
  const status = object["status"] as { addresses?: unknown } | null | undefined;
  return (Array.isArray(status?.addresses) ? (status.addresses as Partial<Allocated>[]) : []).map((a) => ({ host: String(a?.host ?? ""), value: String(a?.value ?? "") }));
}
