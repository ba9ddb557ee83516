// Owns what upstream's typed structures make of a built-in object: null is nothing, and what is empty and optional is left out.
import { isObject, type Json, type JsonObject } from "../json.ts";
import type { Schema } from "../schema/structural.ts";

/** A copy of `object` as it comes out of a typed decoder. */
export function goShape(object: JsonObject, schema: Schema): JsonObject {
  return shapeMembers(object, schema);
}

function shapeMembers(object: JsonObject, schema: Schema): JsonObject {
  const properties = isSchema(schema["properties"]) ? schema["properties"] : {};
  const extra = schema["additionalProperties"];
  const required: readonly unknown[] = Array.isArray(schema["required"]) ? schema["required"] : [];
  const kept: JsonObject = {};
  for (const [key, value] of Object.entries(object)) {
    const member = Object.hasOwn(properties, key) ? properties[key] : extra;
    if (value === null) {
      // A null in a map of texts is the empty text.
      if (member === extra && isSchema(extra) && extra["type"] === "string") kept[key] = "";
      continue;
    }
    if (!isSchema(member)) {
      kept[key] = shapeFree(value);
      continue;
    }
    const shaped = shapeValue(value, member);
    if (isEmpty(shaped, member) && member !== extra && !required.includes(key)) continue;
    kept[key] = shaped;
  }
  return kept;
}

function shapeValue(value: Json, schema: Schema): Json {
  if (Array.isArray(value)) {
    const items = schema["items"];
    return value.map((item) => (isSchema(items) ? shapeValue(item, items) : shapeFree(item)));
  }
  if (!isObject(value)) return value;
  return isSchema(schema["properties"]) || isSchema(schema["additionalProperties"]) ? shapeMembers(value, schema) : shapeFree(value);
}

/** Lists and maps have no other empty value than none; a structure that is given is given. */
function isEmpty(value: Json, schema: Schema): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && isSchema(schema["additionalProperties"]) && Object.keys(value).length === 0;
}

function shapeFree(value: Json): Json {
  if (Array.isArray(value)) return value.map(shapeFree);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== null).map(([key, item]) => [key, shapeFree(item)]));
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
