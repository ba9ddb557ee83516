// Owns reading the metadata of objects inside custom objects: it has the types of any object's metadata.
import { isObject, type Json, type JsonObject } from "../json.ts";
import type { Node } from "./schema.ts";
import { faultsOf } from "./validate.ts";

/** The first metadata of an embedded object that has a wrong type, and why; "" when there is none. */
export function unreadableAt(object: JsonObject, node: Node, path: string, metadata: Node): string {
  for (const [key, value] of Object.entries(object)) {
    const member = node.properties.get(key) ?? (node.additional === "any" ? undefined : node.additional);
    if (member === undefined) continue;
    const fault = unreadableValue(value, member, path === "" ? key : `${path}.${key}`, metadata);
    if (fault !== "") return fault;
  }
  return "";
}

function unreadableValue(value: Json, node: Node, path: string, metadata: Node): string {
  if (Array.isArray(value)) {
    const { items } = node;
    if (items === undefined) return "";
    return value.map((item, i) => unreadableValue(item, items, `${path}[${i}]`, metadata)).find((fault) => fault !== "") ?? "";
  }
  if (!isObject(value)) return "";
  const inner = value["metadata"];
  const fault = node.embedded && isObject(inner) ? faultsOf(inner, metadata).find((error) => error.type === "FieldValueTypeInvalid") : undefined;
  if (fault !== undefined) return `${path}.metadata: Invalid value: ${JSON.stringify(inner)}: ${fault.field}: ${fault.message}`;
  return unreadableAt(value, node, path, metadata);
}
