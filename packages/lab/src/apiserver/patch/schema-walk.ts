// Owns how the merge engines read an OpenAPI v3 schema: the schema of a field, and its merge and list markers.
import type { ListKind, Schema } from "../schema/schema.ts";

function record(value: unknown): Schema | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Schema) : undefined;
}

/** The schema of a member: the named property, else that of additional properties; undefined when unknown. */
export function memberSchema(schema: Schema | undefined, key: string): Schema | undefined {
  const properties = record(schema?.["properties"]);
  if (properties !== undefined && Object.hasOwn(properties, key)) return record(properties[key]);
  return record(schema?.["additionalProperties"]);
}

export function itemSchema(schema: Schema | undefined): Schema | undefined {
  return record(schema?.["items"]);
}

function text(schema: Schema | undefined, key: string): string {
  const value = schema?.[key];
  return typeof value === "string" ? value : "";
}

/** `merge,retainKeys` → {"merge","retainKeys"}. */
export function patchStrategies(schema: Schema | undefined): ReadonlySet<string> {
  return new Set(text(schema, "x-kubernetes-patch-strategy").split(",").filter(Boolean));
}

export function patchMergeKey(schema: Schema | undefined): string {
  return text(schema, "x-kubernetes-patch-merge-key");
}

/** Lists without a marker are atomic, as in Kubernetes. */
export function listKind(schema: Schema | undefined): ListKind {
  const type = text(schema, "x-kubernetes-list-type");
  if (type === "set") return { kind: "set" };
  const keys = schema?.["x-kubernetes-list-map-keys"];
  if (type === "map" && Array.isArray(keys)) {
    return { kind: "map", keys: keys.filter((key): key is string => typeof key === "string") };
  }
  return { kind: "atomic" };
}

export function isAtomicMap(schema: Schema | undefined): boolean {
  return text(schema, "x-kubernetes-map-type") === "atomic";
}

export function defaultOf(schema: Schema | undefined): unknown {
  return schema !== undefined && Object.hasOwn(schema, "default") ? schema["default"] : undefined;
}
