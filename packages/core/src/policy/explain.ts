// Owns the words for a verdict: the short text of logs (Istio's own, which users search for) and the long one of `ambit why`.
import { principalOf } from "../identity/spiffe.ts";
import { formatCidr, type Cidr } from "../net/cidr.ts";
import { formatSocketAddress } from "../net/socket-address.ts";
import { clauseHolds, failingField, type AuthzFacts, type Decider, type Denial, type MatchField, type PolicySet, type Verdict } from "./authorize.ts";
import { policyKey, type Match, type Policy, type ServiceAccountMatch, type StringMatch } from "./policy.ts";

/** One line; the first part of the text of an explicit and of an implicit denial is Istio's. */
export function denialText(verdict: Denial): string {
  switch (verdict.reason) {
    case "explicit": return `explicitly denied by: ${verdict.by.policy}`;
    case "no-allow-matched": return "allow policies exist, but none allowed";
    case "missing-policy":
      return verdict.missing.reason === "unknown"
        ? `policy ${verdict.missing.policy} applies to this workload but is not known`
        : `policy ${verdict.missing.policy} applies to this workload but could not be understood`;
  }
}

/** The policy that decided, if one did. */
export function decisivePolicy(verdict: Verdict): string | undefined {
  if (verdict.kind === "allow") return verdict.by === "no-allow-policies" ? undefined : verdict.by.policy;
  if (verdict.reason === "explicit") return verdict.by.policy;
  return verdict.reason === "missing-policy" ? verdict.missing.policy : undefined;
}

/** Several lines: what was decided, by which rule and field, and why each other ALLOW policy did not match. */
export function explainVerdict(set: PolicySet, facts: AuthzFacts, verdict: Verdict): string[] {
  const lines = [`peer ${facts.peer === undefined ? "has no identity (plaintext)" : principalOf(facts.peer)}, source ${facts.sourceIp}, destination ${formatSocketAddress(facts.destination)}`];
  if (verdict.kind === "allow")
    lines.push(verdict.by === "no-allow-policies" ? "allowed: no ALLOW policy applies and no DENY policy matches" : `allowed by ${describeDecider(set, verdict.by)}`);
  else if (verdict.reason === "explicit") lines.push(`denied by ${describeDecider(set, verdict.by)}`);
  else if (verdict.reason === "missing-policy") lines.push(`denied: ${denialText(verdict)}`);
  else {
    lines.push("denied: ALLOW policies apply and none of them matches");
    for (const policy of set.policies) if (policy.action === "allow" && !policy.dryRun) lines.push(...explainMiss(policy, facts).map((l) => `  ${l}`));
  }
  for (const d of verdict.dryRun) lines.push(`dry run: ${d.policy} rule ${d.rule} would ${d.action === "deny" ? "deny" : "allow"}`);
  return lines;
}

/** Why a policy does not match: one line a rule, naming the clause, the field, and what it wants. */
export function explainMiss(policy: Policy, facts: AuthzFacts): string[] {
  const key = policyKey(policy);
  if (policy.rules.length === 0) return [`${key} has no rules, so it never matches`];
  const principal = facts.peer === undefined ? undefined : principalOf(facts.peer);
  return policy.rules.map((rule, i) => {
    const at = rule.clauses.findIndex((c) => !clauseHolds(c, facts, principal));
    const wants = (rule.clauses[at]?.matches ?? []).map((m) => {
      const field = failingField(m, facts, principal);
      return field === "empty" || field === undefined ? "no constraint that L4 can check" : describeField(m, field);
    });
    return `${key} rule ${i} clause ${at} wants ${[...new Set(wants)].join(" or ")}`;
  });
}

function describeDecider(set: PolicySet, by: Decider): string {
  const policy = set.policies.find((p) => policyKey(p) === by.policy);
  const rule = policy?.rules[by.rule];
  if (rule === undefined || by.fields.length === 0) return `${by.policy} rule ${by.rule} (matches everything)`;
  const words = by.fields.map((f) => {
    const m = rule.clauses.flatMap((c) => c.matches).find((x) => x[f].length > 0);
    return m === undefined ? f : describeField(m, f);
  });
  return `${by.policy} rule ${by.rule} (${words.join(", ")})`;
}

/** A list longer than this is cut in texts. */
const LISTED_MAX = 5;

function describeField(m: Match, field: MatchField): string {
  const items = (m[field] as readonly (StringMatch | ServiceAccountMatch | Cidr | number)[]).map(describeItem);
  const shown = items.slice(0, LISTED_MAX).join(", ") + (items.length > LISTED_MAX ? `, and ${items.length - LISTED_MAX} more` : "");
  return `${field} [${shown}]`;
}

function describeItem(item: StringMatch | ServiceAccountMatch | Cidr | number): string {
  if (typeof item === "number") return String(item);
  if ("ip" in item) return formatCidr(item);
  if ("serviceAccount" in item) return `${item.namespace}/${item.serviceAccount}`;
  switch (item.kind) {
    case "exact": return item.value;
    case "prefix": return `${item.value}*`;
    case "suffix": return `*${item.value}`;
    case "presence": return "*";
  }
}
