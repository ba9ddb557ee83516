import assert from "node:assert/strict";
import { parseIdentity, type Identity } from "../identity/spiffe.ts";
import { parseCidr, type Cidr } from "../net/cidr.ts";
import { parseIp, type Ip } from "../net/ip.ts";
import { authorize, type AuthzFacts, type PolicySet, type Verdict } from "./authorize.ts";
import { decisivePolicy, denialText, explainVerdict } from "./explain.ts";
import type { Match, Policy, Rule, StringMatch } from "./policy.ts";

const NO_MATCH: Match = {
  namespaces: [], notNamespaces: [], principals: [], notPrincipals: [], serviceAccounts: [], notServiceAccounts: [],
  sourceIps: [], notSourceIps: [], destinationIps: [], notDestinationIps: [], destinationPorts: [], notDestinationPorts: [],
};
const match = (m: Partial<Match>): Match => ({ ...NO_MATCH, ...m });
const rule = (...clauses: Partial<Match>[][]): Rule => ({ clauses: clauses.map((c) => ({ matches: c.map(match) })) });
const policy = (name: string, action: Policy["action"], rules: readonly Rule[], more: Partial<Policy> = {}): Policy =>
  ({ name, namespace: "ns", scope: "namespace", action, rules, dryRun: false, ...more });
const exact = (value: string): StringMatch => ({ kind: "exact", value });
const PRESENT: StringMatch = { kind: "presence" };
const ip = (t: string): Ip => { const r = parseIp(t); assert.ok(r.ok); return r.value; };
const cidr = (t: string): Cidr => { const r = parseCidr(t); assert.ok(r.ok); return r.value; };
const id = (t: string): Identity => { const r = parseIdentity(`spiffe://${t}`); assert.ok(r.ok); return r.value; };

const ALICE = id("cluster.local/ns/team/sa/alice");
const facts = (f: Partial<AuthzFacts> = {}): AuthzFacts =>
  ({ peer: ALICE, sourceIp: ip("10.0.0.1"), destination: { ip: ip("10.0.0.2"), port: 80 }, ...f });
const PLAINTEXT = facts({ peer: undefined });
const EVERYONE = rule([{ principals: [PRESENT] }], []);

/** `allow ns/a 0` · `deny explicit ns/a 0` · `deny no-allow-matched` · `deny missing ns/a` */
function line(v: Verdict): string {
  if (v.kind === "allow") return v.by === "no-allow-policies" ? "allow" : `allow ${v.by.policy} ${v.by.rule}`;
  if (v.reason === "explicit") return `deny explicit ${v.by.policy} ${v.by.rule}`;
  return v.reason === "missing-policy" ? `deny missing ${v.missing.policy}` : "deny no-allow-matched";
}
const decide = (policies: Policy[], f: AuthzFacts = facts(), missing: PolicySet["missing"] = []): string =>
  line(authorize({ policies, missing }, f));

describe("authorize: decision order", () => {
  const cases: [string, Policy[], string][] = [
    ["nothing applies", [], "allow"],
    ["a DENY that matches beats an ALLOW that matches", [policy("a", "allow", [EVERYONE]), policy("d", "deny", [EVERYONE])], "deny explicit ns/d 0"],
    ["a DENY that does not match leaves everything open", [policy("d", "deny", [rule([{ destinationPorts: [81] }])])], "allow"],
    ["an ALLOW that matches", [policy("a", "allow", [rule([{ destinationPorts: [81] }]), EVERYONE])], "allow ns/a 1"],
    ["only ALLOWs that do not match", [policy("a", "allow", [rule([{ destinationPorts: [81] }])])], "deny no-allow-matched"],
    ["one of two ALLOWs is enough", [policy("a", "allow", []), policy("b", "allow", [EVERYONE])], "allow ns/b 0"],
    ["a dry-run DENY denies nothing", [policy("d", "deny", [EVERYONE], { dryRun: true })], "allow"],
    ["a dry-run ALLOW does not count as an ALLOW policy", [policy("a", "allow", [], { dryRun: true })], "allow"],
    ["a dry-run ALLOW does not open", [policy("a", "allow", [EVERYONE], { dryRun: true }), policy("b", "allow", [])], "deny no-allow-matched"],
  ];
  for (const [name, policies, expected] of cases) it(name, () => assert.equal(decide(policies), expected));

  it("lists what dry-run policies would do, without doing it", () => {
    const v = authorize({ policies: [policy("d", "deny", [EVERYONE], { dryRun: true }), policy("a", "allow", [EVERYONE], { dryRun: true })], missing: [] }, facts());
    assert.equal(line(v), "allow");
    assert.deepEqual(v.dryRun.map((d) => `${d.action} ${d.policy} ${d.rule}`), ["deny ns/d 0", "allow ns/a 0"]);
  });
});

describe("authorize: degenerate policies", () => {
  const cases: [string, Policy[], AuthzFacts, string][] = [
    ["an ALLOW without rules denies everything", [policy("a", "allow", [])], facts(), "deny no-allow-matched"],
    ["a DENY without rules does nothing", [policy("d", "deny", [])], facts(), "allow"],
    ["a rule without clauses matches everything", [policy("d", "deny", [rule()])], PLAINTEXT, "deny explicit ns/d 0"],
    ["a clause without matches is true", [policy("d", "deny", [rule([])])], PLAINTEXT, "deny explicit ns/d 0"],
    ["a match without any attribute never holds", [policy("d", "deny", [rule([{}])])], facts(), "allow"],
    ["a match without any attribute does not spoil its neighbour", [policy("d", "deny", [rule([{}, { destinationPorts: [80] }])])], facts(), "deny explicit ns/d 0"],
    ["a clause of empty matches keeps the whole rule from firing", [policy("d", "deny", [rule([{ destinationPorts: [80] }], [{}])])], facts(), "allow"],
  ];
  for (const [name, policies, f, expected] of cases) it(name, () => assert.equal(decide(policies, f), expected));
});

describe("authorize: policies that are named but missing", () => {
  const missing = [{ policy: "ns/gone", reason: "unknown" as const }];
  it("deny although an ALLOW matches", () => assert.equal(decide([policy("a", "allow", [EVERYONE])], facts(), missing), "deny missing ns/gone"));
  it("deny although nothing else applies", () => assert.equal(decide([], facts(), missing), "deny missing ns/gone"));
  it("an explicit DENY is named first", () => assert.equal(decide([policy("d", "deny", [EVERYONE])], facts(), missing), "deny explicit ns/d 0"));
});

describe("authorize: structure", () => {
  const on = (m: Partial<Match>[][], f = facts()) => decide([policy("d", "deny", [rule(...m)])], f) !== "allow";
  it("ORs rules", () => assert.equal(decide([policy("d", "deny", [rule([{ destinationPorts: [1] }]), rule([{ destinationPorts: [80] }])])]), "deny explicit ns/d 1"));
  it("ANDs clauses", () => assert.equal(on([[{ destinationPorts: [80] }], [{ destinationPorts: [81] }]]), false));
  it("ORs matches of a clause", () => assert.equal(on([[{ destinationPorts: [81] }, { destinationPorts: [80] }]]), true));
  it("ANDs fields of a match", () => assert.equal(on([[{ destinationPorts: [80], namespaces: [exact("other")] }]]), false));
  it("ANDs a field with its not-form", () => assert.equal(on([[{ destinationPorts: [80, 81], notDestinationPorts: [80] }]]), false));
});

describe("authorize: match kinds", () => {
  const cases: [string, Partial<Match>, AuthzFacts, boolean][] = [
    ["principals exact, without the scheme", { principals: [exact("cluster.local/ns/team/sa/alice")] }, facts(), true],
    ["principals with the scheme never match", { principals: [exact("spiffe://cluster.local/ns/team/sa/alice")] }, facts(), false],
    ["principals are case sensitive", { principals: [exact("cluster.local/ns/team/sa/Alice")] }, facts(), false],
    ["principals prefix", { principals: [{ kind: "prefix", value: "cluster.local/ns/team/" }] }, facts(), true],
    ["principals suffix", { principals: [{ kind: "suffix", value: "/sa/alice" }] }, facts(), true],
    ["principals presence", { principals: [PRESENT] }, facts(), true],
    ["principals presence, plaintext", { principals: [PRESENT] }, PLAINTEXT, false],
    ["principals empty prefix, plaintext", { principals: [{ kind: "prefix", value: "" }] }, PLAINTEXT, false],
    ["not principals presence matches plaintext", { notPrincipals: [PRESENT] }, PLAINTEXT, true],
    ["not principals presence, identity", { notPrincipals: [PRESENT] }, facts(), false],
    ["not principals exact, other", { notPrincipals: [exact("cluster.local/ns/team/sa/bob")] }, facts(), true],
    ["namespaces exact", { namespaces: [exact("team")] }, facts(), true],
    ["namespaces presence, plaintext", { namespaces: [PRESENT] }, PLAINTEXT, false],
    ["namespaces exact empty matches plaintext", { namespaces: [exact("")] }, PLAINTEXT, true],
    ["not namespaces, plaintext", { notNamespaces: [exact("team")] }, PLAINTEXT, true],
    ["not namespaces, same", { notNamespaces: [exact("team")] }, facts(), false],
    ["service account", { serviceAccounts: [{ namespace: "team", serviceAccount: "alice" }] }, facts(), true],
    ["service account in another trust domain", { serviceAccounts: [{ namespace: "team", serviceAccount: "alice" }] }, facts({ peer: id("other/ns/team/sa/alice") }), true],
    ["service account of another namespace", { serviceAccounts: [{ namespace: "x", serviceAccount: "alice" }] }, facts(), false],
    ["service account, plaintext", { serviceAccounts: [{ namespace: "", serviceAccount: "" }] }, PLAINTEXT, false],
    ["not service account, plaintext", { notServiceAccounts: [{ namespace: "team", serviceAccount: "alice" }] }, PLAINTEXT, true],
    ["source ips", { sourceIps: [cidr("10.0.0.0/24")] }, facts(), true],
    ["source ips, other block", { sourceIps: [cidr("10.0.1.0/24")] }, facts(), false],
    ["source ips, other family", { sourceIps: [cidr("::/0")] }, facts(), false],
    ["not source ips", { notSourceIps: [cidr("10.0.0.1")] }, facts(), false],
    ["destination ips", { destinationIps: [cidr("10.0.0.2/32")] }, facts(), true],
    ["not destination ips", { notDestinationIps: [cidr("10.0.0.0/8")] }, facts(), false],
    ["destination ports", { destinationPorts: [443, 80] }, facts(), true],
    ["not destination ports", { notDestinationPorts: [80] }, facts(), false],
    ["not destination ports, other", { notDestinationPorts: [81] }, facts(), true],
  ];
  for (const [name, m, f, holds] of cases)
    it(`${name} → ${holds ? "matches" : "does not match"}`, () => assert.equal(decide([policy("d", "deny", [rule([m])])], f) !== "allow", holds));
});

describe("explainVerdict", () => {
  const explain = (policies: Policy[], f = facts(), missing: PolicySet["missing"] = []) => {
    const set = { policies, missing };
    const v = authorize(set, f);
    return { v, text: explainVerdict(set, f, v).join("\n") };
  };
  it("names policy, rule and field of a denial", () => {
    const { v, text } = explain([policy("d", "deny", [rule([{ destinationPorts: [1] }]), rule([{ destinationPorts: [80], namespaces: [exact("team")] }])])]);
    assert.match(text, /denied by ns\/d rule 1 \(namespaces \[team\], destinationPorts \[80\]\)/);
    assert.equal(decisivePolicy(v), "ns/d");
    assert.equal(v.kind === "deny" && denialText(v), "explicitly denied by: ns/d");
  });
  it("says what each ALLOW policy would have wanted", () => {
    const { v, text } = explain([policy("a", "allow", [rule([{ destinationPorts: [80] }], [{ principals: [exact("x/ns/y/sa/z")] }])]), policy("b", "allow", [])]);
    assert.match(text, /ns\/a rule 0 clause 1 wants principals \[x\/ns\/y\/sa\/z\]/);
    assert.match(text, /ns\/b has no rules/);
    assert.equal(v.kind === "deny" && denialText(v), "allow policies exist, but none allowed");
  });
  it("names a missing policy", () => {
    const { v } = explain([], facts(), [{ policy: "ns/gone", reason: "unknown" }]);
    assert.equal(v.kind === "deny" && denialText(v), "policy ns/gone applies to this workload but is not known");
    assert.equal(decisivePolicy(v), "ns/gone");
  });
});
