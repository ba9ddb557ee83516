// Owns the question whether a request is what a route asks for, and which of its demands fails.
import { fieldLines, fieldValue } from "./fields.ts";
import type { GrpcMethodMatch, PathMatch, RequestMatch, TextMatch } from "./match.ts";
import { compileRegex } from "./regex/regex.ts";

/** What a route may ask about. */
export interface MatchFacts {
  /** Normalised, without query. */
  readonly path: string;
  /** Without `?`. */
  readonly query: string | undefined;
  readonly method: string;
  readonly authority: string;
  readonly scheme: string;
  /** Names (lower case) and values in turn. */
  readonly fields: readonly string[];
  readonly grpc: boolean;
  /** The client's workload; undefined: the mesh does not know it. */
  readonly source: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> } | undefined;
  /** Of the verified tokens, the one that speaks for the request first. */
  readonly claims: readonly Readonly<Record<string, unknown>>[];
}

export const matchRequest = (match: RequestMatch, facts: MatchFacts): boolean => failing(match, facts, false) === undefined;

/** The first demand that does not hold, in words for `ambit why`; undefined: it is a match. */
export const failingDemand = (match: RequestMatch, facts: MatchFacts): string | undefined => failing(match, facts, true);

/** Most routes of a port do not match most requests: words are only made for whoever asks. */
const UNSAID = "";

function failing(match: RequestMatch, facts: MatchFacts, say: boolean): string | undefined {
  if (match.path !== undefined && !pathMatches(match.path, facts.path)) return say ? `path ${match.path.kind} ${match.path.value}` : UNSAID;
  if (match.grpc !== undefined && !grpcMatches(match.grpc, facts)) return say ? `grpc method ${match.grpc.service ?? "*"}/${match.grpc.method ?? "*"}` : UNSAID;
  if (match.method !== undefined && !textMatches(match.method, facts.method)) return say ? `method ${describeText(match.method)}` : UNSAID;
  for (let i = 0; i < match.headers.length; i++) {
    const header = match.headers[i];
    if (header !== undefined && !repeats(match.headers, i) && !headerMatches(header, facts)) return say ? `header ${header.name} ${header.invert ? "not " : ""}${describeText(header.value)}` : UNSAID;
  }
  for (let i = 0; i < match.query.length; i++) {
    const query = match.query[i];
    if (query === undefined || repeats(match.query, i)) continue;
    const value = firstParameter(facts.query, query.name);
    if (value === undefined || !textMatches(query.value, value)) return say ? `query parameter ${query.name} ${describeText(query.value)}` : UNSAID;
  }
  return failingSource(match, facts) ?? (match.claims.length === 0 ? undefined : failingClaim(match, facts));
}

/** Of several demands on one name only the first counts (Gateway API); being there and not being so are two. */
export const repeats = (list: readonly { readonly name: string; readonly invert?: boolean }[], i: number): boolean =>
  i > 0 && list.findIndex((x) => x.name === list[i]?.name && x.invert === list[i]?.invert) < i;

function failingSource({ sourceNamespace, sourceLabels }: Pick<RequestMatch, "sourceNamespace" | "sourceLabels">, { source }: Pick<MatchFacts, "source">): string | undefined {
  if (sourceNamespace !== undefined && source?.namespace !== sourceNamespace) return `source namespace ${sourceNamespace}`;
  for (const name in sourceLabels) {
    if (!Object.hasOwn(sourceLabels, name)) continue;
    const value = sourceLabels[name];
    if (labelOf(source?.labels, name) !== value) return `source label ${name}=${value ?? ""}`;
  }
  return undefined;
}

/** Of a connection: what TCP routes may ask of where it comes from. */
export const matchSource = (match: Pick<RequestMatch, "sourceNamespace" | "sourceLabels">, facts: Pick<MatchFacts, "source">): boolean => failingSource(match, facts) === undefined;

const labelOf = (labels: Readonly<Record<string, string>> | undefined, name: string): string | undefined => (labels !== undefined && Object.hasOwn(labels, name) ? labels[name] : undefined);

function failingClaim({ claims }: RequestMatch, facts: MatchFacts): string | undefined {
  for (const claim of claims) {
    const values = claimTexts(facts.claims[0], claim.path);
    if (values.some((v) => textMatches(claim.value, v)) === claim.invert) return `claim ${claim.path.join(".")} ${claim.invert ? "not " : ""}${describeText(claim.value)}`;
  }
  return undefined;
}

export function pathMatches(match: PathMatch, path: string): boolean {
  if (match.kind === "regex") return textMatches({ kind: "regex", value: match.value }, path);
  const value = match.ignoreCase ? match.value.toLowerCase() : match.value;
  const seen = match.ignoreCase ? path.toLowerCase() : path;
  if (match.kind === "exact") return seen === value;
  if (match.kind === "prefix") return seen.startsWith(value);
  const stem = prefixStem(value);
  return seen.startsWith(stem) && (seen.length === stem.length || seen[stem.length] === "/");
}

/** The part of a Gateway API PathPrefix that counts: a trailing slash does not. */
export const prefixStem = (value: string): string => (value.endsWith("/") ? value.slice(0, -1) : value);

/** `/package.Service/Method`; without service or method: every gRPC request. A regex must match the whole name. */
function grpcMatches(match: GrpcMethodMatch, facts: MatchFacts): boolean {
  if (!facts.grpc) return false;
  const [, service, method, more] = facts.path.split("/");
  if (service === undefined || method === undefined || more !== undefined) return match.service === undefined && match.method === undefined;
  const holds = (wanted: string | undefined, seen: string): boolean => wanted === undefined || textMatches({ kind: match.kind, value: wanted }, seen);
  return holds(match.service, service) && holds(match.method, method);
}

/** A missing value counts as empty where absence is asked for (VirtualService withoutHeaders), unless presence is. */
function headerMatches({ name, value, invert }: RequestMatch["headers"][number], facts: MatchFacts): boolean {
  const seen = headerOf(name, facts);
  if (value.kind === "present") return (seen !== undefined) !== invert;
  if (seen === undefined && !invert) return false;
  return textMatches(value, seen ?? "") !== invert;
}

/** Names that are no fields. */
export const isPseudoHeader = (name: string): boolean => name.startsWith(":") || name === "host";

function headerOf(name: string, facts: MatchFacts): string | undefined {
  switch (name) {
    case ":authority": case "host": return facts.authority;
    case ":scheme": return facts.scheme;
    case ":method": return facts.method;
    case ":path": return facts.query === undefined ? facts.path : `${facts.path}?${facts.query}`;
    default: return fieldValue(facts.fields, name);
  }
}

/** Case sensitive; a regex covers the whole value, and one that cannot be compiled never matches (it was refused before it came here). */
export function textMatches(match: TextMatch, value: string): boolean {
  switch (match.kind) {
    case "exact": return value === match.value;
    case "prefix": return value.startsWith(match.value);
    case "present": return true;
    case "regex": {
      const regex = compileRegex(match.value);
      return regex.ok && regex.value.matches(value);
    }
  }
}

export const describeText = (match: TextMatch): string => (match.kind === "present" ? "present" : `${match.kind} "${match.value}"`);

/** The first value of a query parameter, percent-decoded as forms are; what cannot be decoded is compared as it stands. */
export function firstParameter(query: string | undefined, name: string): string | undefined {
  if (query === undefined) return undefined;
  for (const pair of query.split("&")) {
    const equals = pair.indexOf("=");
    const key = equals < 0 ? pair : pair.slice(0, equals);
    if (key === name || decodeForm(key) === name) return equals < 0 ? "" : decodeForm(pair.slice(equals + 1));
  }
  return undefined;
}

export function decodeForm(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}

/** The first value of a cookie (RFC 6265 §5.4), without quotes. */
export function cookieValue(fields: readonly string[], name: string): string | undefined {
  for (const line of fieldLines(fields, "cookie"))
    for (const pair of line.split(";")) {
      const equals = pair.indexOf("=");
      if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
      const value = pair.slice(equals + 1).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  return undefined;
}

/** The texts at a path of claims: one, or those of a list. Numbers and truth values are no text (Istio). A name may contain dots. */
export function claimTexts(claims: Readonly<Record<string, unknown>> | undefined, path: readonly string[]): readonly string[] {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return [];
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  if (typeof value === "string") return [value];
  return Array.isArray(value) ? value.filter((v): v is string => typeof v === "string") : [];
}
