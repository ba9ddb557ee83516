// Owns what a request's target is before anything judges, routes or forwards it: one normalisation for all three (Istio pathNormalization).
import { err, ok, type Result } from "../result.ts";
import type { PathNormalization } from "./waypoint-config.ts";

export interface RequestTarget {
  readonly path: string;
  /** Without `?`; undefined: there was none. */
  readonly query: string | undefined;
}

/**
 * decode `%2F %5C` → RFC 3986 §6.2.2 (unreserved escapes once, `\`, dot segments) → merge slashes; each level does what the ones before do.
 * The fragment goes, the query stays as it is. Refused: what is not a path (`*` is), and an escaped or raw NUL.
 */
export function normalizeTarget(target: string, level: PathNormalization): Result<RequestTarget, string> {
  const hash = target.indexOf("#");
  const whole = hash < 0 ? target : target.slice(0, hash);
  const mark = whole.indexOf("?");
  const raw = mark < 0 ? whole : whole.slice(0, mark);
  const query = mark < 0 ? undefined : whole.slice(mark + 1);
  if (isOrdinary(raw)) return ok({ path: raw, query });
  if (raw === "*") return ok({ path: raw, query });
  if (!raw.startsWith("/")) return err("the target is not a path");
  if (raw.includes("%00") || raw.includes("\0")) return err("the path has a NUL");
  return ok({ path: normalizePath(raw, level), query });
}

/** A path on which no level has anything to do or to refuse, as nearly all are: looked through once. */
function isOrdinary(raw: string): boolean {
  if (raw.charCodeAt(0) !== SLASH) return false;
  let afterSlash = true;
  for (let i = 1; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code === PERCENT || code === BACKSLASH || code === 0 || (afterSlash && (code === SLASH || code === DOT))) return false;
    afterSlash = code === SLASH;
  }
  return true;
}
const [SLASH, PERCENT, BACKSLASH, DOT] = [47, 37, 92, 46];

export const targetOf = (path: string, query: string | undefined): string => (query === undefined ? path : `${path}?${query}`);

function normalizePath(raw: string, level: PathNormalization): string {
  if (level === "none" || !NEEDS_WORK.test(raw)) return raw;
  const unslashed = level === "decode-and-merge-slashes" ? raw.replaceAll(/%2f|%5c/gi, "/") : raw;
  const resolved = resolveDots(unslashed.replaceAll(ESCAPE, decodeUnreserved).replaceAll("\\", "/"));
  return level === "base" ? resolved : resolved.replaceAll(/\/{2,}/g, "/");
}

/** Most paths have none of these and stay as they are. */
const NEEDS_WORK = /[%\\]|\/[./]/;
const ESCAPE = /%[0-9a-f]{2}/gi;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

/** Once only: `%252e` stays, for its first escape is of `%`. */
function decodeUnreserved(escape: string): string {
  const char = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  return UNRESERVED.test(char) ? char : escape;
}

/** RFC 3986 §5.2.4 of an absolute path. */
function resolveDots(path: string): string {
  if (!/\/\.{1,2}(?:\/|$)/.test(path)) return path;
  const out: string[] = [];
  const segments = path.slice(1).split("/");
  for (const [i, segment] of segments.entries()) {
    const last = i === segments.length - 1;
    if (segment === "..") out.pop();
    else if (segment !== ".") {
      out.push(segment);
      continue;
    }
    if (last) out.push("");
  }
  return `/${out.join("/")}`;
}
