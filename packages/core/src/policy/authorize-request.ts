// Owns the L7 authorization decision: policies and what is known of a request (or of a TCP connection) in, a verdict that says why out.
// Semantics: Istio's AuthorizationPolicy at a waypoint; where a value leaves room, an ALLOW reads it narrowly and everything else widely (ADR 0031).
import { principalOf, type Identity } from "../identity/spiffe.ts";
import { cidrContains } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { SocketAddress } from "../net/socket-address.ts";
import { stringMatches } from "./authorize.ts";
import { compiledOf, type CompiledPolicy, type CompiledRule, type Decided, type Parts } from "./compiled-policies.ts";
import { conditionHolds, httpOnly, remoteIpHolds } from "./match-condition.ts";
import { hostMatches, hostMatchesLoosely, pathPatternMatches, requestPrincipalMatches } from "./match-values.ts";
import { policyKey, type ServiceAccountMatch, type StringMatch } from "./policy.ts";
import type { Either, PathPattern, PolicyOperation, PolicySource, RequestPolicy, RequestRule } from "./request-policy.ts";
import type { PolicyKey } from "../workload/workload.ts";

/** A verified token, as far as policies ask. */
export interface TokenIdentity { readonly issuer: string; readonly subject: string; readonly claims: Readonly<Record<string, unknown>> }

export interface HttpAuthzFacts {
  readonly method: string;
  /** As sent, port included. */
  readonly authority: string;
  /** Normalised, without query. */
  readonly path: string;
  /** Names (lower case) and values in turn. */
  readonly fields: readonly string[];
  readonly scheme: string;
  /** The first speaks for the request; a rule that denies looks at each. */
  readonly tokens: readonly TokenIdentity[];
}

export interface RequestAuthzFacts {
  /** Verified by the tunnel; undefined: plaintext. */
  readonly peer: Identity | undefined;
  /** The client's own address. */
  readonly sourceIp: Ip;
  /** What X-Forwarded-For says of the client (anybody may have written it); the source itself where it says nothing. */
  readonly remoteIp: Ip;
  /** What was dialled: the VIP (or the pod) and the service port. */
  readonly destination: SocketAddress;
  readonly sni: string | undefined;
  /** undefined: TCP. */
  readonly http: HttpAuthzFacts | undefined;
}

export type RequestField =
  | keyof PolicySource | keyof PolicyOperation
  /** `when` and the key. */
  | `when ${string}`;

/** Which policy decided, by which rule (index) and through which fields. */
export interface RequestDecider { readonly policy: PolicyKey; readonly rule: number; readonly fields: readonly RequestField[] }
export interface RequestRemark extends RequestDecider { readonly kind: "audit" | "dry-run-allow" | "dry-run-deny" | "dry-run-custom" }
/** A provider has to be asked. */
export interface RequestCheck { readonly provider: string; readonly by: RequestDecider }

export type RequestVerdict = { readonly remarks: readonly RequestRemark[] } & (
  /** Every provider in `checks` must also allow. */
  | { readonly kind: "allow"; readonly by: RequestDecider | "no-allow-policies"; readonly checks: readonly RequestCheck[] }
  | { readonly kind: "deny"; readonly reason: "explicit"; readonly by: RequestDecider; readonly checks: readonly RequestCheck[] }
  | { readonly kind: "deny"; readonly reason: "refused-policy"; readonly policy: PolicyKey; readonly why: string; readonly checks: readonly RequestCheck[] }
  | { readonly kind: "deny"; readonly reason: "no-allow-matched"; readonly allowPolicies: readonly PolicyKey[]; readonly checks: readonly RequestCheck[] }
);
export type RequestDenial = Extract<RequestVerdict, { kind: "deny" }>;

/**
 * How a rule reads what leaves room. `allow`: it holds only if every reading does; TCP drops rules that need HTTP. `restrict` (DENY, AUDIT,
 * CUSTOM): one reading is enough; TCP drops the HTTP part of a rule and the rest holds.
 */
export type Reading = "allow" | "restrict";

/** AUDIT, CUSTOM, DENY, refused, ALLOW. The caller asks the providers in `checks` before it acts on the rest: they come first. */
export function authorizeRequest(policies: readonly RequestPolicy[], facts: RequestAuthzFacts): RequestVerdict {
  if (policies.length === 0) return UNOPPOSED;
  const { always, refused, allowing } = compiledOf(policies);
  let remarks: RequestRemark[] | undefined;
  let checks: RequestCheck[] | undefined;
  let denied: RequestDecider | undefined;
  for (let i = 0; i < always.length; i++) {
    const one = always[i];
    if (one === undefined) continue;
    const { action, dryRun, provider } = one.policy;
    const by = deciderOf(one, facts, action === "allow" ? "allow" : "restrict")?.by;
    if (by === undefined) continue;
    if (action === "audit") (remarks ??= []).push({ kind: "audit", ...by });
    else if (dryRun) (remarks ??= []).push({ kind: `dry-run-${action}`, ...by });
    else if (action === "custom") (checks ??= []).push({ provider: provider ?? "", by });
    else denied ??= by;
  }
  if (denied !== undefined) return { kind: "deny", reason: "explicit", by: denied, ...saidBesides(remarks, checks) };
  if (refused !== undefined) return { kind: "deny", reason: "refused-policy", policy: policyKey(refused), why: refused.refused ?? "", ...saidBesides(remarks, checks) };
  const plain = remarks === undefined && checks === undefined;
  if (allowing.length === 0) return plain ? UNOPPOSED : { kind: "allow", by: "no-allow-policies", ...saidBesides(remarks, checks) };
  for (let i = 0; i < allowing.length; i++) {
    const one = allowing[i];
    const decided = one && deciderOf(one, facts, "allow");
    if (decided !== undefined) return plain ? decided.allowed : { ...decided.allowed, ...saidBesides(remarks, checks) };
  }
  return { kind: "deny", reason: "no-allow-matched", allowPolicies: allowing.map((p) => p.key), ...saidBesides(remarks, checks) };
}

const saidBesides = (remarks: readonly RequestRemark[] = NO_REMARKS, checks: readonly RequestCheck[] = NO_CHECKS): Pick<RequestVerdict, "remarks" | "checks"> => ({ remarks, checks });

const NO_REMARKS: readonly RequestRemark[] = [];
const NO_CHECKS: readonly RequestCheck[] = [];
const UNOPPOSED: RequestVerdict = { kind: "allow", by: "no-allow-policies", remarks: NO_REMARKS, checks: NO_CHECKS };

function deciderOf({ key, rules }: CompiledPolicy, facts: RequestAuthzFacts, reading: Reading): Decided | undefined {
  for (let i = 0; i < rules.length; i++) {
    const compiled = rules[i];
    if (compiled === undefined || !compiled.mayHold(facts.http)) continue;
    if (reading === "allow" && facts.http === undefined && needsHttp(compiled.rule)) continue;
    const parts = ruleParts(compiled.rule, facts, reading);
    if (parts !== undefined) return decidedBy(key, compiled, parts);
  }
  return undefined;
}

/** The parts by which a rule holds; undefined: it does not. A rule that denies is tried with each token of the request by itself. */
function ruleParts(rule: RequestRule, facts: RequestAuthzFacts, reading: Reading): Parts | undefined {
  const tokens = facts.http?.tokens;
  if (reading === "allow" || tokens === undefined || tokens.length < 2) return partsWith(rule, facts, tokens?.[0], reading);
  for (const token of tokens) {
    const parts = partsWith(rule, facts, token, reading);
    if (parts !== undefined) return parts;
  }
  return undefined;
}

/** Nothing written: anybody, anything. Otherwise one of the parts must hold. What is told apart with the least work, the operation, is looked at first. */
function partsWith(rule: RequestRule, facts: RequestAuthzFacts, token: TokenIdentity | undefined, reading: Reading): Parts | undefined {
  let operation: PolicyOperation | undefined;
  for (let i = 0; i < rule.to.length && operation === undefined; i++) {
    const o = rule.to[i];
    if (o !== undefined && failingOperation(o, facts, reading) === undefined) operation = o;
  }
  if (operation === undefined && rule.to.length > 0) return undefined;
  for (let i = 0; i < rule.when.length; i++) {
    const c = rule.when[i];
    if (c !== undefined && !conditionHolds(c, facts, token, reading)) return undefined;
  }
  let source: PolicySource | undefined;
  for (let i = 0; i < rule.from.length && source === undefined; i++) {
    const s = rule.from[i];
    if (s !== undefined && failingSource(s, facts, token, reading) === undefined) source = s;
  }
  if (source === undefined && rule.from.length > 0) return undefined;
  return source === undefined && operation === undefined ? NO_PARTS : { source, operation };
}

const NO_PARTS: Parts = { source: undefined, operation: undefined };

function decidedBy(policy: PolicyKey, { rule, index, decided: known }: CompiledRule, { source, operation }: Parts): Decided {
  for (const k of known) if (k.source === source && k.operation === operation) return k;
  const fields = [...(source === undefined ? [] : sourceFields(source)), ...(operation === undefined ? [] : operationFields(operation)), ...rule.when.map((c): RequestField => `when ${keyText(c.key)}`)];
  const by: RequestDecider = { policy, rule: index, fields };
  const decided: Decided = { source, operation, by, allowed: { kind: "allow", by, remarks: NO_REMARKS, checks: NO_CHECKS } };
  if (known.length >= DECIDED_MAX) known.length = 0;
  known.push(decided);
  return decided;
}
/** Kept of one rule at most: a rule of a hundred sources and a hundred operations has ten thousand ways to hold. */
const DECIDED_MAX = 64;

/** The first field of a source that does not hold. */
export function failingSource(s: PolicySource, facts: RequestAuthzFacts, token: TokenIdentity | undefined, reading: Reading): RequestField | undefined {
  // Every rule of every request comes here, and most lists are empty: nothing is allocated for those.
  const { peer, http } = facts;
  if (given(s.principals) && !either(s.principals, isText, peer && principalText(peer))) return "principals";
  if (!either(s.namespaces, isText, peer?.namespace)) return "namespaces";
  if (!either(s.serviceAccounts, isAccount, peer)) return "serviceAccounts";
  if (!either(s.trustDomains, isText, peer?.trustDomain)) return "trustDomains";
  if (!either(s.ipBlocks, cidrContains, facts.sourceIp)) return "ipBlocks";
  // TCP cannot say the rest: a rule that allows and needs it was left out before, from any other it is dropped.
  if (http === undefined) return undefined;
  if (given(s.remoteIpBlocks) && !remoteIpHolds(s.remoteIpBlocks, facts, reading)) return "remoteIpBlocks";
  if (!either(s.requestPrincipals, isRequestedBy, token)) return "requestPrincipals";
  return undefined;
}

/** The first field of an operation that does not hold. */
export function failingOperation(o: PolicyOperation, facts: RequestAuthzFacts, reading: Reading): RequestField | undefined {
  if (!either(o.ports, isPort, facts.destination.port)) return "ports";
  const { http } = facts;
  if (http === undefined) return undefined;
  const loose = reading === "restrict";
  // A `not` is a demand of its own: what it names loosely keeps an ALLOW from holding, what it names strictly keeps a DENY.
  if (!demands(o.hosts, loose ? hostMatchesLoosely : hostMatches, loose ? hostMatches : hostMatchesLoosely, http.authority)) return "hosts";
  if (!either(o.methods, stringMatches, http.method)) return "methods";
  if (!demands(o.paths, loose ? pathLoosely : pathStrictly, loose ? pathStrictly : pathLoosely, http.path)) return "paths";
  return undefined;
}

/** A connection's peer is one object, asked about by every rule of every request. */
const principalTexts = new WeakMap<Identity, string>();
function principalText(peer: Identity): string {
  let text = principalTexts.get(peer);
  if (text === undefined) principalTexts.set(peer, (text = principalOf(peer)));
  return text;
}

type Holds<T, V> = (item: T, value: V) => boolean;
const isText = (m: StringMatch, text: string | undefined): boolean => text !== undefined && stringMatches(m, text);
const isAccount = (a: ServiceAccountMatch, peer: Identity | undefined): boolean => peer !== undefined && a.namespace === peer.namespace && a.serviceAccount === peer.serviceAccount;
const isRequestedBy = (m: StringMatch, token: TokenIdentity | undefined): boolean => token !== undefined && requestPrincipalMatches(m, token.issuer, token.subject);
const isPort = (wanted: number, port: number): boolean => wanted === port;
const pathLoosely: Holds<PathPattern, string> = (p, path) => pathPatternMatches(p, path, true);
const pathStrictly: Holds<PathPattern, string> = (p, path) => pathPatternMatches(p, path, false);

const given = (e: Either<unknown>): boolean => e.any.length > 0 || e.not.length > 0;
const either = <T, V>(e: Either<T>, holds: Holds<T, V>, value: V): boolean => demands(e, holds, holds, value);
const demands = <T, V>(e: Either<T>, is: Holds<T, V>, isNot: Holds<T, V>, value: V): boolean => (e.any.length === 0 || one(e.any, is, value)) && !one(e.not, isNot, value);
function one<T, V>(list: readonly T[], holds: Holds<T, V>, value: V): boolean {
  // By index: an iterator of its own for each list of each rule is garbage.
  for (let i = 0; i < list.length; i++) if (holds(list[i] as T, value)) return true;
  return false;
}

const sourceFields = (s: PolicySource): RequestField[] => SOURCE_FIELDS.filter((f) => given(s[f]));
const operationFields = (o: PolicyOperation): RequestField[] => OPERATION_FIELDS.filter((f) => given(o[f]));
export const SOURCE_FIELDS = ["principals", "namespaces", "serviceAccounts", "trustDomains", "ipBlocks", "remoteIpBlocks", "requestPrincipals"] as const satisfies readonly (keyof PolicySource)[];
export const OPERATION_FIELDS = ["hosts", "methods", "paths", "ports"] as const satisfies readonly (keyof PolicyOperation)[];

/** A condition's key as the user wrote it. */
export function keyText(key: RequestRule["when"][number]["key"]): string {
  switch (key.kind) {
    case "header": return `request.headers[${key.name}]`;
    case "auth.claims": return `request.auth.claims${key.path.map((p) => `[${p}]`).join("")}`;
    case "auth.principal": case "auth.audiences": case "auth.presenter": return `request.${key.kind}`;
    default: return key.kind;
  }
}

/** Whether anything of a rule can only be judged over HTTP: on TCP such a rule never allows. */
export const needsHttp = (rule: RequestRule): boolean =>
  rule.from.some((s) => given(s.remoteIpBlocks) || given(s.requestPrincipals)) || rule.to.some((o) => given(o.hosts) || given(o.methods) || given(o.paths)) || rule.when.some((c) => httpOnly(c.key));
