// Owns object metadata: decoding it into its known shape, the rules for names, labels and the like, and system fields.
import { randomInt } from "node:crypto";
import { asArray, asObject, asString, asStrings, isObject, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import { badRequest, forbiddenField, invalidValue, required, type FieldProblem } from "../status.ts";

/** Upstream's bound on all annotations of an object together. */
const MAX_ANNOTATION_BYTES = 256 * 1024;
const MAX_SUBDOMAIN_CHARS = 253;
const MAX_LABEL_CHARS = 63;
/** Letters and digits that do not form words or look alike, as upstream's generated names use. */
const SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_CHARS = 5;

const LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z](?:[-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const NAME_PART = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

const STRING_FIELDS = ["name", "generateName", "namespace", "uid", "resourceVersion", "selfLink", "creationTimestamp", "deletionTimestamp"];
const KNOWN = new Set([...STRING_FIELDS, "generation", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields"]);

export function metadataOf(object: JsonObject): JsonObject {
  return asObject(object["metadata"]);
}

/**
 * Gives `object.metadata` its known shape: wrong types are refused with 400 naming the field, unknown fields
 * are dropped and returned, nulls and empty containers vanish as they do in a typed decoder.
 */
export function shapeMetadata(object: JsonObject): string[] {
  const given = object["metadata"];
  if (given !== undefined && given !== null && !isObject(given)) throw mistyped("metadata", "an object");
  const metadata: JsonObject = {};
  const dropped: string[] = [];
  for (const [key, value] of Object.entries(asObject(given))) {
    if (value === null) continue;
    if (!KNOWN.has(key)) {
      dropped.push(`metadata.${key}`);
      continue;
    }
    if (STRING_FIELDS.includes(key) && typeof value !== "string") throw mistyped(`metadata.${key}`, "a string");
    const isCount = key === "generation" || key === "deletionGracePeriodSeconds";
    if (isCount && !Number.isSafeInteger(value)) throw mistyped(`metadata.${key}`, "an integer");
    if (key === "labels" || key === "annotations") {
      const map = stringMap(value, `metadata.${key}`);
      if (Object.keys(map).length > 0) metadata[key] = map;
      continue;
    }
    if (key === "finalizers") checkItems(value, "metadata.finalizers", "string");
    if (key === "ownerReferences" || key === "managedFields") checkItems(value, `metadata.${key}`, "object");
    if (Array.isArray(value) && value.length === 0) continue;
    metadata[key] = value;
  }
  object["metadata"] = metadata;
  return dropped;
}

function stringMap(value: unknown, field: string): JsonObject {
  if (!isObject(value)) throw mistyped(field, "an object of strings");
  const map: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    // A null value decodes to the empty string, as in a typed decoder.
    if (item !== null && typeof item !== "string") throw mistyped(`${field}.${key}`, "a string");
    map[key] = item ?? "";
  }
  return map;
}

function checkItems(value: unknown, field: string, type: "string" | "object"): void {
  if (!Array.isArray(value)) throw mistyped(field, `a list of ${type}s`);
  for (const [i, item] of value.entries()) {
    const fits = type === "string" ? typeof item === "string" : isObject(item);
    if (!fits) throw mistyped(`${field}[${i}]`, type === "string" ? "a string" : "an object");
  }
}

function mistyped(field: string, expected: string) {
  return badRequest(`the object provided is malformed: ${field} must be ${expected}`);
}

/** Problems of metadata in a new state. */
export function validateMetadata(row: Row, metadata: JsonObject, before: JsonObject | null): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const name = asString(metadata["name"]);
  if (name === "") problems.push(required("metadata.name", "name or generateName is required"));
  else problems.push(...validateName(row.nameRule, name, "metadata.name"));
  const labels = asObject(metadata["labels"]);
  for (const [key, value] of Object.entries(labels)) {
    problems.push(...validateKey(key, "metadata.labels"), ...validateLabelValue(value, "metadata.labels"));
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(asObject(metadata["annotations"]))) {
    bytes += key.length + asString(value).length;
    problems.push(...validateKey(key.toLowerCase(), "metadata.annotations"));
  }
  if (bytes > MAX_ANNOTATION_BYTES) {
    problems.push({ field: "metadata.annotations", type: "FieldValueTooLong", message: `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes` });
  }
  problems.push(...validateOwners(metadata), ...validateFinalizers(metadata, before));
  return problems;
}

export function validateName(rule: Row["nameRule"], name: string, field: string): FieldProblem[] {
  if (rule === "path") {
    const bad = name === "." || name === ".." || /[/%]/.test(name);
    return bad ? [invalidValue(field, name, "may not be '.' or '..' or contain '/' or '%'")] : [];
  }
  if (rule === "subdomain") {
    if (name.length <= MAX_SUBDOMAIN_CHARS && SUBDOMAIN.test(name)) return [];
    const text =
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an " +
      "alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    return [invalidValue(field, name, text)];
  }
  const pattern = rule === "label" ? LABEL : LABEL_1035;
  if (name.length <= MAX_LABEL_CHARS && pattern.test(name)) return [];
  const which = rule === "label" ? "a lowercase RFC 1123 label" : "a DNS-1035 label";
  const start = rule === "label" ? "start and end with an alphanumeric character" : "start with a letter and end with an alphanumeric character";
  return [invalidValue(field, name, `${which} must consist of at most 63 lower case alphanumeric characters or '-', and must ${start}`)];
}

/** A qualified name: optional DNS prefix, slash, name part. */
function validateKey(key: string, field: string): FieldProblem[] {
  const parts = key.split("/");
  const name = parts[parts.length - 1] as string;
  const prefix = parts.length === 2 ? (parts[0] as string) : null;
  const fits =
    parts.length <= 2 &&
    name.length <= MAX_LABEL_CHARS &&
    NAME_PART.test(name) &&
    (prefix === null || (prefix.length <= MAX_SUBDOMAIN_CHARS && SUBDOMAIN.test(prefix)));
  if (fits) return [];
  const text =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
  return [invalidValue(field, key, text)];
}

function validateLabelValue(value: unknown, field: string): FieldProblem[] {
  const text = typeof value === "string" ? value : "";
  if (text.length > MAX_LABEL_CHARS) return [invalidValue(field, value, `must be no more than ${MAX_LABEL_CHARS} characters`)];
  if (text === "" || NAME_PART.test(text)) return [];
  const rule =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
    "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
  return [invalidValue(field, value, rule)];
}

function validateOwners(metadata: JsonObject): FieldProblem[] {
  const problems: FieldProblem[] = [];
  let controllers = 0;
  for (const [i, owner] of asArray(metadata["ownerReferences"]).entries()) {
    const reference = asObject(owner);
    for (const key of ["apiVersion", "kind", "name", "uid"]) {
      if (asString(reference[key]) === "") problems.push(invalidValue(`metadata.ownerReferences[${i}].${key}`, "", `${key} must not be empty`));
    }
    if (reference["controller"] === true) controllers += 1;
  }
  if (controllers > 1) {
    problems.push(invalidValue("metadata.ownerReferences", controllers, "Only one reference can have Controller set to true"));
  }
  return problems;
}

function validateFinalizers(metadata: JsonObject, before: JsonObject | null): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const finalizers = asStrings(metadata["finalizers"]);
  for (const finalizer of finalizers) problems.push(...validateKey(finalizer, "metadata.finalizers"));
  if (before === null || before["deletionTimestamp"] === undefined) return problems;
  const known = asStrings(before["finalizers"]);
  const added = finalizers.filter((finalizer) => !known.includes(finalizer));
  if (added.length > 0) {
    const text = `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`;
    problems.push(forbiddenField("metadata.finalizers", text));
  }
  return problems;
}

/** `base` with a random suffix, cut so that the whole stays a valid name. */
export function generateName(base: string): string {
  let suffix = "";
  for (let i = 0; i < SUFFIX_CHARS; i++) suffix += SUFFIX_ALPHABET[randomInt(SUFFIX_ALPHABET.length)];
  return base.slice(0, MAX_LABEL_CHARS - SUFFIX_CHARS) + suffix;
}
