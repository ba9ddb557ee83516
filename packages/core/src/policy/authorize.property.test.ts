// The decision is held against a second evaluator that is written the slow, literal way.
import assert from "node:assert/strict";
import { principalOf, type Identity } from "../identity/spiffe.ts";
import { cidrContains, type Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { authorize, type AuthzFacts } from "./authorize.ts";
import type { Match, Policy, StringMatch } from "./policy.ts";

const POLICIES = 100_000;
const SEED = 20_240_601;

function naive(policies: readonly Policy[], f: AuthzFacts): boolean {
  const text = (m: StringMatch, v: string) =>
    m.kind === "exact" ? m.value === v : m.kind === "prefix" ? v.indexOf(m.value) === 0 : m.kind === "suffix" ? v.slice(v.length - m.value.length) === m.value && v.length >= m.value.length : v.length > 0;
  const pairs = (m: Match): [boolean[], boolean[]][] => {
    const p = (s: StringMatch) => f.peer !== undefined && text(s, principalOf(f.peer));
    const n = (s: StringMatch) => text(s, f.peer === undefined ? "" : f.peer.namespace);
    const a = (s: { namespace: string; serviceAccount: string }) => f.peer !== undefined && s.namespace === f.peer.namespace && s.serviceAccount === f.peer.serviceAccount;
    return [
      [m.principals.map(p), m.notPrincipals.map(p)], [m.namespaces.map(n), m.notNamespaces.map(n)],
      [m.serviceAccounts.map(a), m.notServiceAccounts.map(a)],
      [m.sourceIps.map((c) => cidrContains(c, f.sourceIp)), m.notSourceIps.map((c) => cidrContains(c, f.sourceIp))],
      [m.destinationIps.map((c) => cidrContains(c, f.destination.ip)), m.notDestinationIps.map((c) => cidrContains(c, f.destination.ip))],
      [m.destinationPorts.map((x) => x === f.destination.port), m.notDestinationPorts.map((x) => x === f.destination.port)],
    ];
  };
  const holds = (m: Match) => {
    const all = pairs(m);
    return all.some(([yes, no]) => yes.length + no.length > 0) && all.every(([yes, no]) => (yes.length === 0 || yes.includes(true)) && !no.includes(true));
  };
  const matches = (p: Policy) => p.rules.some((r) => r.clauses.every((c) => c.matches.length === 0 || c.matches.some(holds)));
  const real = policies.filter((p) => !p.dryRun);
  if (real.some((p) => p.action === "deny" && matches(p))) return false;
  const allows = real.filter((p) => p.action === "allow");
  return allows.length === 0 || allows.some(matches);
}

describe("authorize agrees with a naive evaluator", () => {
  it(`on ${POLICIES} generated policies`, function () {
    this.timeout(60_000);
    let state = SEED;
    const random = () => { state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0; return (state >>> 8) / 0x1000000; };
    const pick = <T>(xs: readonly T[]): T => { const x = xs[Math.floor(random() * xs.length)]; assert.ok(x !== undefined); return x; };
    const some = <T>(make: () => T, chance: number): T[] => (random() < chance ? Array.from({ length: 1 + Math.floor(random() * 2) }, make) : []);
    const names = ["a", "b", "ab", ""];
    const string = (values: readonly string[]) => (): StringMatch => (random() < 0.2 ? { kind: "presence" } : { kind: pick(["exact", "prefix", "suffix"] as const), value: pick(values) });
    const principals = ["td/ns/a/sa/b", "td/ns/b/sa/ab", "td/", "/sa/b", ""];
    const cidr = (): Cidr => pick([{ ip: "10.0.0.0" as Ip, prefix: 24 }, { ip: "10.0.0.1" as Ip, prefix: 32 }, { ip: "0.0.0.0" as Ip, prefix: 0 }, { ip: "10.0.0.2" as Ip, prefix: 31 }]);
    const account = () => ({ namespace: pick(names), serviceAccount: pick(names) });
    const port = () => pick([80, 81, 443]);
    const C = 0.13;
    const match = (): Match => ({
      namespaces: some(string(names), C), notNamespaces: some(string(names), C), principals: some(string(principals), C), notPrincipals: some(string(principals), C),
      serviceAccounts: some(account, C), notServiceAccounts: some(account, C), sourceIps: some(cidr, C), notSourceIps: some(cidr, C),
      destinationIps: some(cidr, C), notDestinationIps: some(cidr, C), destinationPorts: some(port, C), notDestinationPorts: some(port, C),
    });
    const list = <T>(make: () => T, max: number): T[] => Array.from({ length: Math.floor(random() * (max + 1)) }, make);
    const policy = (): Policy => ({
      name: "p", namespace: "n", scope: "global", action: random() < 0.5 ? "allow" : "deny", dryRun: random() < 0.1,
      rules: list(() => ({ clauses: list(() => ({ matches: list(match, 2) }), 2) }), 2),
    });
    const peer = (): Identity | undefined => (random() < 0.3 ? undefined : { trustDomain: "td", namespace: pick(["a", "b"]), serviceAccount: pick(["b", "ab"]) });
    let made = 0;
    const seen = { allow: 0, deny: 0 };
    while (made < POLICIES) {
      const policies = Array.from({ length: 1 + Math.floor(random() * 4) }, policy);
      made += policies.length;
      const facts: AuthzFacts = { peer: peer(), sourceIp: pick(["10.0.0.1", "10.0.0.3", "9.9.9.9"]) as Ip, destination: { ip: pick(["10.0.0.2", "10.0.0.1"]) as Ip, port: port() } };
      const verdict = authorize({ policies, missing: [] }, facts);
      seen[verdict.kind]++;
      if ((verdict.kind === "allow") !== naive(policies, facts)) assert.fail(`differ after ${made} policies: ${JSON.stringify({ policies, facts, verdict })}`);
    }
    assert.ok(seen.allow > 5000 && seen.deny > 5000, "the generator must reach both answers");
  });
});
