// Owns reading and changing the field section of a message: names (lower case) and values in turn.
import type { HeaderChange } from "./route.ts";

/** Every line of that name, in order. */
export function fieldLines(fields: readonly string[], name: string): string[] {
  const lines: string[] = [];
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) lines.push(fields[i + 1] ?? "");
  return lines;
}

/** The value of a field; several lines are joined as RFC 9110 §5.3 says, cookies as RFC 9113 §8.2.3. undefined: absent. */
export function fieldValue(fields: readonly string[], name: string): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    const value = fields[i + 1] ?? "";
    found = found === undefined ? value : `${found}${name === "cookie" ? "; " : ","}${value}`;
  }
  return found;
}

export function withoutFields(fields: readonly string[], gone: (name: string) => boolean): string[] {
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (!gone(name)) kept.push(name, fields[i + 1] ?? "");
  }
  return kept;
}

/** Lines of the same name are replaced by this one. */
export function withField(fields: readonly string[], name: string, value: string): string[] {
  const kept = withoutFields(fields, (n) => n === name);
  kept.push(name, value);
  return kept;
}

/** Cannot be joined in one line (RFC 6265 §3). */
const NEVER_JOINED = "set-cookie";

/**
 * Remove, set, add. `add` joins what is there with a comma (Gateway API HTTPHeaderFilter). Pseudo-fields and `host` are not fields: `set` of
 * those says the authority (`authorityOf`), any other change of them is ignored as Envoy does.
 */
export function changeFields(fields: readonly string[], change: HeaderChange): string[] {
  const removed = new Set([...change.remove, ...change.set.map(([name]) => name)]);
  const out = removed.size === 0 ? [...fields] : withoutFields(fields, (name) => removed.has(name) && !outside(name));
  for (const [name, value] of change.set) if (!outside(name)) out.push(name, value);
  for (const [name, value] of change.add) {
    if (outside(name)) continue;
    const at = name === NEVER_JOINED ? -1 : lastLine(out, name);
    if (at < 0) out.push(name, value);
    else out[at + 1] = `${out[at + 1] ?? ""},${value}`;
  }
  return out;
}

/** The authority that a change of the request says, if it says one. */
export const authorityOf = (change: HeaderChange): string | undefined => change.set.findLast(([name]) => name === "host" || name === ":authority")?.[1];

const outside = (name: string): boolean => name.startsWith(":") || name === "host";

function lastLine(fields: readonly string[], name: string): number {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i] === name) return i;
  return -1;
}
