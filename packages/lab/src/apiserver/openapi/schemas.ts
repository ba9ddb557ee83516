// Owns how schemas are written into OpenAPI documents of version 2 and 3: references, special types, custom kinds.
import { isObject, type Json, type JsonObject } from "../json.ts";
import { definitionName, definitions, INT_OR_STRING, LIST_META, OBJECT_META, QUANTITY } from "./definitions.ts";
import { customName, type ServedKind } from "./served-kind.ts";

export type Dialect = "v2" | "v3";

/** Definitions that every document carries, as operations refer to them. */
const COMMON = [
  OBJECT_META,
  LIST_META,
  "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
  "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
];
const TYPE_META: JsonObject = {
  apiVersion: { type: "string", description: "The version of the schema that this object follows, as GROUP/VERSION." },
  kind: { type: "string", description: "The kind of this object, in CamelCase." },
};

export function reference(name: string, dialect: Dialect): JsonObject {
  return { $ref: `${dialect === "v2" ? "#/definitions/" : "#/components/schemas/"}${name}` };
}

/** The name of a kind's definition; undefined when there is none. */
export function nameOf(kind: ServedKind): string | undefined {
  return kind.custom === null ? definitionName(kind.group, kind.version, kind.kind) : customName(kind);
}

/** All definitions that the kinds need, by name. */
export function schemasFor(kinds: readonly ServedKind[], dialect: Dialect): JsonObject {
  const result: JsonObject = {};
  const take = (name: string): void => {
    if (Object.hasOwn(result, name)) return;
    const definition = definitions().get(name);
    if (definition === undefined) return;
    result[name] = {};
    result[name] = render(name, definition as JsonObject, dialect, take);
  };
  for (const name of COMMON) take(name);
  for (const kind of kinds) {
    const name = nameOf(kind);
    if (name === undefined) continue;
    if (kind.custom === null) {
      take(name);
      take(`${name}List`);
    } else {
      result[name] = customSchema(kind, kind.custom.schema, dialect);
      result[`${name}List`] = customList(kind, name, dialect);
    }
  }
  return result;
}

function render(name: string, definition: JsonObject, dialect: Dialect, take: (name: string) => void): JsonObject {
  const { oneOf: _, ...rest } = definition;
  if (name === INT_OR_STRING) {
    const both: Json = [{ type: "integer" }, { type: "string" }];
    return dialect === "v2" ? { ...rest, type: "string", format: "int-or-string" } : { ...rest, format: "int-or-string", oneOf: both };
  }
  if (name === QUANTITY) {
    return dialect === "v2" ? { ...rest, type: "string" } : { ...rest, oneOf: [{ type: "string" }, { type: "number" }] };
  }
  return renderSchema(definition, dialect, take);
}

function renderSchema(schema: JsonObject, dialect: Dialect, take: (name: string) => void): JsonObject {
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === "properties" && isObject(value)) {
      const properties: JsonObject = {};
      for (const [field, member] of Object.entries(value)) {
        properties[field] = isObject(member) ? renderSchema(member, dialect, take) : member;
      }
      result[key] = properties;
    } else if ((key === "items" || key === "additionalProperties") && isObject(value)) {
      result[key] = renderSchema(value, dialect, take);
    } else if (key === "$ref" && typeof value === "string") {
      take(value);
      // Version 3 ignores what stands beside a reference: it goes into allOf.
      const alone = Object.keys(schema).length === 1;
      if (dialect === "v2" || alone) result["$ref"] = reference(value, dialect)["$ref"] ?? "";
      else result["allOf"] = [reference(value, dialect)];
    } else result[key] = value;
  }
  return result;
}

function customSchema(kind: ServedKind, schema: JsonObject, dialect: Dialect): JsonObject {
  const body = dialect === "v2" ? toVersion2(schema) : schema;
  const properties = isObject(body["properties"]) ? body["properties"] : {};
  const metadata: JsonObject =
    dialect === "v2"
      ? { description: "Standard object's metadata.", ...reference(OBJECT_META, dialect) }
      : { description: "Standard object's metadata.", allOf: [reference(OBJECT_META, dialect)] };
  return {
    ...body,
    properties: { ...TYPE_META, ...properties, metadata },
    "x-kubernetes-group-version-kind": [{ group: kind.group, version: kind.version, kind: kind.kind }],
  };
}

function customList(kind: ServedKind, name: string, dialect: Dialect): JsonObject {
  const metadata: JsonObject =
    dialect === "v2"
      ? { description: "Standard list metadata.", ...reference(LIST_META, dialect) }
      : { description: "Standard list metadata.", allOf: [reference(LIST_META, dialect)] };
  return {
    type: "object",
    description: `${kind.kind}List is a list of ${kind.kind}`,
    required: ["items"],
    properties: { ...TYPE_META, metadata, items: { type: "array", items: reference(name, dialect) } },
    "x-kubernetes-group-version-kind": [{ group: kind.group, version: kind.version, kind: `${kind.kind}List` }],
  };
}

/** Keywords that version 2 has not; clients of it must not see half of a condition. */
const ONLY_VERSION_3: ReadonlySet<string> = new Set([
  "nullable", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-validations", "x-kubernetes-int-or-string",
]);

function toVersion2(schema: JsonObject): JsonObject {
  const free = schema["x-kubernetes-preserve-unknown-fields"] === true;
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(schema)) {
    if (ONLY_VERSION_3.has(key)) continue;
    if (free && (key === "properties" || key === "type" || key === "items")) continue;
    // A nullable member accepts null only if its type is left open.
    if (schema["nullable"] === true && (key === "type" || key === "properties" || key === "items")) continue;
    if (key === "properties" && isObject(value)) {
      const properties: JsonObject = {};
      for (const [field, member] of Object.entries(value)) properties[field] = isObject(member) ? toVersion2(member) : member;
      result[key] = properties;
    } else if ((key === "items" || key === "additionalProperties") && isObject(value)) result[key] = toVersion2(value);
    else result[key] = value;
  }
  return result;
}
