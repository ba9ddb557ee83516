// Owns what a rewrite makes of a path, and where a redirect points.
import { err, ok, type Result } from "../result.ts";
import { splitAuthority } from "./hostname.ts";
import type { PathMatch } from "./match.ts";
import { prefixStem } from "./match-request.ts";
import { compileRegex } from "./regex/regex.ts";
import type { PathRewrite, Redirect } from "./route.ts";

/**
 * The path after a rewrite; the query is not part of it. `matched` is what the route matched by: the prefix that is replaced (Gateway API
 * ReplacePrefixMatch: slashes neither double nor vanish; VirtualService: the raw string). An error: a regex that has too much to do.
 */
export function rewritePath(rewrite: PathRewrite, matched: PathMatch | undefined, path: string): Result<string, string> {
  switch (rewrite.kind) {
    case "full": return ok(absolute(rewrite.value));
    case "prefix": return ok(replacePrefix(rewrite.value, matched, path));
    case "regex": {
      const regex = compileRegex(rewrite.pattern);
      if (!regex.ok) return err(regex.error);
      const replaced = regex.value.replaceAll(path, rewrite.substitution);
      return replaced.ok ? ok(absolute(replaced.value)) : replaced;
    }
  }
}

function replacePrefix(value: string, matched: PathMatch | undefined, path: string): string {
  if (matched?.kind === "prefix") return absolute(value + path.slice(matched.value.length));
  // Not a prefix at all: the whole path is what matched.
  if (matched?.kind === "exact" || matched?.kind === "regex") return absolute(value);
  const rest = path.slice(prefixStem(matched?.value ?? "/").length);
  return absolute(prefixStem(value) + rest);
}

const absolute = (path: string): string => (path.startsWith("/") ? path : `/${path}`);

export interface RedirectFacts {
  readonly scheme: string;
  readonly authority: string;
  /** The service port that was dialled. */
  readonly port: number;
  readonly path: string;
  readonly query: string | undefined;
}

const WELL_KNOWN: Readonly<Record<string, number>> = { http: 80, https: 443 };

/**
 * The Location of a redirect. Its port: the one it says; else that of the scheme it says; else the one that was dialled (Gateway API). A
 * VirtualService without port names none with a new host, and keeps the request's with the old one. `:80` of http and `:443` of https are left out.
 */
export function locationOf(redirect: Redirect, matched: PathMatch | undefined, facts: RedirectFacts, kind: "gateway" | "virtual-service"): Result<string, string> {
  const path = redirect.path === undefined ? ok(facts.path) : rewritePath(redirect.path, matched, facts.path);
  if (!path.ok) return path;
  const asked = splitAuthority(facts.authority);
  const scheme = redirect.scheme ?? facts.scheme;
  const port = portOf(redirect, kind === "gateway" ? facts.port : redirect.hostname === undefined ? asked.port : undefined);
  const shown = port === undefined || port === WELL_KNOWN[scheme] ? "" : `:${port}`;
  return ok(`${scheme}://${redirect.hostname ?? asked.host}${shown}${path.value}${facts.query === undefined ? "" : `?${facts.query}`}`);
}

function portOf(redirect: Redirect, otherwise: number | undefined): number | undefined {
  if (typeof redirect.port === "number") return redirect.port;
  if (redirect.port === "derive-from-scheme" || redirect.scheme !== undefined) return undefined;
  return otherwise;
}
