// Owns pruning: members that a schema does not specify are dropped, and named, so that warnings can list them.
import { isObject, type Json, type JsonObject } from "../json.ts";
import type { Node } from "./schema.ts";

/** Members of a resource's root that are kept whatever its schema says. */
const ROOT_MEMBERS: ReadonlySet<string> = new Set(["apiVersion", "kind", "metadata"]);

/** A copy of `object` without unspecified members; their paths go to `dropped`. */
export function pruneRoot(object: JsonObject, node: Node, metadata: Node | undefined, dropped: string[]): JsonObject {
  return pruneObject(object, node, "", true, metadata, dropped);
}

function pruneObject(
  object: JsonObject,
  node: Node,
  path: string,
  resource: boolean,
  metadata: Node | undefined,
  dropped: string[],
): JsonObject {
  const kept: JsonObject = {};
  for (const [key, value] of Object.entries(object)) {
    const here = path === "" ? key : `${path}.${key}`;
    if (resource && ROOT_MEMBERS.has(key)) {
      kept[key] = key === "metadata" && metadata !== undefined ? pruneValue(value, metadata, here, metadata, dropped) : value;
      continue;
    }
    const property = node.properties.get(key);
    if (property !== undefined) kept[key] = pruneValue(value, property, here, metadata, dropped);
    else if (node.additional === "any") kept[key] = value;
    else if (node.additional !== undefined) kept[key] = pruneValue(value, node.additional, here, metadata, dropped);
    else if (node.preserve) kept[key] = value;
    else dropped.push(here);
  }
  return kept;
}

function pruneValue(value: Json, node: Node, path: string, metadata: Node | undefined, dropped: string[]): Json {
  if (Array.isArray(value)) {
    const items = node.items;
    if (items === undefined) return value;
    return value.map((item, i) => pruneValue(item, items, `${path}[${i}]`, metadata, dropped));
  }
  if (!isObject(value)) return value;
  // Not an object by its schema: validation says so; nothing to prune.
  if (node.type !== "object" && node.type !== "") return value;
  return pruneObject(value, node, path, node.embedded, metadata, dropped);
}
