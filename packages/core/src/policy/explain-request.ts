// Owns the words for an L7 verdict: what decided, and why each ALLOW policy that was tried did not match.
import { principalOf } from "../identity/spiffe.ts";
import { formatCidr, type Cidr } from "../net/cidr.ts";
import { formatSocketAddress } from "../net/socket-address.ts";
import { failingOperation, failingSource, keyText, needsHttp, type RequestAuthzFacts, type RequestDecider, type RequestVerdict } from "./authorize-request.ts";
import { conditionHolds } from "./match-condition.ts";
import { policyKey, type ServiceAccountMatch, type StringMatch } from "./policy.ts";
import type { Either, PathPattern, RequestPolicy, RequestRule } from "./request-policy.ts";

/** Several lines. `policies` are those that were judged. */
export function explainRequestVerdict(policies: readonly RequestPolicy[], facts: RequestAuthzFacts, verdict: RequestVerdict): string[] {
  const { peer, http } = facts;
  const who = `peer ${peer === undefined ? "has no identity" : principalOf(peer)}, source ${facts.sourceIp}, destination ${formatSocketAddress(facts.destination)}`;
  const what = http === undefined ? "TCP" : `${http.method} ${http.authority}${http.path}, ${http.tokens.length === 0 ? "no token" : `token of ${http.tokens.map((t) => `${t.issuer}/${t.subject}`).join(", ")}`}`;
  const lines = [`${who}: ${what}`];
  for (const check of verdict.checks) lines.push(`asks provider ${check.provider} because of ${describe(check.by)}`);
  if (verdict.kind === "allow") lines.push(verdict.by === "no-allow-policies" ? "allowed: no ALLOW policy applies and no DENY policy matches" : `allowed by ${describe(verdict.by)}`);
  else if (verdict.reason === "explicit") lines.push(`denied by ${describe(verdict.by)}`);
  else if (verdict.reason === "refused-policy") lines.push(`denied: ${verdict.policy} applies and could not be understood: ${verdict.why}`);
  else {
    lines.push("denied: ALLOW policies apply and none of them matches");
    for (const policy of policies) if (policy.action === "allow" && !policy.dryRun && policy.refused === undefined) lines.push(...explainMiss(policy, facts).map((l) => `  ${l}`));
  }
  for (const remark of verdict.remarks) lines.push(remark.kind === "audit" ? `recorded by ${describe(remark)}` : `dry run: ${describe(remark)} would ${remark.kind.slice("dry-run-".length)}`);
  return lines;
}

const describe = ({ policy, rule, fields }: RequestDecider): string => `${policy} rule ${rule} (${fields.join(", ") || "matches everything"})`;

function explainMiss(policy: RequestPolicy, facts: RequestAuthzFacts): string[] {
  const key = policyKey(policy);
  if (policy.rules.length === 0) return [`${key} has no rules, so it never matches`];
  return policy.rules.map((rule, i) => `${key} rule ${i} wants ${failingPart(rule, facts)}`);
}

function failingPart(rule: RequestRule, facts: RequestAuthzFacts): string {
  if (facts.http === undefined && needsHttp(rule)) return "what only HTTP can say";
  const token = facts.http?.tokens[0];
  const sources = rule.from.map((s) => ({ s, failing: failingSource(s, facts, token, "allow") }));
  if (sources.length > 0 && sources.every(({ failing }) => failing !== undefined))
    return [...new Set(sources.map(({ s, failing }) => (failing === undefined ? "" : `${failing} ${listed(s[failing as keyof typeof s])}`)))].join(" or ");
  const operations = rule.to.map((o) => ({ o, failing: failingOperation(o, facts, "allow") }));
  if (operations.length > 0 && operations.every(({ failing }) => failing !== undefined))
    return [...new Set(operations.map(({ o, failing }) => (failing === undefined ? "" : `${failing} ${listed(o[failing as keyof typeof o])}`)))].join(" or ");
  const condition = rule.when.find((c) => !conditionHolds(c, facts, token, "allow"));
  if (condition === undefined) return "nothing more";
  const { strings, blocks, ports, accounts } = condition;
  return `${keyText(condition.key)} ${listed({ any: [...strings.any, ...blocks.any, ...ports.any, ...accounts.any], not: [...strings.not, ...blocks.not, ...ports.not, ...accounts.not] })}`;
}

/** A list longer than this is cut in texts. */
const LISTED_MAX = 5;
type Item = StringMatch | PathPattern | ServiceAccountMatch | Cidr | number;

function listed({ any, not }: Either<Item>): string {
  const words = (items: readonly Item[]): string => items.slice(0, LISTED_MAX).map(word).join(", ") + (items.length > LISTED_MAX ? `, and ${items.length - LISTED_MAX} more` : "");
  return [any.length > 0 ? `[${words(any)}]` : "", not.length > 0 ? `not [${words(not)}]` : ""].filter((t) => t !== "").join(" and ");
}

function word(item: Item): string {
  if (typeof item === "number") return String(item);
  if ("ip" in item) return formatCidr(item);
  if ("serviceAccount" in item) return `${item.namespace}/${item.serviceAccount}`;
  switch (item.kind) {
    case "exact": case "template": return item.value;
    case "prefix": return `${item.value}*`;
    case "suffix": return `*${item.value}`;
    case "presence": return "*";
  }
}
