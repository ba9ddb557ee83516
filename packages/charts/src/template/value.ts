// Owns what values are inside a template: JSON, whether they count as true, and how they are printed.

export type Value = null | undefined | boolean | number | string | readonly Value[] | { readonly [key: string]: Value };
export type ValueMap = { readonly [key: string]: Value };

export const isMap = (v: unknown): v is ValueMap => typeof v === "object" && v !== null && !Array.isArray(v);

/** Go's rule: nothing, false, 0, "" and what has no entries are false. */
export function isTrue(v: Value): boolean {
  if (v === null || v === undefined || v === false || v === 0 || v === "") return false;
  if (Array.isArray(v)) return v.length > 0;
  return !isMap(v) || Object.keys(v).length > 0;
}

/** From here on Go prints numbers of values as 1e+06. */
const PLAIN_BELOW = 1_000_000;

/** As it is printed; a problem where Go's way would surprise (nothing, lists, maps, large numbers). */
export function printed(v: Value): { readonly text: string } | { readonly problem: string } {
  if (typeof v === "string") return { text: v };
  if (typeof v === "boolean") return { text: String(v) };
  if (typeof v === "number") return Number.isInteger(v) && Math.abs(v) < PLAIN_BELOW ? { text: String(v) } : { problem: `the number ${v} would not be printed as it is: write it as a string` };
  return { problem: v === null || v === undefined ? "there is no value to print" : "a list or map has to go through toYaml or toJson" };
}

/** As Go's encoding/json: sorted keys, and <, > and & escaped. */
export function toJson(v: Value): string {
  const sorted = (x: Value): unknown => (Array.isArray(x) ? x.map(sorted) : isMap(x) ? Object.fromEntries(keysOf(x).map((k) => [k, sorted(x[k])])) : (x ?? null));
  return JSON.stringify(sorted(v)).replaceAll(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** By bytes, as Go sorts. */
export const keysOf = (m: ValueMap): string[] => Object.keys(m).sort((a, b) => (a < b ? -1 : 1));

/** Strings that are written without quotes: what no reader of YAML takes for anything else. */
const PLAIN = /^[A-Za-z/][A-Za-z0-9_./-]*$/;
const WORDS = new Set(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"]);

/** Block YAML with sorted keys, lists not indented below their key; without a newline at its end. */
export function toYaml(v: Value): string {
  if (Array.isArray(v)) return v.length === 0 ? "[]" : v.map((x) => `- ${nested(x).replaceAll("\n", "\n  ")}`).join("\n");
  if (isMap(v)) return keysOf(v).length === 0 ? "{}" : keysOf(v).map((k) => entry(k, v[k])).join("\n");
  return scalar(v);
}

const nested = (v: Value): string => toYaml(v);

function entry(key: string, v: Value): string {
  const name = scalar(key);
  if (isMap(v) && keysOf(v).length > 0) return `${name}:\n  ${toYaml(v).replaceAll("\n", "\n  ")}`;
  if (Array.isArray(v) && v.length > 0) return `${name}:\n${toYaml(v)}`;
  return `${name}: ${toYaml(v)}`;
}

function scalar(v: Value): string {
  if (typeof v !== "string") return JSON.stringify(v ?? null);
  return PLAIN.test(v) && !WORDS.has(v.toLowerCase()) ? v : JSON.stringify(v);
}
