// Owns object metadata: decoding it into its known shape, the rules for names, labels and the like, and system fields.
import { randomInt } from "node:crypto";
import { asArray, asObject, asString, asStrings, isObject, type JsonObject } from "../json.ts";
import type { Row } from "../registry/row.ts";
import { badRequest, forbiddenField, invalidValue, required, type FieldProblem } from "../status.ts";
import { MAX_LABEL_CHARS, validateKey, validateLabelValue, validateName } from "./names.ts";

/** Upstream's bound on all annotations of an object together. */
const MAX_ANNOTATION_BYTES = 256 * 1024;
/** Letters and digits that do not form words or look alike, as upstream's generated names use. */
const SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_CHARS = 5;

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
  problems.push(...validateOwners(metadata), ...validateFinalizers(row, metadata, before));
  return problems;
}

function validateOwners(metadata: JsonObject): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const controllers: string[] = [];
  const owners = asArray(metadata["ownerReferences"]);
  for (const owner of owners) {
    const reference = asObject(owner);
    for (const key of ["apiVersion", "kind", "name", "uid"]) {
      const what = key === "apiVersion" ? "version must not be empty" : "must not be empty";
      if (asString(reference[key]) === "") problems.push(invalidValue(`metadata.ownerReferences.${key}`, "", what));
    }
    if (reference["controller"] === true) controllers.push(`${asString(reference["kind"])}/${asString(reference["name"])}`);
  }
  const [first, second] = controllers;
  if (second !== undefined) {
    const text = `Only one reference can have Controller set to true. Found "true" in references for ${first ?? ""} and ${second}`;
    problems.push(invalidValue("metadata.ownerReferences", owners, text));
  }
  return problems;
}

/** What a finalizer may be called without a domain of its own. */
const STANDARD_FINALIZERS = ["kubernetes", "orphan", "foregroundDeletion"];

function validateFinalizers(row: Row, metadata: JsonObject, before: JsonObject | null): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const finalizers = asStrings(metadata["finalizers"]);
  for (const [i, finalizer] of finalizers.entries()) {
    const field = `metadata.finalizers[${i}]`;
    problems.push(...validateKey(finalizer, field));
    if (row.custom !== null) continue;
    if (finalizer.includes("/") || STANDARD_FINALIZERS.includes(finalizer)) continue;
    problems.push(invalidValue(field, finalizer, "name is neither a standard finalizer name nor is it fully qualified"));
  }
  if (before === null || before["deletionTimestamp"] === undefined) return problems;
  const known = asStrings(before["finalizers"]);
  const added = finalizers.filter((finalizer) => !known.includes(finalizer));
  if (added.length > 0) {
    const text = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((finalizer) => JSON.stringify(finalizer)).join(", ")}}`;
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
