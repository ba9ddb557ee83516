// Owns checking objects against Kubernetes' own OpenAPI definitions (those the lab serves): types, required fields, and no field that is not known.
import { readFileSync } from "node:fs";

interface Schema {
  readonly $ref?: string; readonly type?: string; readonly format?: string; readonly properties?: Readonly<Record<string, Schema>>; readonly required?: readonly string[];
  readonly items?: Schema; readonly additionalProperties?: Schema; readonly "x-kubernetes-group-version-kind"?: readonly { group: string; version: string; kind: string }[];
}
const definitions = JSON.parse(readFileSync(new URL("../../../lab/src/apiserver/openapi/builtin-schemas.json", import.meta.url), "utf8")) as Readonly<Record<string, Schema>>;
const QUANTITY = /^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/;

/** One line for each thing that is not as the definition of its kind says. */
export function schemaProblems(object: { readonly apiVersion?: string; readonly kind?: string }): string[] {
  const [group, version] = (object.apiVersion ?? "").includes("/") ? (object.apiVersion ?? "").split("/") : ["", object.apiVersion];
  const found = Object.entries(definitions).find(([, d]) => d["x-kubernetes-group-version-kind"]?.some((g) => g.group === group && g.version === version && g.kind === object.kind));
  return found === undefined ? [`there is no kind ${object.kind ?? ""} in ${object.apiVersion ?? ""}`] : check(object, found[1], "");
}

function check(value: unknown, schema: Schema, path: string): string[] {
  const name = schema.$ref?.split("/").at(-1);
  if (name !== undefined) {
    if (name.endsWith(".IntOrString")) return typeof value === "string" || Number.isInteger(value) ? [] : [`${path}: neither number nor string`];
    if (name.endsWith(".Quantity")) return QUANTITY.test(String(value)) ? [] : [`${path}: ${String(value)} is no quantity`];
    const target = definitions[name];
    return target === undefined ? [`${path}: no definition ${name}`] : check(value, target, path);
  }
  switch (schema.type) {
    case "string": return typeof value === "string" ? [] : [`${path}: ${JSON.stringify(value)} is no string`];
    case "boolean": return typeof value === "boolean" ? [] : [`${path}: ${JSON.stringify(value)} is no boolean`];
    case "integer": return Number.isInteger(value) ? [] : [`${path}: ${JSON.stringify(value)} is no integer`];
    case "number": return typeof value === "number" ? [] : [`${path}: ${JSON.stringify(value)} is no number`];
    case "array": return Array.isArray(value) ? value.flatMap((v: unknown, i) => check(v, schema.items ?? {}, `${path}[${i}]`)) : [`${path}: no list`];
    default: break;
  }
  if (schema.properties === undefined && schema.additionalProperties === undefined) return [];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [`${path}: no map`];
  return [
    ...(schema.required ?? []).filter((r) => !Object.hasOwn(value, r)).map((r) => `${path}.${r}: missing`),
    ...Object.entries(value).flatMap(([key, v]) => {
      const field = schema.properties?.[key] ?? schema.additionalProperties;
      return field === undefined ? [`${path}.${key}: unknown field`] : check(v, field, `${path}.${key}`);
    }),
  ];
}
