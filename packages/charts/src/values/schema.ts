// Owns checking values against a chart's values.schema.json: the part of JSON Schema (draft 7) that our schemas are written in.
import { isMap, type Value, type ValueMap } from "../template/value.ts";

const KEYWORDS = new Set(["$schema", "description", "type", "enum", "pattern", "minLength", "minimum", "maximum", "items", "properties", "additionalProperties", "required"]);
const TYPES: Readonly<Record<string, (v: Value) => boolean>> = {
  object: isMap, array: (v) => Array.isArray(v), string: (v) => typeof v === "string", boolean: (v) => typeof v === "boolean",
  number: (v) => typeof v === "number", integer: (v) => Number.isInteger(v), null: (v) => v === null,
};

/** Every value that is not as the schema says, `path: why`; empty where all is well. Throws where the schema itself is not understood. */
export function checkValues(values: Value, schema: Value, path = ""): string[] {
  if (!isMap(schema)) throw new Error(`the schema of ${path || "the values"} is not a map`);
  const unknown = Object.keys(schema).find((k) => !KEYWORDS.has(k));
  if (unknown !== undefined) throw new Error(`the schema of ${path || "the values"} has "${unknown}", which is not read here`);
  const at = path === "" ? "values" : path;
  const types = typesOf(schema["type"]);
  if (types !== undefined && !types.some((t) => TYPES[t]?.(values) === true)) return [`${at}: must be ${types.join(" or ")}, not ${kindOf(values)}`];
  const problems: string[] = [];
  const say = (why: string): void => void problems.push(`${at}: ${why}`);
  const allowed = schema["enum"];
  if (Array.isArray(allowed) && !allowed.includes(values)) say(`must be one of ${allowed.join(", ")}`);
  if (typeof values === "string") {
    const { pattern, minLength } = schema;
    if (typeof pattern === "string" && !new RegExp(pattern, "u").test(values)) say(`"${values}" does not match ${pattern}`);
    if (typeof minLength === "number" && values.length < minLength) say("must not be empty");
  }
  if (typeof values === "number") {
    const { minimum, maximum } = schema;
    if ((typeof minimum === "number" && values < minimum) || (typeof maximum === "number" && values > maximum)) say(`${values} is not from ${String(minimum ?? "-")} to ${String(maximum ?? "-")}`);
  }
  const { items } = schema;
  if (Array.isArray(values) && items !== undefined) values.forEach((v: Value, i) => problems.push(...checkValues(v, items, `${path}[${i}]`)));
  return isMap(values) ? [...problems, ...checkFields(values, schema, path, at)] : problems;
}

function checkFields(values: ValueMap, schema: ValueMap, path: string, at: string): string[] {
  const properties = isMap(schema["properties"]) ? schema["properties"] : {};
  const others = schema["additionalProperties"];
  const required = schema["required"];
  return [
    ...(Array.isArray(required) ? required.filter((name) => !Object.hasOwn(values, String(name))).map((name) => `${at}: ${String(name)} is missing`) : []),
    ...Object.entries(values).flatMap(([name, value]) => {
      const below = path === "" ? name : `${path}.${name}`;
      if (Object.hasOwn(properties, name)) return checkValues(value, properties[name], below);
      if (others === false) return [`${below}: there is no such value`];
      return others === undefined || others === true ? [] : checkValues(value, others, below);
    }),
  ];
}

function typesOf(type: Value): readonly string[] | undefined {
  if (type === undefined) return undefined;
  const list = (Array.isArray(type) ? type : [type]) as readonly Value[];
  if (!list.every((t): t is string => typeof t === "string" && Object.hasOwn(TYPES, t))) throw new Error("the schema names a type that there is not");
  return list;
}

const kindOf = (v: Value): string => (v === null || v === undefined ? "null" : Array.isArray(v) ? "array" : typeof v === "object" ? "object" : typeof v);
