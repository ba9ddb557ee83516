// Owns the record of an installation: what it made and with which values, kept in a ConfigMap beside the mesh. Pure.
import type { ValueMap } from "@ambit/charts";
import type { KubeObject } from "@ambit/kube";
import { DEFAULT_REVISION, INSTALLER } from "./mesh-objects.ts";

export interface ObjectId { readonly apiVersion: string; readonly kind: string; readonly namespace?: string; readonly name: string }
export interface Inventory {
  readonly version: string;
  /** Everything the user said, the profile's values too: what a later run starts from. */
  readonly values: ValueMap;
  readonly objects: readonly ObjectId[];
}

export const inventoryName = (revision: string): string => (revision === DEFAULT_REVISION ? "ambit-install" : `ambit-install-${revision}`);

/** The namespace of objects that have none of their own is the installation's. */
export const idOf = (o: KubeObject): ObjectId => ({
  apiVersion: o.apiVersion ?? "", kind: o.kind ?? "", ...(o.metadata.namespace === undefined ? {} : { namespace: o.metadata.namespace }), name: o.metadata.name,
});
/** Kind and name, as messages say it. */
export const nameOf = (id: ObjectId): string => `${id.kind} ${id.namespace === undefined ? "" : `${id.namespace}/`}${id.name}`;
/** The same object in another version of its API is the same object. */
const sameKey = (id: ObjectId): string => `${id.apiVersion.includes("/") ? id.apiVersion.split("/")[0] : ""} ${nameOf(id)}`;

/** What `before` has and `now` has not. */
export function withoutThose(before: readonly ObjectId[], now: readonly ObjectId[]): ObjectId[] {
  const kept = new Set(now.map(sameKey));
  return before.filter((id) => !kept.has(sameKey(id)));
}

export function encodeInventory(inventory: Inventory, namespace: string, revision: string): KubeObject {
  return {
    apiVersion: "v1", kind: "ConfigMap",
    metadata: { name: inventoryName(revision), namespace, labels: { "app.kubernetes.io/part-of": "ambit", "app.kubernetes.io/managed-by": INSTALLER } },
    data: { version: inventory.version, values: JSON.stringify(inventory.values), objects: inventory.objects.map((id) => JSON.stringify(id)).join("\n") },
  };
}

/** A problem in words where the record is not as we write it: then nothing may be pruned by it. */
export function decodeInventory(o: KubeObject): Inventory | { readonly problem: string } {
  const data = (o["data"] ?? {}) as Readonly<Record<string, unknown>>;
  const { version, values, objects } = data;
  if (typeof version !== "string" || typeof values !== "string" || typeof objects !== "string") return { problem: "it has not the entries version, values and objects" };
  try {
    const decoded = JSON.parse(values) as unknown;
    const ids = objects.split("\n").filter((l) => l !== "").map((l) => JSON.parse(l) as unknown);
    if (typeof decoded !== "object" || decoded === null || Array.isArray(decoded) || !ids.every(isId)) return { problem: "its entries are of another shape" };
    return { version, values: decoded as ValueMap, objects: ids };
  } catch {
    return { problem: "its entries are not JSON" };
  }
}

function isId(v: unknown): v is ObjectId {
  if (typeof v !== "object" || v === null) return false;
  const { apiVersion, kind, namespace, name } = v as Record<string, unknown>;
  return typeof apiVersion === "string" && typeof kind === "string" && typeof name === "string" && name !== "" && (namespace === undefined || typeof namespace === "string");
}
