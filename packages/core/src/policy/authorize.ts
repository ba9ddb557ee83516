// Owns the L4 authorization decision: policies and the facts of one connection in, a verdict that says why out.
// Semantics: Istio ambient's, except that a policy which is named but not known denies (ADR 0005).
import { principalOf, type Identity } from "../identity/spiffe.ts";
import { cidrContains, type Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { SocketAddress } from "../net/socket-address.ts";
import type { PolicyKey } from "../workload/workload.ts";
import { policyKey, type Clause, type Match, type Policy, type Rule, type StringMatch } from "./policy.ts";

export interface AuthzFacts {
  /** The verified identity of the TLS peer; undefined for plaintext. */
  readonly peer: Identity | undefined;
  readonly sourceIp: Ip;
  /** The pod's address and the port of the application behind the tunnel. */
  readonly destination: SocketAddress;
}

/** A policy that should apply and cannot be evaluated. */
export interface MissingPolicy {
  readonly policy: PolicyKey;
  /** `unknown`: the workload names it, nobody sent it. `rejected`: it was sent and could not be understood. */
  readonly reason: "unknown" | "rejected";
}

/** Everything that applies to one destination workload. */
export interface PolicySet {
  readonly policies: readonly Policy[];
  readonly missing: readonly MissingPolicy[];
}

export type MatchField = keyof Match;

/** Which policy decided, by which rule (index) and through which fields. */
export interface Decider {
  readonly policy: PolicyKey;
  readonly rule: number;
  /** The constrained fields of the matches that held; empty for a rule without clauses. */
  readonly fields: readonly MatchField[];
}

/** What a dry-run policy would have done. */
export interface DryRunResult extends Decider { readonly action: "allow" | "deny" }

export type Verdict = { readonly dryRun: readonly DryRunResult[] } & (
  | { readonly kind: "allow"; readonly by: Decider | "no-allow-policies" }
  | { readonly kind: "deny"; readonly reason: "explicit"; readonly by: Decider }
  | { readonly kind: "deny"; readonly reason: "missing-policy"; readonly missing: MissingPolicy }
  | { readonly kind: "deny"; readonly reason: "no-allow-matched"; readonly allowPolicies: readonly PolicyKey[] }
);

export type Denial = Extract<Verdict, { kind: "deny" }>;

const NOTHING: readonly DryRunResult[] = [];

/** Deny beats missing beats allow. Without any enforced ALLOW policy everything that nobody denies is allowed. */
export function authorize(set: PolicySet, facts: AuthzFacts): Verdict {
  const { policies, missing } = set;
  if (policies.length === 0 && missing.length === 0) return { kind: "allow", by: "no-allow-policies", dryRun: NOTHING };
  const principal = facts.peer === undefined ? undefined : principalOf(facts.peer);
  const dryRun = dryRunResults(policies, facts, principal);

  for (const policy of policies) {
    if (policy.dryRun || policy.action !== "deny") continue;
    const by = deciderOf(policy, facts, principal);
    if (by !== undefined) return { kind: "deny", reason: "explicit", by, dryRun };
  }
  const [absent] = missing;
  if (absent !== undefined) return { kind: "deny", reason: "missing-policy", missing: absent, dryRun };

  const allows = policies.filter((p) => !p.dryRun && p.action === "allow");
  if (allows.length === 0) return { kind: "allow", by: "no-allow-policies", dryRun };
  for (const policy of allows) {
    const by = deciderOf(policy, facts, principal);
    if (by !== undefined) return { kind: "allow", by, dryRun };
  }
  return { kind: "deny", reason: "no-allow-matched", allowPolicies: allows.map(policyKey), dryRun };
}

function dryRunResults(policies: readonly Policy[], facts: AuthzFacts, principal: string | undefined): readonly DryRunResult[] {
  if (!policies.some((p) => p.dryRun)) return NOTHING;
  return policies.filter((p) => p.dryRun).flatMap((policy) => {
    const by = deciderOf(policy, facts, principal);
    return by === undefined ? [] : [{ ...by, action: policy.action }];
  });
}

function deciderOf(policy: Policy, facts: AuthzFacts, principal: string | undefined): Decider | undefined {
  const rule = policy.rules.findIndex((r) => ruleHolds(r, facts, principal));
  const held = policy.rules[rule];
  if (held === undefined) return undefined;
  const matches = held.clauses.flatMap((c) => c.matches.filter((m) => failingField(m, facts, principal) === undefined));
  return { policy: policyKey(policy), rule, fields: [...new Set(matches.flatMap(constrainedFields))] };
}

/** A rule without clauses holds. */
export const ruleHolds = (rule: Rule, facts: AuthzFacts, principal: string | undefined): boolean =>
  rule.clauses.every((c) => clauseHolds(c, facts, principal));

/** A clause without matches holds; otherwise one of its matches must. */
export const clauseHolds = (clause: Clause, facts: AuthzFacts, principal: string | undefined): boolean =>
  clause.matches.length === 0 || clause.matches.some((m) => failingField(m, facts, principal) === undefined);

/** The first field that keeps a match from holding; `empty` for a match without any constraint (it never holds). */
export function failingField(m: Match, facts: AuthzFacts, principal: string | undefined): MatchField | "empty" | undefined {
  const { peer, sourceIp, destination } = facts;
  const namespace = peer?.namespace ?? "";
  if (constrainedFields(m).length === 0) return "empty";

  const account = (a: { namespace: string; serviceAccount: string }) =>
    peer !== undefined && a.namespace === peer.namespace && a.serviceAccount === peer.serviceAccount;
  const named = (s: StringMatch) => principal !== undefined && stringMatches(s, principal);
  const inNamespace = (s: StringMatch) => stringMatches(s, namespace);
  const from = (c: Cidr) => cidrContains(c, sourceIp);
  const to = (c: Cidr) => cidrContains(c, destination.ip);
  const port = (p: number) => p === destination.port;

  if (!oneOf(m.principals, named)) return "principals";
  if (m.notPrincipals.some(named)) return "notPrincipals";
  if (!oneOf(m.namespaces, inNamespace)) return "namespaces";
  if (m.notNamespaces.some(inNamespace)) return "notNamespaces";
  if (!oneOf(m.serviceAccounts, account)) return "serviceAccounts";
  if (m.notServiceAccounts.some(account)) return "notServiceAccounts";
  if (!oneOf(m.sourceIps, from)) return "sourceIps";
  if (m.notSourceIps.some(from)) return "notSourceIps";
  if (!oneOf(m.destinationIps, to)) return "destinationIps";
  if (m.notDestinationIps.some(to)) return "notDestinationIps";
  if (!oneOf(m.destinationPorts, port)) return "destinationPorts";
  if (m.notDestinationPorts.some(port)) return "notDestinationPorts";
  return undefined;
}

export const MATCH_FIELDS: readonly MatchField[] = [
  "principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts",
  "sourceIps", "notSourceIps", "destinationIps", "notDestinationIps", "destinationPorts", "notDestinationPorts",
];
const constrainedFields = (m: Match): MatchField[] => MATCH_FIELDS.filter((f) => m[f].length > 0);

function oneOf<T>(list: readonly T[], holds: (item: T) => boolean): boolean {
  return list.length === 0 || list.some(holds);
}

/** Case sensitive, no patterns. */
export function stringMatches(match: StringMatch, value: string): boolean {
  switch (match.kind) {
    case "exact": return value === match.value;
    case "prefix": return value.startsWith(match.value);
    case "suffix": return value.endsWith(match.value);
    case "presence": return value !== "";
  }
}
