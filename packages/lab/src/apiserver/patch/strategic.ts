// Owns strategic merge patches: Kubernetes' merge that knows list keys from the schema, with its $ directives.
import { cloneJson, isObject, type Json, type JsonObject } from "../json.ts";
import type { Schema } from "../schema/schema.ts";
import { catchRefusal, own, PatchRefusal, requireJson, type Patched } from "./patched.ts";
import { itemSchema, memberSchema, patchMergeKey, patchStrategies } from "./schema-walk.ts";
import { arrange, identity } from "./strategic-order.ts";

const DIRECTIVE = "$patch";
const RETAIN_KEYS = "$retainKeys";
const DELETE_PRIMITIVES = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER = "$setElementOrder/";

/** Merges `patch` into a copy of `doc`. 500 for malformed directives or elements without their merge key, as upstream. */
export function applyStrategicMergePatch(doc: Json, patch: unknown, schema: Schema): Patched {
  return catchRefusal(() => {
    const checked = requireJson(patch, "strategic merge patch");
    if (!isObject(checked)) throw new PatchRefusal(400, "a strategic merge patch must be an object");
    const original = cloneJson(requireJson(doc, "document"));
    return mergeMap(isObject(original) ? original : {}, checked, schema, "");
  });
}

function refuse(path: string, why: string, status: 400 | 500 = 500): never {
  throw new PatchRefusal(status, `${path === "" ? "patch" : path}: ${why}`, path);
}

function at(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function mergeMap(original: JsonObject, patch: JsonObject, schema: Schema | undefined, path: string): JsonObject {
  const directive = own(patch, DIRECTIVE);
  if (directive === "delete") return {};
  if (directive === "replace") return withoutDirectives(patch);
  if (directive !== undefined && directive !== "merge") {
    refuse(path, `unknown ${DIRECTIVE} directive ${JSON.stringify(directive)}`);
  }
  const misplaced = Object.keys(patch).find((key) => key.startsWith("$setElementOrder") && !key.startsWith(ELEMENT_ORDER));
  if (misplaced !== undefined) refuse(path, `invalid format for patch ${JSON.stringify(patch)}`);
  const merged = retainKeys(original, patch, path);
  const orders = new Map<string, Json[]>();
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(ELEMENT_ORDER)) orders.set(listOf(key, ELEMENT_ORDER, path), requireList(key, value, path));
    if (key.startsWith(DELETE_PRIMITIVES)) deletePrimitives(merged, key, value, path);
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key === DIRECTIVE || key === RETAIN_KEYS) continue;
    if (key.startsWith(ELEMENT_ORDER) || key.startsWith(DELETE_PRIMITIVES)) continue;
    if (orders.has(key)) continue;
    const field = memberSchema(schema, key);
    const result = mergeValue(own(merged, key), value, field, at(path, key));
    if (result === undefined) delete merged[key];
    else merged[key] = result;
  }
  for (const [key, order] of orders) mergeOrdered(merged, patch, key, order, memberSchema(schema, key), path);
  return merged;
}

/** The new value of a field; undefined deletes it. */
function mergeValue(
  original: Json | undefined,
  patch: Json,
  field: Schema | undefined,
  path: string,
): Json | undefined {
  if (patch === null) return undefined;
  const strategies = patchStrategies(field);
  if (isObject(patch)) {
    if (strategies.has("replace")) return withoutDirectives(patch);
    // With nothing there to replace, Kubernetes drops the whole map with its directive.
    if (original === undefined && own(patch, DIRECTIVE) === "replace") return {};
    return mergeMap(isObject(original) ? original : {}, patch, field, path);
  }
  if (!Array.isArray(patch)) return patch;
  if (!strategies.has("merge")) return patch.map((item) => (isObject(item) ? withoutDirectives(item) : cloneJson(item)));
  return mergeList(Array.isArray(original) ? original : [], patch, field, path);
}

function retainKeys(original: JsonObject, patch: JsonObject, path: string): JsonObject {
  const retained = own(patch, RETAIN_KEYS);
  if (retained === undefined) return original;
  if (!Array.isArray(retained) || !retained.every((key) => typeof key === "string")) {
    refuse(path, `${RETAIN_KEYS} must be a list of strings`, 400);
  }
  const keep = new Set(retained);
  for (const [key, value] of Object.entries(patch)) {
    const plain = value !== null && !key.startsWith("$");
    if (plain && !keep.has(key)) refuse(path, `${RETAIN_KEYS} does not name ${key}, which the patch sets`, 400);
  }
  return Object.fromEntries(Object.entries(original).filter(([key]) => keep.has(key)));
}

function listOf(key: string, prefix: string, path: string): string {
  const name = key.slice(prefix.length);
  if (name === "" || name.includes("/")) refuse(path, `${JSON.stringify(key)} does not name a list`);
  return name;
}

function requireList(key: string, value: Json, path: string): Json[] {
  if (!Array.isArray(value)) refuse(at(path, key), "must be a list");
  return value;
}

function deletePrimitives(merged: JsonObject, key: string, value: Json, path: string): void {
  const name = listOf(key, DELETE_PRIMITIVES, path);
  const present = own(merged, name);
  if (!Array.isArray(present)) return;
  const doomed = requireList(key, value, path);
  if (doomed.some((item) => typeof item === "object" && item !== null)) refuse(at(path, key), "must hold only scalars");
  merged[name] = present.filter((item) => !doomed.includes(item));
}

function mergeOrdered(
  merged: JsonObject,
  patch: JsonObject,
  key: string,
  order: readonly Json[],
  field: Schema | undefined,
  path: string,
): void {
  const here = at(path, key);
  const present = own(merged, key);
  const patched = own(patch, key);
  if (patched === null) {
    delete merged[key];
    return;
  }
  if (patched !== undefined && !Array.isArray(patched)) refuse(here, "must be a list, as it has an element order");
  if (present === undefined && patched === undefined) return;
  const before = Array.isArray(present) ? present : [];
  const mergeKey = patchMergeKey(field);
  requireOrderOf(patched ?? [], order, mergeKey, here);
  const after = patched === undefined ? before : mergeValue(before, patched, field, here);
  if (!Array.isArray(after)) return;
  merged[key] = arrange(after, order, before, mergeKey);
}

/** The elements that a patch sets must stand in the order that it declares. */
function requireOrderOf(patch: readonly Json[], order: readonly Json[], mergeKey: string, path: string): void {
  let next = 0;
  for (const item of patch) {
    if (isObject(item) && Object.hasOwn(item, DIRECTIVE)) continue;
    const id = identity(item, mergeKey);
    while (next < order.length && identity(order[next] ?? null, mergeKey) !== id) next++;
    if (next === order.length) refuse(path, `the order of the patch list does not match ${ELEMENT_ORDER}`);
    next++;
  }
}

function mergeList(original: Json[], patch: Json[], field: Schema | undefined, path: string): Json[] {
  if (patch.length === 0) return original;
  const objects = patch.filter(isObject);
  if (objects.length !== 0 && objects.length !== patch.length) refuse(path, "mixes objects and scalars");
  if (objects.length === 0) {
    if (patchMergeKey(field) !== "") refuse(path, "the elements of the list must be objects");
    const union = new Map([...original, ...patch].map((item) => [identity(item, ""), item]));
    return arrange([...union.values()], patch, original, "");
  }
  const mergeKey = patchMergeKey(field);
  if (mergeKey === "") refuse(path, "cannot merge lists of objects without a merge key");
  return mergeKeyedList(original, objects, mergeKey, itemSchema(field), path);
}

function mergeKeyedList(
  original: readonly Json[],
  patch: readonly JsonObject[],
  mergeKey: string,
  items: Schema | undefined,
  path: string,
): Json[] {
  const plain = patch.filter((item) => !Object.hasOwn(item, DIRECTIVE));
  const doomed = new Set<string>();
  let replaceAll = false;
  for (const item of patch) {
    const directive = own(item, DIRECTIVE);
    if (directive === "delete") doomed.add(requireKey(item, mergeKey, path));
    else if (directive === "replace") replaceAll = true;
    else if (directive === "merge") refuse(path, "merging lists cannot yet be specified in the patch");
    else if (directive !== undefined) refuse(path, `unknown ${DIRECTIVE} directive ${JSON.stringify(directive)}`);
  }
  if (replaceAll) return plain.map(withoutDirectives);
  const before = original.filter((entry) => !doomed.has(identity(entry, mergeKey)));
  const merged = [...before];
  const index = new Map(merged.map((entry, i) => [identity(entry, mergeKey), i]));
  for (const item of plain) {
    const id = requireKey(item, mergeKey, path);
    const place = index.get(id) ?? merged.length;
    const present = merged[place];
    merged[place] = mergeMap(isObject(present) ? present : {}, item, items, `${path}[${mergeKey}=${id}]`);
    index.set(id, place);
  }
  return arrange(merged, plain, before, mergeKey);
}

/** The identity of an element of a keyed list, which must have its key. */
function requireKey(item: JsonObject, mergeKey: string, path: string): string {
  const key = own(item, mergeKey);
  if (key === undefined || key === null) refuse(path, `map: does not contain declared merge key: ${mergeKey}`);
  return identity(item, mergeKey);
}

/** What a patch says when there is nothing to merge with: its values, without directives and deletions. */
function withoutDirectives(value: JsonObject): JsonObject {
  const plain: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === null || key === DIRECTIVE || key === RETAIN_KEYS) continue;
    if (key.startsWith(DELETE_PRIMITIVES) || key.startsWith(ELEMENT_ORDER)) continue;
    if (isObject(item)) {
      if (own(item, DIRECTIVE) !== "delete") plain[key] = withoutDirectives(item);
    } else if (Array.isArray(item)) {
      plain[key] = item
        .filter((entry) => !(isObject(entry) && Object.hasOwn(entry, DIRECTIVE)))
        .map((entry) => (isObject(entry) ? withoutDirectives(entry) : cloneJson(entry)));
    } else plain[key] = item;
  }
  return plain;
}
