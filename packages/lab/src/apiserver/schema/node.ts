// Owns the compilation of structural schemas: every keyword read once, checked, and refused where it is wrong.
import { RE2JS } from "re2js";
import { isObject, type Json } from "../json.ts";
import { listKind } from "../patch/schema-walk.ts";
import { compileRules } from "./cel-rules.ts";
import { SchemaError, type JsonType, type Node, type Schema } from "./schema.ts";

/** Nesting of one schema. Deeper ones come from no real CRD and would only cost stack. */
const MAX_SCHEMA_DEPTH = 100;
/** Longest regular expression compiled, in characters. */
const MAX_PATTERN = 16_384;

const TYPES: ReadonlySet<unknown> = new Set(["object", "array", "string", "integer", "number", "boolean"]);
const FORBIDDEN = [
  "$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties", "readOnly",
  "writeOnly", "xml",
] as const;
const NUMBER_KEYWORDS = ["maximum", "minimum", "multipleOf"] as const;
const COUNT_KEYWORDS = ["maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"] as const;

interface Position {
  path: string;
  depth: number;
  /** Inside allOf, anyOf, oneOf or not: only checks of values may stand there. */
  junctor: boolean;
  /** The enclosing position has no type of its own, so that a junctor member may name one. */
  untyped: boolean;
}

/** Compiles `schema`; positions that are the same object are compiled once, so that schemas may be cyclic. */
export function compileNode(schema: unknown, memo: Map<object, Node>): Node {
  return compileAt(schema, { path: "openAPIV3Schema", depth: 0, junctor: false, untyped: false }, memo);
}

function child(at: Position, step: string): Position {
  return { ...at, path: `${at.path}.${step}`, depth: at.depth + 1 };
}

function compileAt(raw: unknown, at: Position, memo: Map<object, Node>): Node {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) throw new SchemaError(at.path, "not a schema object");
  const schema = raw as Schema;
  const known = memo.get(schema);
  if (known !== undefined) return known;
  if (at.depth > MAX_SCHEMA_DEPTH) throw new SchemaError(at.path, `nested deeper than ${MAX_SCHEMA_DEPTH} schemas`);
  checkKeywords(schema, at.path);
  const node = emptyNode(schema, at);
  memo.set(schema, node);
  checkStructure(node, at);
  fillChildren(node, at, memo);
  node.pattern = compilePattern(schema["pattern"], at.path);
  // Cyclic schemas are only our own built-in ones, which carry no rules: children are complete here.
  node.rules = compileRules(schema["x-kubernetes-validations"], node, at.path);
  return node;
}

function emptyNode(schema: Schema, at: Position): Node {
  const type = schema["type"];
  if (type !== undefined && type !== "" && !TYPES.has(type)) {
    throw new SchemaError(`${at.path}.type`, `Unsupported value: ${JSON.stringify(type)}`);
  }
  const values = schema["enum"];
  if (values !== undefined && !Array.isArray(values)) throw new SchemaError(`${at.path}.enum`, "must be a list");
  return {
    schema,
    type: type === undefined ? "" : (type as JsonType | ""), // member of TYPES
    nullable: flag(schema, "nullable", at.path),
    preserve: flag(schema, "x-kubernetes-preserve-unknown-fields", at.path),
    intOrString: flag(schema, "x-kubernetes-int-or-string", at.path),
    embedded: flag(schema, "x-kubernetes-embedded-resource", at.path),
    properties: new Map(),
    additional: undefined,
    items: undefined,
    required: strings(schema, "required", at.path),
    defaultValue: Object.hasOwn(schema, "default") ? (schema["default"] as Json) : undefined,
    list: listKind(schema),
    enum: values as Json[] | undefined,
    pattern: undefined,
    allOf: [],
    anyOf: [],
    oneOf: [],
    not: undefined,
    rules: [],
  };
}

function flag(schema: Schema, key: string, path: string): boolean {
  const value = schema[key];
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw new SchemaError(`${path}.${key}`, "must be true or false");
  return value;
}

function strings(schema: Schema, key: string, path: string): string[] {
  const value = schema[key];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    throw new SchemaError(`${path}.${key}`, "must be a list of strings");
  }
  return value;
}

function checkKeywords(schema: Schema, path: string): void {
  for (const key of FORBIDDEN) {
    const value = schema[key];
    if (value !== undefined && value !== false && value !== "") throw new SchemaError(`${path}.${key}`, "Forbidden");
  }
  if (schema["uniqueItems"] === true) {
    throw new SchemaError(`${path}.uniqueItems`, "Forbidden: cannot be set to true; use x-kubernetes-list-type: set");
  }
  for (const key of NUMBER_KEYWORDS) {
    const value = schema[key];
    if (value !== undefined && typeof value !== "number") throw new SchemaError(`${path}.${key}`, "must be a number");
  }
  for (const key of COUNT_KEYWORDS) {
    const value = schema[key];
    if (value === undefined) continue;
    if (!Number.isInteger(value) || Number(value) < 0) throw new SchemaError(`${path}.${key}`, "must be a count");
  }
  flag(schema, "exclusiveMinimum", path);
  flag(schema, "exclusiveMaximum", path);
  const format = schema["format"];
  if (format !== undefined && typeof format !== "string") throw new SchemaError(`${path}.format`, "must be a string");
}

function checkStructure(node: Node, at: Position): void {
  const { schema } = node;
  if (at.junctor) {
    for (const key of ["default", "nullable", "additionalProperties", "x-kubernetes-preserve-unknown-fields"]) {
      const value = schema[key];
      if (value !== undefined && value !== false) {
        throw new SchemaError(`${at.path}.${key}`, "Forbidden: must be undefined to be structural");
      }
    }
    if (node.type !== "" && !at.untyped) {
      throw new SchemaError(`${at.path}.type`, "Forbidden: must be empty to be structural");
    }
    return;
  }
  if (node.type === "" && !node.intOrString && !node.preserve) {
    throw new SchemaError(`${at.path}.type`, "Required value: must not be empty for specified object fields");
  }
  if (node.intOrString && node.type !== "") {
    throw new SchemaError(`${at.path}.type`, "Forbidden: must be empty if x-kubernetes-int-or-string is true");
  }
  if (node.type === "array" && schema["items"] === undefined) {
    throw new SchemaError(`${at.path}.items`, "Required value: must be specified");
  }
  if (node.embedded && node.type !== "object") {
    throw new SchemaError(`${at.path}.type`, "must be object if x-kubernetes-embedded-resource is true");
  }
  checkListMarkers(node, at.path);
}

function checkListMarkers(node: Node, path: string): void {
  const listType = node.schema["x-kubernetes-list-type"];
  if (listType === undefined) return;
  if (listType !== "map" && listType !== "set" && listType !== "atomic") {
    throw new SchemaError(`${path}.x-kubernetes-list-type`, `Unsupported value: ${JSON.stringify(listType)}`);
  }
  if (node.type !== "array") throw new SchemaError(`${path}.x-kubernetes-list-type`, "Forbidden: not an array");
  if (listType === "map" && strings(node.schema, "x-kubernetes-list-map-keys", path).length === 0) {
    throw new SchemaError(`${path}.x-kubernetes-list-map-keys`, "Required value: must not be empty for a list map");
  }
}

function fillChildren(node: Node, at: Position, memo: Map<object, Node>): void {
  const { schema } = node;
  const properties = schema["properties"];
  if (properties !== undefined) {
    if (!isObject(properties)) throw new SchemaError(`${at.path}.properties`, "must be an object");
    for (const [name, value] of Object.entries(properties)) {
      node.properties.set(name, compileAt(value, child(at, `properties[${name}]`), memo));
    }
  }
  const additional = schema["additionalProperties"];
  if (additional === false) throw new SchemaError(`${at.path}.additionalProperties`, "Forbidden: must not be false");
  if (additional === true) node.additional = "any";
  else if (additional !== undefined) node.additional = compileAt(additional, child(at, "additionalProperties"), memo);
  if (node.additional !== undefined && node.properties.size > 0) {
    throw new SchemaError(`${at.path}.additionalProperties`, "Forbidden: must not be used together with properties");
  }
  if (schema["items"] !== undefined) node.items = compileAt(schema["items"], child(at, "items"), memo);
  const inner: Position = { ...at, junctor: true, untyped: node.type === "" };
  node.allOf = compileJunctor(schema, "allOf", inner, memo);
  node.anyOf = compileJunctor(schema, "anyOf", inner, memo);
  node.oneOf = compileJunctor(schema, "oneOf", inner, memo);
  if (schema["not"] !== undefined) node.not = compileAt(schema["not"], child(inner, "not"), memo);
}

function compileJunctor(schema: Schema, key: string, at: Position, memo: Map<object, Node>): Node[] {
  const members = schema[key];
  if (members === undefined) return [];
  if (!Array.isArray(members)) throw new SchemaError(`${at.path}.${key}`, "must be a list of schemas");
  return members.map((member, i) => compileAt(member, child(at, `${key}[${i}]`), memo));
}

function compilePattern(source: unknown, path: string): Node["pattern"] {
  if (source === undefined || source === "") return undefined;
  if (typeof source !== "string" || source.length > MAX_PATTERN) {
    throw new SchemaError(`${path}.pattern`, `must be a string of at most ${MAX_PATTERN} characters`);
  }
  try {
    const compiled = RE2JS.compile(source);
    return { source, matches: (text) => compiled.matcher(text).find() };
  } catch (error) {
    throw new SchemaError(`${path}.pattern`, `must be a valid regular expression, but isn't: ${String(error)}`);
  }
}
