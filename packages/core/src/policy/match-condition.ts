// Owns whether one `when` condition of an L7 policy holds.
import { principalOf } from "../identity/spiffe.ts";
import { cidrContains, type Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { fieldLines, fieldValue } from "../route/fields.ts";
import { claimTexts } from "../route/match-request.ts";
import { stringMatches } from "./authorize.ts";
import type { HttpAuthzFacts, Reading, RequestAuthzFacts, TokenIdentity } from "./authorize-request.ts";
import { requestPrincipalMatches } from "./match-values.ts";
import type { StringMatch } from "./policy.ts";
import type { ConditionKey, Either, PolicyCondition } from "./request-policy.ts";

/** Keys that a TCP connection has no value for. */
export const httpOnly = (key: ConditionKey): boolean => key.kind === "header" || key.kind === "remote.ip" || key.kind.startsWith("auth.");

export function conditionHolds(condition: PolicyCondition, facts: RequestAuthzFacts, token: TokenIdentity | undefined, reading: Reading): boolean {
  const { key, strings, blocks, ports, accounts } = condition;
  const { peer } = facts;
  if (facts.http === undefined && httpOnly(key)) return true;
  switch (key.kind) {
    case "header": return headerHolds(strings, key.name, facts, reading);
    case "source.ip": return block(blocks, facts.sourceIp);
    case "remote.ip": return remoteIpHolds(blocks, facts, reading);
    case "destination.ip": return block(blocks, facts.destination.ip);
    case "source.namespace": return oneText(strings, peer?.namespace);
    case "source.principal": return oneText(strings, peer === undefined ? undefined : principalOf(peer));
    case "source.trustDomain": return oneText(strings, peer?.trustDomain);
    case "source.serviceAccount": return either(accounts, (a) => peer !== undefined && a.namespace === peer.namespace && a.serviceAccount === peer.serviceAccount);
    case "destination.port": return either(ports, (p) => p === facts.destination.port);
    case "connection.sni": return oneText(strings, facts.sni);
    case "auth.principal": return either(strings, (m) => token !== undefined && requestPrincipalMatches(m, token.issuer, token.subject));
    case "auth.audiences": return someText(strings, claimTexts(token?.claims, ["aud"]));
    case "auth.presenter": return someText(strings, claimTexts(token?.claims, ["azp"]));
    case "auth.claims": return someText(strings, claimTexts(token?.claims, key.path));
  }
}

/**
 * Istio compares the lines joined with a comma. A second line must not hide the first: one that allows wants the joined text and each line
 * to match, one that restricts is content with any of them; for `notValues` the other way round. Nearly every field has one line: then all readings are one.
 */
function headerHolds(strings: Either<StringMatch>, name: string, { http }: RequestAuthzFacts, reading: Reading): boolean {
  if (http === undefined) return strings.any.length === 0;
  const pseudo = pseudoHeader(name, http);
  const first = pseudo === undefined ? lineAfter(http.fields, name, 0) : NO_LINE;
  const value = pseudo ?? (first < 0 ? undefined : http.fields[first + 1]);
  if (first < 0 || lineAfter(http.fields, name, first + 2) < 0) return (strings.any.length === 0 || (value !== undefined && oneHolds(strings.any, value))) && !(value !== undefined && oneHolds(strings.not, value));
  const values = [...fieldLines(http.fields, name), fieldValue(http.fields, name) ?? ""];
  const strictly = reading === "allow";
  return (strings.any.length === 0 || someHolds(strings.any, values, strictly)) && !someHolds(strings.not, values, !strictly);
}

const NO_LINE = -1;

/** Index of the first line of that name from there on; `NO_LINE`: there is none. */
function lineAfter(fields: readonly string[], name: string, from: number): number {
  for (let i = from; i < fields.length; i += 2) if (fields[i] === name) return i;
  return NO_LINE;
}

function oneHolds(matches: readonly StringMatch[], value: string): boolean {
  for (let i = 0; i < matches.length; i++) {
    const match = matches[i];
    if (match !== undefined && (match.kind === "presence" || stringMatches(match, value))) return true;
  }
  return false;
}

/** One of the matches holds: for every value (`all`), or for one. */
function someHolds(matches: readonly StringMatch[], values: readonly string[], all: boolean): boolean {
  for (const match of matches) {
    let holding = 0;
    for (const value of values) if (match.kind === "presence" || stringMatches(match, value)) holding++;
    if (holding > 0 && (!all || holding === values.length)) return true;
  }
  return false;
}

/** X-Forwarded-For may be forged: what it says must suffice to allow, and what the connection says is enough to restrict. */
export function remoteIpHolds(blocks: Either<Cidr>, { remoteIp, sourceIp }: RequestAuthzFacts, reading: Reading): boolean {
  const said = (c: Cidr): boolean => cidrContains(c, remoteIp);
  const any = (c: Cidr): boolean => said(c) || cidrContains(c, sourceIp);
  const [is, isNot] = reading === "allow" ? [said, any] : [any, said];
  return (blocks.any.length === 0 || blocks.any.some(is)) && !blocks.not.some(isNot);
}

function pseudoHeader(name: string, { authority, method, path, scheme }: HttpAuthzFacts): string | undefined {
  switch (name) {
    case ":authority": case "host": return authority;
    case ":method": return method;
    case ":path": return path;
    case ":scheme": return scheme;
    default: return undefined;
  }
}

const either = <T>(e: Either<T>, holds: (item: T) => boolean): boolean => (e.any.length === 0 || e.any.some(holds)) && !e.not.some(holds);
const block = (blocks: PolicyCondition["blocks"], ip: Ip): boolean => either(blocks, (c) => cidrContains(c, ip));
const oneText = (strings: Either<StringMatch>, value: string | undefined): boolean => either(strings, (m) => value !== undefined && stringMatches(m, value));
const someText = (strings: Either<StringMatch>, values: readonly string[]): boolean => either(strings, (m) => values.some((v) => stringMatches(m, v)));
