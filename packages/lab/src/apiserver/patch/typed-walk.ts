// Owns the walks of server-side apply along a value and its schema: which fields it has, what changed, merge, removal.
import { equalJson, isObject, type Json, type JsonObject } from "../json.ts";
import type { Schema } from "../schema/schema.ts";
import { emptySet, insert, type FieldSet } from "./field-set.ts";
import { own } from "./patched.ts";
import { fieldElement, showPath, type PathElement } from "./path-element.ts";
import { itemSchema, memberSchema } from "./schema-walk.ts";
import { keyItems, shapeOf, type Keyed } from "./typed-list.ts";

type Path = readonly PathElement[];

/** A value whose lists cannot be merged; names the list. */
export class UntypableValue extends Error {}

function declares(schema: Schema | undefined, key: string): boolean {
  const properties = schema?.["properties"];
  return typeof properties === "object" && properties !== null && Object.hasOwn(properties, key);
}

/** The fields that `value` sets. With `strict`, lists with duplicate or missing keys throw; otherwise they count whole. */
export function fieldsOf(value: Json, schema: Schema, strict: boolean): FieldSet {
  const set = emptySet();
  const visit = (at: Json, under: Schema | undefined, path: Path): void => {
    switch (shapeOf(at, under)) {
      case "map":
        for (const [key, member] of Object.entries(at as JsonObject)) {
          const here = [...path, fieldElement(key)];
          visit(member, memberSchema(under, key), here);
          const bare = isObject(member) && Object.keys(member).length === 0;
          if (bare || !declares(under, key)) insert(set, here);
        }
        return;
      case "list": {
        const keyed = keyItems(at as Json[], under);
        if (!Array.isArray(keyed)) {
          if (strict) throw new UntypableValue(`${showPath(path)}: ${keyed.problem}`);
          return insert(set, path);
        }
        for (const { element, item } of keyed) {
          const here = [...path, element];
          visit(item, itemSchema(under), here);
          insert(set, here);
        }
        return;
      }
      default:
        insert(set, path);
    }
  };
  visit(value, schema, []);
  return set;
}

export interface Comparison {
  added: FieldSet;
  modified: FieldSet;
  removed: FieldSet;
}

/** The fields that differ between two values; a container that appears or goes counts itself and all below it. */
export function compareValues(before: Json, after: Json, schema: Schema): Comparison {
  const result: Comparison = { added: emptySet(), modified: emptySet(), removed: emptySet() };
  compareAt(before, after, schema, [], result);
  return result;
}

function compareAt(
  before: Json | undefined,
  after: Json | undefined,
  schema: Schema | undefined,
  path: Path,
  result: Comparison,
): void {
  if (before === undefined && after === undefined) return;
  if (before !== undefined && after !== undefined) {
    if (equalJson(before, after)) return;
    const shape = shapeOf(before, schema);
    if (shape !== shapeOf(after, schema)) {
      compareAt(before, undefined, schema, path, result);
      compareAt(undefined, after, schema, path, result);
      return;
    }
    if (shape === "leaf") return insert(result.modified, path);
    return compareInside(before, after, schema, path, result);
  }
  insert(before === undefined ? result.added : result.removed, path);
  if (shapeOf(before ?? after ?? null, schema) !== "leaf") compareInside(before, after, schema, path, result);
}

function compareInside(
  before: Json | undefined,
  after: Json | undefined,
  schema: Schema | undefined,
  path: Path,
  result: Comparison,
): void {
  if (isObject(before ?? after)) {
    const [left, right] = [isObject(before) ? before : {}, isObject(after) ? after : {}];
    for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
      compareAt(own(left, key), own(right, key), memberSchema(schema, key), [...path, fieldElement(key)], result);
    }
    return;
  }
  const left = keyItems(Array.isArray(before) ? before : [], schema);
  const right = keyItems(Array.isArray(after) ? after : [], schema);
  if (!Array.isArray(left) || !Array.isArray(right)) {
    if (before !== undefined && after !== undefined) insert(result.modified, path);
    return;
  }
  const [mine, theirs] = [byElement(left), byElement(right)];
  for (const element of new Set([...mine.keys(), ...theirs.keys()])) {
    compareAt(mine.get(element), theirs.get(element), itemSchema(schema), [...path, element], result);
  }
}

function byElement(items: readonly Keyed[]): Map<PathElement, Json> {
  return new Map(items.map(({ element, item }) => [element, item]));
}

/** `live` with everything that `applied` says. Applied null removes. */
export function mergeTyped(live: Json | undefined, applied: Json, schema: Schema | undefined): Json {
  const shape = shapeOf(applied, schema);
  if (shape === "map") {
    const merged: JsonObject = live !== undefined && shapeOf(live, schema) === "map" ? { ...(live as JsonObject) } : {};
    for (const [key, value] of Object.entries(applied as JsonObject)) {
      if (value === null) delete merged[key];
      else merged[key] = mergeTyped(own(merged, key), value, memberSchema(schema, key));
    }
    return merged;
  }
  if (shape === "list") return mergeTypedList(Array.isArray(live) ? live : [], applied as Json[], schema);
  return applied;
}

function mergeTypedList(live: readonly Json[], applied: readonly Json[], schema: Schema | undefined): Json[] {
  const ours = keyItems(applied, schema);
  const theirs = keyItems(live, schema);
  if (!Array.isArray(ours)) throw new UntypableValue(ours.problem);
  // A stored list that breaks its own keys cannot be merged with: what is applied takes its place.
  const stored = Array.isArray(theirs) ? theirs : [];
  const wanted = new Set(ours.map(({ element }) => element));
  const present = byElement(stored);
  const done = new Set<PathElement>();
  const merged: Json[] = [];
  let next = 0;
  // Items only in the live list keep their place before the applied item that they stood before.
  const passUnapplied = (): void => {
    for (let at = stored[next]; at !== undefined; at = stored[++next]) {
      if (!wanted.has(at.element)) merged.push(at.item);
      else if (!done.has(at.element)) return;
    }
  };
  for (const { element, item } of ours) {
    passUnapplied();
    merged.push(mergeTyped(present.get(element), item, itemSchema(schema)));
    done.add(element);
  }
  passUnapplied();
  return merged;
}

/** `value` without the fields of `set`, each with all that is below it. */
export function removeFields(value: Json, set: FieldSet, schema: Schema | undefined): Json {
  const shape = shapeOf(value, schema);
  if (shape === "map") {
    const kept: JsonObject = {};
    for (const [key, member] of Object.entries(value as JsonObject)) {
      const element = fieldElement(key);
      if (set.members.has(element)) continue;
      const below = set.children.get(element);
      kept[key] = below === undefined ? member : removeFields(member, below, memberSchema(schema, key));
    }
    return kept;
  }
  if (shape !== "list") return value;
  const keyed = keyItems(value as Json[], schema);
  if (!Array.isArray(keyed)) return value;
  const kept: Json[] = [];
  for (const { element, item } of keyed) {
    if (set.members.has(element)) continue;
    const below = set.children.get(element);
    kept.push(below === undefined ? item : removeFields(item, below, itemSchema(schema)));
  }
  return kept;
}

/** The set with every declared member that leads to a path made a path itself: whoever owns `.spec.x` owns `.spec`. */
export function withNamedParents(set: FieldSet, schema: Schema | undefined): FieldSet {
  const result: FieldSet = { members: new Set(set.members), children: new Map() };
  for (const [element, child] of set.children) {
    const name = element.startsWith("f:") ? element.slice(2) : null;
    if (name !== null && declares(schema, name)) result.members.add(element);
    const below = name === null ? itemSchema(schema) : memberSchema(schema, name);
    result.children.set(element, withNamedParents(child, below));
  }
  return result;
}
