// Owns the JSON types of the API server and the few total accessors that read foreign objects safely.

export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

/** Deepest nesting accepted in a request body: keeps every recursive walk within the stack. */
export const MAX_JSON_DEPTH = 512;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value as an object, or an empty one. */
export function asObject(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

export function asArray(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

/** The objects of a list; anything else in it is left out. */
export function asObjects(value: Json | undefined): JsonObject[] {
  return asArray(value).filter(isObject);
}

export function asString(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

export function asStrings(value: Json | undefined): string[] {
  return asArray(value).filter((item) => typeof item === "string");
}

export function asNumber(value: Json | undefined, otherwise = 0): number {
  return typeof value === "number" ? value : otherwise;
}

export function asBoolean(value: Json | undefined): boolean {
  return value === true;
}

/** A string map such as labels; entries that are not strings are left out. */
export function asStringMap(value: Json | undefined): Record<string, string> {
  const map: Record<string, string> = {};
  for (const [key, item] of Object.entries(asObject(value))) {
    if (typeof item === "string") map[key] = item;
  }
  return map;
}

/** Follows object keys; undefined as soon as one is missing. */
export function dig(value: Json | undefined, ...path: string[]): Json | undefined {
  let at = value;
  for (const key of path) {
    if (!isObject(at) || !Object.hasOwn(at, key)) return undefined;
    at = at[key];
  }
  return at;
}

/** The object at `key`, created when missing; changes `parent`. */
export function ensureObject(parent: JsonObject, key: string): JsonObject {
  const present = parent[key];
  if (isObject(present)) return present;
  const made: JsonObject = {};
  parent[key] = made;
  return made;
}

export function setDefault(parent: JsonObject, key: string, value: Json): void {
  if (parent[key] === undefined || parent[key] === null) parent[key] = value;
}

export function cloneJson<T extends Json>(value: T): T {
  if (Array.isArray(value)) return value.map((item) => cloneJson(item)) as T;
  if (!isObject(value)) return value;
  const copy: JsonObject = {};
  for (const key of Object.keys(value)) copy[key] = cloneJson(value[key] as Json);
  return copy as T;
}

export function equalJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, i) => equalJson(item, b[i]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && equalJson(a[key], b[key]));
}

/**
 * Checks what JSON.parse lets through but no walk should meet: `__proto__` keys, undefined, non-JSON values
 * (YAML dates and the like) and nesting beyond MAX_JSON_DEPTH. Returns a problem naming the path, or null.
 */
export function findForeignJson(value: unknown, path = "", depth = 0): string | null {
  if (depth > MAX_JSON_DEPTH) return `${path.slice(0, 60)}…: nested deeper than ${MAX_JSON_DEPTH} levels`;
  if (value === null || typeof value === "string" || typeof value === "boolean") return null;
  if (typeof value === "number") return Number.isFinite(value) ? null : `${path}: not a finite number`;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const problem = findForeignJson(value[i], `${path}[${i}]`, depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  }
  if (typeof value !== "object") return `${path}: ${typeof value} is not a JSON value`;
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto !== Object.prototype && proto !== null) return `${path}: not a plain JSON value`;
  for (const [key, item] of Object.entries(value)) {
    if (key === "__proto__") return `${path}.__proto__: not a permitted key`;
    const problem = findForeignJson(item, path === "" ? key : `${path}.${key}`, depth + 1);
    if (problem !== null) return problem;
  }
  return null;
}
