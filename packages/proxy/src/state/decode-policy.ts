// Owns istio.security.Authorization → Policy. A policy is understood completely or refused: also a field that this build does
// not know, or an extension, would narrow or widen it if it were skipped.
import type { Match, Policy, Problem, Result, StringMatch } from "@ambit/core";
import { err, ok } from "@ambit/core";
import type { security } from "@ambit/proto";
import { cidr, compact, enumWord, port, Problems, required } from "./decode.ts";

const SCOPE = ["global", "namespace", "workload"] as const;
const ACTION = ["allow", "deny"] as const;

export function decodePolicy(a: security.Authorization): Result<Policy, readonly Problem[]> {
  const p = new Problems();
  known(a, "", p);
  if (a.extensions.length > 0) p.add("extensions", "are not supported");
  const value: Policy = {
    name: required(a.name, "name", p),
    namespace: a.namespace,
    scope: enumWord(SCOPE, a.scope, "scope", p) ?? "namespace",
    action: enumWord(ACTION, a.action, "action", p) ?? "deny",
    dryRun: a.dryRun,
    rules: a.rules.map((rule, i) => {
      known(rule, `rules[${i}]`, p);
      return { clauses: rule.clauses.map((clause, j) => {
        known(clause, `rules[${i}].clauses[${j}]`, p);
        return { matches: clause.matches.map((m, k) => decodeMatch(m, `rules[${i}].clauses[${j}].matches[${k}]`, p)) };
      }) };
    }),
  };
  return p.list.length === 0 ? ok(value) : err(p.list);
}

function decodeMatch(m: security.Match, at: string, p: Problems): Match {
  known(m, at, p);
  if (m.extensions.length > 0) p.add(`${at}.extensions`, "are not supported");
  const strings = (list: readonly security.StringMatch[], field: string) =>
    compact(list.map((s, i) => decodeString(s, `${at}.${field}[${i}]`, p)));
  const blocks = (list: readonly security.Address[], field: string) =>
    compact(list.map((a, i) => cidr(a.address, a.length, `${at}.${field}[${i}]`, p)));
  const ports = (list: readonly number[], field: string) => list.map((n, i) => port(n, `${at}.${field}[${i}]`, p));
  const accounts = (list: readonly security.ServiceAccountMatch[], field: string) => list.map((a, i) => {
    known(a, `${at}.${field}[${i}]`, p);
    return { namespace: a.namespace, serviceAccount: a.serviceAccount };
  });
  return {
    namespaces: strings(m.namespaces, "namespaces"),
    notNamespaces: strings(m.notNamespaces, "not_namespaces"),
    principals: strings(m.principals, "principals"),
    notPrincipals: strings(m.notPrincipals, "not_principals"),
    serviceAccounts: accounts(m.serviceAccounts, "service_accounts"),
    notServiceAccounts: accounts(m.notServiceAccounts, "not_service_accounts"),
    sourceIps: blocks(m.sourceIps, "source_ips"),
    notSourceIps: blocks(m.notSourceIps, "not_source_ips"),
    destinationIps: blocks(m.destinationIps, "destination_ips"),
    notDestinationIps: blocks(m.notDestinationIps, "not_destination_ips"),
    destinationPorts: ports(m.destinationPorts, "destination_ports"),
    notDestinationPorts: ports(m.notDestinationPorts, "not_destination_ports"),
  };
}

function decodeString(s: security.StringMatch, at: string, p: Problems): StringMatch | undefined {
  known(s, at, p);
  switch (s.matchType.case) {
    case "exact": case "prefix": case "suffix": return { kind: s.matchType.case, value: s.matchType.value };
    case "presence": return { kind: "presence" };
    case undefined: return p.add(at, "says nothing to compare with");
  }
}

/** protobuf keeps what it does not know; in a policy that is a reason to refuse. */
function known(message: { readonly $unknown?: readonly { readonly no: number }[] | undefined }, at: string, p: Problems): void {
  for (const field of message.$unknown ?? []) p.add(at, `has the unknown field number ${field.no}`);
}
