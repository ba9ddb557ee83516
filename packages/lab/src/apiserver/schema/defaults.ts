// Owns defaulting: members that are missing, or null where null is not allowed, take their schema's default.
import { cloneJson, isObject, type Json, type JsonObject } from "../json.ts";
import type { Node } from "./schema.ts";

/** A copy of `object` with defaults, and without nulls that the schema neither allows nor has a default for. */
export function applyDefaultsTo(object: JsonObject, node: Node): JsonObject {
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(object)) {
    const member = node.properties.get(key) ?? (node.additional === "any" ? undefined : node.additional);
    if (member === undefined) result[key] = value;
    else if (value === null && !member.nullable && !holdsAnything(member)) {
      if (member.defaultValue !== undefined) result[key] = defaultInside(cloneJson(member.defaultValue), member);
    } else result[key] = defaultInside(value, member);
  }
  for (const [key, member] of node.properties) {
    if (member.defaultValue === undefined || Object.hasOwn(result, key)) continue;
    result[key] = defaultInside(cloneJson(member.defaultValue), member);
  }
  return result;
}

function holdsAnything(node: Node): boolean {
  return node.preserve && node.type === "";
}

/** A value with the defaults of its inside. */
export function defaultInside(value: Json, node: Node): Json {
  if (isObject(value)) return applyDefaultsTo(value, node);
  const items = node.items;
  if (Array.isArray(value) && items !== undefined) return value.map((item) => defaultInside(item, items));
  return value;
}
