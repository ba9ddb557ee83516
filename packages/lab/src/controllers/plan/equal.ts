// Owns structural equality and hashing of plain JSON, where an absent field and null mean the same.

/** Deep equality; keys whose value is null or undefined count as absent. */
export function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a === null || a === undefined) return b === null || b === undefined;
  if (typeof a !== "object" || typeof b !== "object" || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => isEqual(item, b[i]));
  if (Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  return new Set([...Object.keys(left), ...Object.keys(right)]).values().every((key) => isEqual(left[key], right[key]));
}

/** JSON with sorted keys and without null fields: equal values have equal texts. */
export function stableText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stableText).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value)
    .filter(([, v]) => v !== null && v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${stableText(v)}`).join(",")}}`;
}

/** 32-bit FNV-1a over the text's UTF-16 code units. */
export function fnv1a(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193);
  }
  return hash >>> 0;
}

/** No vowels and no look-alikes: names never spell a word (Kubernetes names use the same letters). */
const SAFE = "bcdfghjklmnpqrstvwxz2456789";

/** A short name of a value, stable across processes: at most 10 letters safe in object names. */
export function hashName(value: unknown, collisionCount = 0): string {
  const text = stableText(value) + (collisionCount === 0 ? "" : `#${collisionCount}`);
  return [...String(fnv1a(text))].map((digit) => SAFE[digit.charCodeAt(0) % SAFE.length] ?? "b").join("");
}
