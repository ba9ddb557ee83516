// Owns the run-time schemas of Kubernetes' built-in kinds: the committed definitions with every reference followed.
import type { Schema } from "../schema/schema.ts";
import { definitionName, definitions, INT_OR_STRING, OBJECT_META, QUANTITY, type Definition } from "./definitions.ts";

type Building = { [keyword: string]: unknown };

/** Types whose JSON is not what their definition's keywords say. */
const FREE_FORM = /\.(JSON|JSONSchemaPropsOr\w+|RawExtension|FieldsV1)$/;

let linked: ReadonlyMap<string, Schema> | undefined;

/**
 * The schema of a built-in kind, or undefined. References are followed, so the result may be cyclic: walk it along
 * a value, never print it. Every position is nullable, as Kubernetes reads null as absent.
 */
export function builtinSchema(group: string, version: string, kind: string): Schema | undefined {
  const name = definitionName(group, version, kind);
  return name === undefined ? undefined : link().get(name);
}

/** The schema of `metadata`, which every kind shares. */
export function objectMetaSchema(): Schema {
  const schema = link().get(OBJECT_META);
  if (schema === undefined) throw new Error(`builtin-schemas.json lacks ${OBJECT_META}`);
  return schema;
}

function link(): ReadonlyMap<string, Schema> {
  if (linked !== undefined) return linked;
  // Shells first, with the identity of their `properties`, so that a type may refer to itself.
  const shells = new Map<string, Building>();
  for (const [name, definition] of definitions()) shells.set(name, shell(name, definition));
  for (const [name, definition] of definitions()) {
    const target = shells.get(name)?.["properties"];
    const fields = definition["properties"];
    if (typeof target !== "object" || target === null || typeof fields !== "object" || fields === null) continue;
    for (const [field, schema] of Object.entries(fields)) {
      Object.assign(target, { [field]: follow(schema as Definition, shells) });
    }
  }
  linked = shells;
  return linked;
}

function shell(name: string, definition: Definition): Building {
  if (name === INT_OR_STRING) return { "x-kubernetes-int-or-string": true, nullable: true };
  if (name === QUANTITY) return { "x-kubernetes-preserve-unknown-fields": true, nullable: true, format: "quantity" };
  if (FREE_FORM.test(name)) return { "x-kubernetes-preserve-unknown-fields": true, nullable: true };
  const copy: Building = { ...definition, nullable: true };
  // What "required" means in a status is that servers always write it; writers may leave counts of zero out.
  if (name.endsWith("Status")) delete copy["required"];
  if (definition["properties"] !== undefined) copy["properties"] = {};
  return copy;
}

function follow(schema: Definition, shells: ReadonlyMap<string, Building>): Building {
  const reference = schema["$ref"];
  const { $ref: _, ...rest } = schema;
  const base = typeof reference === "string" ? shells.get(reference) : undefined;
  if (typeof reference === "string" && base === undefined) throw new Error(`builtin-schemas.json lacks ${reference}`);
  const result: Building = { ...base, ...rest, nullable: true };
  // Bytes are a list in Go and a string in JSON.
  if (result["type"] !== "array") delete result["x-kubernetes-list-type"];
  for (const key of ["items", "additionalProperties"]) {
    const inner = result[key];
    if (typeof inner === "object" && inner !== null) result[key] = follow(inner as Definition, shells);
  }
  return result;
}
