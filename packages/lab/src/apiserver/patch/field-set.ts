// Owns sets of field paths: their algebra and their wire form FieldsV1 (structured-merge-diff's representation).
import { isObject, MAX_JSON_DEPTH, type Json, type JsonObject } from "../json.ts";
import { parseElement, type PathElement } from "./path-element.ts";

/** Paths, as a trie: an element of `members` ends a path here, one of `children` goes on. */
export interface FieldSet {
  readonly members: Set<PathElement>;
  readonly children: Map<PathElement, FieldSet>;
}

export function emptySet(): FieldSet {
  return { members: new Set(), children: new Map() };
}

/** Adds a path; changes `set`. The empty path is no field and is left out. */
export function insert(set: FieldSet, path: readonly PathElement[]): void {
  const last = path.at(-1);
  if (last === undefined) return;
  let at = set;
  for (const element of path.slice(0, -1)) {
    let next = at.children.get(element);
    if (next === undefined) at.children.set(element, (next = emptySet()));
    at = next;
  }
  at.members.add(last);
}

export function isEmptySet(set: FieldSet): boolean {
  return set.members.size === 0 && [...set.children.values()].every(isEmptySet);
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = { members: a.members.union(b.members), children: new Map(a.children) };
  for (const [element, child] of b.children) {
    const mine = a.children.get(element);
    result.children.set(element, mine === undefined ? child : union(mine, child));
  }
  return result;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = { members: a.members.intersection(b.members), children: new Map() };
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    if (other !== undefined) keep(result, element, intersection(child, other));
  }
  return result;
}

/** Paths of `a` that are not paths of `b`; paths below those of `b` stay. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = { members: a.members.difference(b.members), children: new Map() };
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    keep(result, element, other === undefined ? child : difference(child, other));
  }
  return result;
}

function keep(set: FieldSet, element: PathElement, child: FieldSet): void {
  if (!isEmptySet(child)) set.children.set(element, child);
}

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  return isEmptySet(difference(a, b)) && isEmptySet(difference(b, a));
}

/** All paths, each parent before what is below it, in the order of their texts. */
export function pathsOf(set: FieldSet): PathElement[][] {
  const found: PathElement[][] = [];
  const elements = new Set([...set.members, ...set.children.keys()]);
  for (const element of [...elements].toSorted()) {
    if (set.members.has(element)) found.push([element]);
    const child = set.children.get(element);
    if (child !== undefined) for (const rest of pathsOf(child)) found.push([element, ...rest]);
  }
  return found;
}

/** `{"f:spec":{"f:replicas":{}}}`; "." marks an element that is a path itself and also leads on. */
export function toFieldsV1(set: FieldSet): JsonObject {
  const result: JsonObject = {};
  const elements = new Set([...set.members, ...set.children.keys()]);
  for (const element of [...elements].toSorted()) {
    const child = set.children.get(element);
    const below = child === undefined || isEmptySet(child) ? {} : toFieldsV1(child);
    const self = set.members.has(element);
    if (!self && Object.keys(below).length === 0) continue;
    result[element] = self && Object.keys(below).length > 0 ? { ".": {}, ...below } : below;
  }
  return result;
}

/** Reads FieldsV1; null when it is malformed. */
export function fromFieldsV1(value: Json, depth = 0): FieldSet | null {
  if (!isObject(value) || depth > MAX_JSON_DEPTH) return null;
  const set = emptySet();
  for (const [text, below] of Object.entries(value)) {
    if (text === ".") continue; // read by the parent
    const element = parseElement(text);
    if (element === null || !isObject(below)) return null;
    if (Object.keys(below).length === 0 || Object.hasOwn(below, ".")) set.members.add(element);
    const child = fromFieldsV1(below, depth + 1);
    if (child === null) return null;
    keep(set, element, child);
  }
  return set;
}
