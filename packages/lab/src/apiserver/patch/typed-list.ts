// Owns the identity of list items: which element of a set or a map list an item is.
import { isObject, type Json, type JsonObject } from "../json.ts";
import type { Schema } from "../schema/schema.ts";
import { own } from "./patched.ts";
import { keyElement, valueElement, type PathElement } from "./path-element.ts";
import { defaultOf, isAtomicMap, itemSchema, listKind, memberSchema } from "./schema-walk.ts";

/** How the merge treats a value: member by member, item by item, or whole. */
export type Shape = "map" | "list" | "leaf";

export function shapeOf(value: Json, schema: Schema | undefined): Shape {
  if (isObject(value)) return isAtomicMap(schema) ? "leaf" : "map";
  if (!Array.isArray(value) || listKind(schema).kind === "atomic") return "leaf";
  return "list";
}

export interface Keyed {
  element: PathElement;
  item: Json;
}

/** Items with their elements, or why they have none: a missing key or a duplicate. */
export function keyItems(items: readonly Json[], schema: Schema | undefined): Keyed[] | { problem: string } {
  const keyed: Keyed[] = [];
  const seen = new Set<PathElement>();
  for (const [i, item] of items.entries()) {
    const element = elementOf(item, schema);
    if (typeof element !== "string") return { problem: `element ${i}: ${element.problem}` };
    if (seen.has(element)) return { problem: `element ${i}: duplicate entries for key ${element.slice(2)}` };
    seen.add(element);
    keyed.push({ element, item });
  }
  return keyed;
}

function elementOf(item: Json, schema: Schema | undefined): PathElement | { problem: string } {
  const kind = listKind(schema);
  if (kind.kind !== "map") return valueElement(item);
  if (!isObject(item)) return { problem: "associative list with keys may only have objects" };
  const key: JsonObject = {};
  for (const name of kind.keys) {
    const value = own(item, name) ?? (defaultOf(memberSchema(itemSchema(schema), name)) as Json | undefined);
    if (value !== undefined && value !== null) key[name] = value;
    else if (kind.keys.length === 1) return { problem: `associative list omits key field ${JSON.stringify(name)}` };
  }
  if (Object.keys(key).length === 0) {
    return { problem: `associative list omits all of its key fields ${JSON.stringify(kind.keys)}` };
  }
  return keyElement(key);
}
