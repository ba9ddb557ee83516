// Owns tokens of a request (RequestAuthentication): which rules apply, where tokens are looked for, and what a verified one does to the request.
import {
  cookieValue, decodeForm, fieldLines, matchRequest, policyKey, withField, withoutFields, type HttpRoute, type JwtRule, type MatchFacts, type RequestAuthentication, type WaypointConfig,
} from "@ambit/core";
import type { ConnectionFacts, RequestFacts, TokenFacts, TokenLocation } from "../facts.ts";
import { onRoute, policiesFor } from "./authorization.ts";
import { isHttp, routesOf } from "./routes.ts";

export interface TokenRules {
  /** By issuer; `TokenFacts.rule` counts in this. */
  readonly rules: readonly JwtRule[];
  /** One of the authentications could not be understood: every request is refused, naming it. */
  readonly refused: string | undefined;
}

/**
 * All rules on the waypoint, the service, and the routes that the request may take (routes may ask for claims, so every route that matches
 * but for those counts, up to the first that asks for none). All are concatenated, ordered by issuer.
 */
export function tokenRulesFor(config: WaypointConfig, connection: ConnectionFacts, facts: MatchFacts): TokenRules {
  if (config.authentications.length === 0) return NO_RULES;
  const routes = routesOf(config, connection)?.routes;
  const possible: HttpRoute[] = [];
  if (routes !== undefined && isHttp(routes))
    for (const route of routes.routes) {
      if (!matchRequest({ ...route.match, claims: [] }, facts)) continue;
      possible.push(route);
      if (route.match.claims.length === 0) break;
    }
  const applying: readonly RequestAuthentication[] = policiesFor(config.authentications, connection, (target) => possible.some((r) => onRoute(r)(target)));
  const bad = applying.find((a) => a.refused !== undefined);
  const rules = applying.flatMap((a) => a.rules).toSorted((a, b) => (a.issuer === b.issuer ? 0 : a.issuer < b.issuer ? -1 : 1));
  return { rules, refused: bad && `RequestAuthentication ${policyKey(bad)}: ${bad.refused ?? ""}` };
}
const NO_RULES: TokenRules = { rules: [], refused: undefined };

/** A token as it was found; `rule` counts in the applicable rules. */
export interface TokenCandidate { readonly rule: number; readonly token: string; readonly location: TokenLocation }

/** Tokens looked at for one request: a browser has one or two. More are an attack on our processor. */
export const CANDIDATES_MAX = 16;

/** Everything that any rule would take for a token. At most `CANDIDATES_MAX` + 1, so that the caller sees that there are too many. */
export function findTokens(rules: readonly JwtRule[], fields: readonly string[], query: string | undefined): TokenCandidate[] {
  const found: TokenCandidate[] = [];
  const add = (rule: number, token: string | undefined, location: TokenLocation): void => {
    if (token !== undefined && token !== "" && found.length <= CANDIDATES_MAX) found.push({ rule, token, location });
  };
  for (const [i, rule] of rules.entries()) {
    const { headers, params, cookies } = locationsOf(rule);
    for (const { name, prefix } of headers)
      for (const line of fieldLines(fields, name.toLowerCase())) if (line.startsWith(prefix)) add(i, line.slice(prefix.length).trim(), { kind: "header", name: name.toLowerCase() });
    for (const name of params) for (const value of parameters(query, name)) add(i, value, { kind: "query", name });
    for (const name of cookies) add(i, cookieValue(fields, name), { kind: "cookie", name });
  }
  return found;
}

/** Only a rule that names no place of its own has the usual ones. */
function locationsOf({ fromHeaders, fromParams, fromCookies }: JwtRule): { headers: JwtRule["fromHeaders"]; params: readonly string[]; cookies: readonly string[] } {
  const own = fromHeaders.length + fromParams.length + fromCookies.length > 0;
  return own ? { headers: fromHeaders, params: fromParams, cookies: fromCookies } : { headers: [{ name: "authorization", prefix: "Bearer " }], params: ["access_token"], cookies: [] };
}

function* parameters(query: string | undefined, name: string): Iterable<string> {
  for (const pair of query?.split("&") ?? []) {
    const equals = pair.indexOf("=");
    if (equals >= 0 && decodeForm(pair.slice(0, equals)) === name) yield decodeForm(pair.slice(equals + 1));
  }
}

/**
 * The fields and the query as the application will see them: headers that only we may write are taken out whoever sent them, verified
 * claims are put in, tokens that are not to be forwarded go.
 */
export function tokenFields(rules: readonly JwtRule[], token: RequestFacts["token"], fields: readonly string[], query: string | undefined): { readonly fields: readonly string[]; readonly query: string | undefined } {
  if (rules.length === 0) return { fields, query };
  const ours = new Set(rules.flatMap((r) => [...r.outputClaimToHeaders.map((o) => o.header.toLowerCase()), ...(r.outputPayloadToHeader === undefined ? [] : [r.outputPayloadToHeader.toLowerCase()])]));
  let out: readonly string[] = withoutFields(fields, (name) => ours.has(name));
  let rest = query;
  for (const verified of token?.kind === "valid" ? token.tokens : []) {
    const rule = rules[verified.rule];
    if (rule === undefined) continue;
    if (!rule.forwardOriginalToken) [out, rest] = withoutToken(out, rest, verified.location);
    if (rule.outputPayloadToHeader !== undefined) out = withField(out, rule.outputPayloadToHeader.toLowerCase(), verified.payload);
    for (const { header, claim } of rule.outputClaimToHeaders) {
      const value = claimHeader(verified, claim);
      if (value !== undefined) out = withField(out, header.toLowerCase(), value);
    }
  }
  return { fields: out, query: rest };
}

/** Strings, whole numbers and truth values; a claim named with dots may be nested. Others, and what no field may hold, are left out. */
function claimHeader({ claims }: TokenFacts, claim: string): string | undefined {
  let value: unknown = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  if (value === undefined) {
    value = claims;
    for (const name of claim.split(".")) value = typeof value === "object" && value !== null && !Array.isArray(value) && Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
  }
  if (typeof value === "boolean" || Number.isInteger(value)) return String(value);
  return typeof value === "string" && /^[\x20-\x7e]*$/.test(value) ? value : undefined;
}

function withoutToken(fields: readonly string[], query: string | undefined, { kind, name }: TokenLocation): [readonly string[], string | undefined] {
  switch (kind) {
    case "header": return [withoutFields(fields, (n) => n === name), query];
    case "query": {
      const kept = query?.split("&").filter((pair) => decodeForm(pair.split("=", 1)[0] ?? "") !== name);
      return [fields, kept === undefined || kept.length === 0 ? undefined : kept.join("&")];
    }
    case "cookie": {
      const kept = fieldLines(fields, "cookie").flatMap((line) => line.split(";")).map((p) => p.trim()).filter((p) => p !== "" && p.split("=", 1)[0]?.trim() !== name);
      return [kept.length === 0 ? withoutFields(fields, (n) => n === "cookie") : withField(fields, "cookie", kept.join("; ")), query];
    }
  }
}
