// Owns validation of a value against a compiled schema, in the words of Kubernetes.
import { equalJson, isObject, type Json, type JsonObject } from "../json.ts";
import { runRules } from "./cel-rules.ts";
import { duplicate, invalid, notSupported, required, tooLong, tooMany, typeInvalid, type FieldError } from "./field-error.ts";
import { numberFormatHolds, stringFormatHolds } from "./formats.ts";
import type { Node } from "./schema.ts";
import { full, report, type Walk } from "./walk.ts";

export interface Judging {
  /** Something else is wrong with the object in a way that keeps rules from being run. */
  readonly blocked?: boolean;
  /** Takes what rules say of parts that did not change. */
  readonly warn?: (text: string) => void;
  readonly numberFormats?: boolean;
}

/** Kinds of errors after which Kubernetes leaves the rules out: they could not rely on the shape of what they read. */
const BLOCKING: ReadonlySet<FieldError["type"]> = new Set(["FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"]);
const NOT_CHECKED: FieldError = {
  field: "<nil>",
  type: "FieldValueInvalid",
  message: "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
};

export function validateRoot(object: JsonObject, node: Node, old: JsonObject | undefined, hasRules: boolean, judging: Judging): FieldError[] {
  const warnings: string[] = [];
  const walk: Walk = { errors: [], unchanged: false, pending: [], warnings, numberFormats: judging.numberFormats === true };
  validateValue(object, node, old, "", walk);
  if (!hasRules) return walk.errors;
  if (judging.blocked === true || walk.errors.some((error) => BLOCKING.has(error.type))) return [...walk.errors, NOT_CHECKED];
  for (const run of walk.pending ?? []) run();
  for (const text of warnings) judging.warn?.(text);
  return walk.errors;
}

function validateValue(value: Json, node: Node, old: Json | undefined, path: string, outer: Walk): void {
  const same = outer.unchanged || (old !== undefined && equalJson(value, old));
  const walk: Walk = same === outer.unchanged ? outer : { ...outer, unchanged: same };
  if (value === null && (node.nullable || (node.type === "" && node.preserve))) return;
  if (!hasType(value, node)) {
    report(walk, typeInvalid(path, node.intOrString ? "integer,string" : node.type, value));
    return;
  }
  if (node.enum !== undefined && !node.enum.some((allowed) => equalJson(allowed, value))) {
    report(walk, notSupported(path, value, node.enum));
  }
  if (typeof value === "string") validateString(value, node, path, walk);
  else if (typeof value === "number") validateNumber(value, node, path, walk);
  else if (Array.isArray(value)) validateList(value, node, old, path, walk);
  else if (isObject(value)) validateObject(value, node, old, path, walk);
  validateJunctors(value, node, path, walk);
  if (node.rules.length > 0) walk.pending?.push(() => runRules(value, old, node, path, walk));
}

function hasType(value: Json, node: Node): boolean {
  if (node.intOrString) return typeof value === "string" || Number.isInteger(value);
  switch (node.type) {
    case "":
      return true;
    case "object":
      return isObject(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === node.type;
  }
}

function count(node: Node, key: string): number | undefined {
  const value = node.schema[key];
  return typeof value === "number" ? value : undefined;
}

function inBody(path: string): string {
  return path === "" ? "in body" : `${path} in body`;
}

function codePoints(text: string): number {
  let points = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const high = text.charCodeAt(i);
    if (high < 0xd800 || high > 0xdbff) continue;
    const low = text.charCodeAt(i + 1);
    if (low >= 0xdc00 && low <= 0xdfff) points--;
  }
  return points;
}

/** The first thing that is wrong with a text; its format is judged apart. */
function validateString(value: string, node: Node, path: string, walk: Walk): void {
  const format = node.schema["format"];
  if (typeof format === "string" && !stringFormatHolds(format, value)) {
    report(walk, { ...invalid(path, value, `${inBody(path)} must be of type ${format}: ${JSON.stringify(value)}`), type: "FieldValueTypeInvalid" });
  }
  const max = count(node, "maxLength");
  const min = count(node, "minLength");
  const length = codePoints(value);
  if (max !== undefined && length > max) report(walk, tooLong(path, max));
  else if (min !== undefined && length < min) report(walk, invalid(path, value, `${inBody(path)} should be at least ${min} chars long`));
  else if (node.pattern !== undefined && !node.pattern.matches(value)) {
    report(walk, invalid(path, value, `${inBody(path)} should match '${node.pattern.source}'`));
  }
}

function validateNumber(value: number, node: Node, path: string, walk: Walk): void {
  const { schema } = node;
  const max = count(node, "maximum");
  const min = count(node, "minimum");
  const say = (detail: string): void => report(walk, invalid(path, value, `${inBody(path)} should be ${detail}`));
  if (max !== undefined) {
    if (schema["exclusiveMaximum"] === true && value >= max) say(`less than ${max}`);
    else if (value > max) say(`less than or equal to ${max}`);
  }
  if (min !== undefined) {
    if (schema["exclusiveMinimum"] === true && value <= min) say(`greater than ${min}`);
    else if (value < min) say(`greater than or equal to ${min}`);
  }
  const multiple = count(node, "multipleOf");
  if (multiple !== undefined && multiple > 0) {
    const times = value / multiple;
    if (Math.abs(times - Math.round(times)) > 1e-9) say(`a multiple of ${multiple}`);
  }
  const format = schema["format"];
  if (walk.numberFormats === true && typeof format === "string" && !numberFormatHolds(format, value)) {
    report(walk, invalid(path, value, `${inBody(path)} must be of type ${format}: "${value}"`));
  }
}

function validateList(value: Json[], node: Node, old: Json | undefined, path: string, walk: Walk): void {
  const max = count(node, "maxItems");
  if (max !== undefined && value.length > max) report(walk, tooMany(path, value.length, max));
  const min = count(node, "minItems");
  if (min !== undefined && value.length < min) {
    report(walk, invalid(path, value.length, `${inBody(path)} should have at least ${min} items`));
  }
  if (node.list.kind !== "atomic") reportDuplicates(value, node, path, walk);
  const items = node.items;
  if (items === undefined) return;
  const before = correlate(old, node);
  for (const [i, item] of value.entries()) {
    if (full(walk)) return;
    validateValue(item, items, before(item), `${path}[${i}]`, walk);
  }
}

/** The key of an item of a map list or set; undefined when it has none. */
function elementKey(item: Json, node: Node): Json | undefined {
  if (node.list.kind === "set") return item;
  if (node.list.kind !== "map" || !isObject(item)) return undefined;
  const key: JsonObject = {};
  for (const name of node.list.keys) {
    if (Object.hasOwn(item, name)) key[name] = item[name] ?? null;
    else {
      const otherwise = node.items?.properties.get(name)?.defaultValue;
      if (otherwise !== undefined) key[name] = otherwise;
    }
  }
  return key;
}

function reportDuplicates(value: readonly Json[], node: Node, path: string, walk: Walk): void {
  const seen = new Set<string>();
  for (const [i, item] of value.entries()) {
    const key = elementKey(item, node);
    if (key === undefined) continue;
    const text = JSON.stringify(key);
    if (seen.has(text)) report(walk, duplicate(`${path}[${i}]`, key));
    seen.add(text);
  }
}

/** Finds the stored item that an item continues; only map lists say which one that is. */
function correlate(old: Json | undefined, node: Node): (item: Json) => Json | undefined {
  if (!Array.isArray(old) || node.list.kind !== "map") return () => undefined;
  const byKey = new Map<string, Json>();
  for (const item of old) byKey.set(JSON.stringify(elementKey(item, node) ?? null), item);
  return (item) => byKey.get(JSON.stringify(elementKey(item, node) ?? null));
}

function validateObject(value: JsonObject, node: Node, old: Json | undefined, path: string, walk: Walk): void {
  const size = Object.keys(value).length;
  const max = count(node, "maxProperties");
  if (max !== undefined && size > max) report(walk, tooMany(path, size, max));
  const min = count(node, "minProperties");
  if (min !== undefined && size < min) {
    report(walk, invalid(path, size, `${inBody(path)} should have at least ${min} properties`));
  }
  for (const name of node.required) if (!Object.hasOwn(value, name)) report(walk, required(join(path, name)));
  if (node.embedded) validateEmbedded(value, path, walk);
  const before = isObject(old) ? old : undefined;
  for (const [key, member] of Object.entries(value)) {
    if (full(walk)) return;
    const schema = node.properties.get(key) ?? node.additional;
    if (schema === undefined || schema === "any") continue;
    const stored = before !== undefined && Object.hasOwn(before, key) ? before[key] : undefined;
    const here = node.properties.has(key) ? join(path, key) : `${path}${path === "" ? key : `.${key}`}`;
    validateValue(member, schema, stored, here, walk);
  }
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function validateEmbedded(value: JsonObject, path: string, walk: Walk): void {
  for (const name of ["apiVersion", "kind"]) {
    const text = Object.hasOwn(value, name) ? value[name] : undefined;
    if (text === undefined || text === "") report(walk, required(join(path, name)));
    else if (typeof text !== "string") report(walk, typeInvalid(join(path, name), "string", text));
  }
  if (Object.hasOwn(value, "metadata") && !isObject(value["metadata"])) {
    report(walk, typeInvalid(join(path, "metadata"), "object", value["metadata"] ?? null));
  }
}

/** What is wrong with a value by itself, rules apart. */
export function faultsOf(value: Json, node: Node): FieldError[] {
  return holds(value, node, "");
}

function holds(value: Json, node: Node, path: string): FieldError[] {
  const trial: Walk = { errors: [], unchanged: false };
  validateValue(value, node, undefined, path, trial);
  return trial.errors;
}

function validateJunctors(value: Json, node: Node, path: string, walk: Walk): void {
  const name = JSON.stringify(path);
  for (const member of node.allOf) for (const error of holds(value, member, path)) report(walk, error);
  if (node.anyOf.length > 0) {
    const trials = node.anyOf.map((member) => holds(value, member, path));
    if (!trials.some((errors) => errors.length === 0)) {
      report(walk, invalid("<nil>", "", `${name} must validate at least one schema (anyOf)`));
      reportClosest(trials, walk);
    }
  }
  if (node.oneOf.length > 0) {
    const trials = node.oneOf.map((member) => holds(value, member, path));
    const valid = trials.filter((errors) => errors.length === 0).length;
    if (valid !== 1) {
      const found = valid === 0 ? "Found none valid" : `Found ${valid} valid alternatives`;
      report(walk, invalid("<nil>", "", `${name} must validate one and only one schema (oneOf). ${found}`));
      if (valid === 0) reportClosest(trials, walk);
    }
  }
  if (node.not !== undefined && holds(value, node.not, path).length === 0) {
    report(walk, invalid("<nil>", "", `${name} must not validate the schema (not)`));
  }
}

/** The alternative that fails least tells the user what is missing. */
function reportClosest(trials: readonly FieldError[][], walk: Walk): void {
  const closest = trials.reduce((best, errors) => (errors.length < best.length ? errors : best));
  for (const error of closest) report(walk, error);
}
