// Owns the rules of ConfigMaps and Secrets: their keys, their size, what immutable ones may change, what a type of Secret needs.
import { asObject, asString, equalJson, type JsonObject } from "../json.ts";
import { forbiddenField, invalidValue, required, type FieldProblem } from "../status.ts";
import { validateConfigKey } from "../verbs/names.ts";

/** Upstream's bound on all data of an object together. */
const MAX_DATA_BYTES = 1024 * 1024;

export function validateConfigMap(object: JsonObject, before: JsonObject | null): FieldProblem[] {
  const problems = before === null ? [] : validateFrozen(object, before, ["data", "binaryData"]);
  const data = asObject(object["data"]);
  const binary = asObject(object["binaryData"]);
  for (const key of Object.keys(data)) {
    problems.push(...validateConfigKey(key, `data[${key}]`));
    if (binary[key] !== undefined) problems.push(invalidValue(`data[${key}]`, key, "duplicate of key present in binaryData"));
  }
  for (const key of Object.keys(binary)) problems.push(...validateConfigKey(key, `binaryData[${key}]`));
  return [...problems, ...validateSize([data, binary], "")];
}

const NEEDED: Record<string, readonly string[] | undefined> = {
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

export function validateSecret(object: JsonObject, before: JsonObject | null): FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (before !== null && object["type"] !== before["type"]) problems.push(invalidValue("type", object["type"] ?? "", "field is immutable"));
  if (before !== null) problems.push(...validateFrozen(object, before, ["data"]));
  const data = asObject(object["data"]);
  for (const key of Object.keys(data)) problems.push(...validateConfigKey(key, `data[${key}]`));
  problems.push(...validateSize([data], "data"));
  for (const key of NEEDED[asString(object["type"])] ?? []) if (data[key] === undefined) problems.push(required(`data[${key}]`));
  return problems;
}

function validateFrozen(object: JsonObject, before: JsonObject, fields: readonly string[]): FieldProblem[] {
  if (before["immutable"] !== true) return [];
  const problems = object["immutable"] === true ? [] : [forbiddenField("immutable", "field is immutable when `immutable` is set")];
  const changed = fields.filter((field) => !equalJson(object[field] ?? {}, before[field] ?? {}));
  return [...problems, ...changed.map((field) => forbiddenField(field, "field is immutable when `immutable` is set"))];
}

function validateSize(maps: readonly JsonObject[], field: string): FieldProblem[] {
  const bytes = maps.flatMap((map) => Object.values(map)).reduce<number>((sum, value) => sum + Buffer.byteLength(asString(value)), 0);
  return bytes <= MAX_DATA_BYTES ? [] : [{ field, type: "FieldValueTooLong", message: `Too long: may not be more than ${MAX_DATA_BYTES} bytes` }];
}
