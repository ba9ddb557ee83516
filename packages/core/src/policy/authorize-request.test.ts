// Rules are those of the reference on L7 authorization: 1.1 order, 1.2 empty values, 2 matching, 2.1 TCP, 6 dry run.
import assert from "node:assert/strict";
import type { Ip } from "../net/ip.ts";
import { authorizeRequest, type RequestAuthzFacts, type RequestVerdict } from "./authorize-request.ts";
import { explainRequestVerdict } from "./explain-request.ts";
import { checkTemplate, templateMatches } from "./match-values.ts";
import type { RequestPolicy, RequestRule } from "./request-policy.ts";
import { facts, from, http, policy, rule, text, to, token, when } from "./request-policy.fixture.ts";

const verdict = (policies: readonly RequestPolicy[], more: Partial<RequestAuthzFacts> = {}): RequestVerdict => authorizeRequest(policies, facts(more));
/** The verdict in one line. */
function line(v: RequestVerdict): string {
  const checks = v.checks.map((c) => ` ask ${c.provider}`).join("");
  if (v.kind === "allow") return `allow by ${v.by === "no-allow-policies" ? v.by : v.by.policy}${checks}`;
  return `deny ${v.reason}${v.reason === "explicit" ? ` by ${v.by.policy} rule ${v.by.rule}` : ""}${checks}`;
}
/** Whether the one rule holds, read as an ALLOW reads it, and as a DENY does. */
const holds = (r: RequestRule, f: RequestAuthzFacts): [allow: boolean, restrict: boolean] =>
  [authorizeRequest([policy("allow", [r])], f).kind === "allow", authorizeRequest([policy("deny", [r])], f).kind === "deny"];

describe("1.1 order", () => {
  const ALL = [rule()];
  const NEVER: RequestRule[] = [rule({ to: [to({ ports: ["1"] })] })];
  const cases: [string, RequestPolicy[], string][] = [
    ["nothing", [], "allow by no-allow-policies"], ["DENY before ALLOW", [policy("allow", ALL), policy("deny", ALL)], "deny explicit by ns/deny rule 0"], ["DENY that does not match", [policy("allow", ALL), policy("deny", NEVER)], "allow by ns/allow"],
    ["only DENY", [policy("deny", NEVER)], "allow by no-allow-policies"], ["ALLOW that does not match", [policy("allow", NEVER)], "deny no-allow-matched"], ["any of several ALLOW", [policy("allow", NEVER), policy("allow", ALL, { name: "b" })], "allow by ns/b"],
    ["CUSTOM is asked first, whatever follows", [policy("custom", ALL), policy("deny", ALL)], "deny explicit by ns/deny rule 0 ask opa"], ["CUSTOM that does not match is not asked", [policy("custom", NEVER)], "allow by no-allow-policies"],
    ["AUDIT changes nothing", [policy("audit", ALL)], "allow by no-allow-policies"], ["a refused policy denies (ADR 0005)", [policy("allow", ALL), policy("allow", [], { refused: "x" })], "deny refused-policy"],
    ["a refused DENY too", [policy("deny", [], { refused: "x" })], "deny refused-policy"], ["a DENY is named before it", [policy("deny", ALL), policy("allow", [], { refused: "x" })], "deny explicit by ns/deny rule 0"],
    ["a refused dry run does not", [policy("deny", [], { refused: "x", dryRun: true })], "allow by no-allow-policies"],
  ];
  for (const [name, policies, expected] of cases) it(name, () => assert.equal(line(verdict(policies)), expected));
});

describe("1.2 empty values", () => {
  const cases: [string, RequestPolicy, string][] = [
    ["ALLOW without rules: nothing", policy("allow", []), "deny no-allow-matched"], ["ALLOW {}: all", policy("allow", [rule()]), "allow by ns/allow"], ["DENY {}: all", policy("deny", [rule()]), "deny explicit by ns/deny rule 0"],
    ["DENY without rules: nothing", policy("deny", []), "allow by no-allow-policies"],
  ];
  for (const [name, p, expected] of cases) it(name, () => assert.equal(line(verdict([p])), expected));
});

describe("6 dry run and AUDIT are remarked", () => {
  const cases: [string, RequestPolicy, string, string[]][] = [
    ["dry DENY", policy("deny", [rule()], { dryRun: true }), "allow by no-allow-policies", ["dry-run-deny ns/deny"]], ["only a dry ALLOW: no default deny", policy("allow", [], { dryRun: true }), "allow by no-allow-policies", []],
    ["dry ALLOW", policy("allow", [rule()], { dryRun: true }), "allow by no-allow-policies", ["dry-run-allow ns/allow"]], ["dry CUSTOM does not call out", policy("custom", [rule()], { dryRun: true }), "allow by no-allow-policies", ["dry-run-custom ns/custom"]],
    ["AUDIT", policy("audit", [rule()]), "allow by no-allow-policies", ["audit ns/audit"]], ["AUDIT without rules", policy("audit", []), "allow by no-allow-policies", []],
  ];
  for (const [name, p, expected, remarks] of cases)
    it(name, () => {
      const v = verdict([p]);
      assert.equal(line(v), expected);
      assert.deepEqual(v.remarks.map((r) => `${r.kind} ${r.policy}`), remarks);
    });
});

const BOTH: [boolean, boolean] = [true, true];
const NEITHER: [boolean, boolean] = [false, false];

describe("2 sources", () => {
  const cases: [string, RequestRule, Partial<RequestAuthzFacts>, [boolean, boolean]][] = [
    ["principals exact", rule({ from: [from({ principals: ["cluster.local/ns/team/sa/client"] })] }), {}, BOTH], ["principals prefix", rule({ from: [from({ principals: ["cluster.local/ns/te*"] })] }), {}, BOTH], ["principals suffix", rule({ from: [from({ principals: ["*/sa/other"] })] }), {}, NEITHER],
    ["principals *", rule({ from: [from({ principals: ["*"] })] }), {}, BOTH], ["principals * of plaintext", rule({ from: [from({ principals: ["*"] })] }), { peer: undefined }, NEITHER], ["notPrincipals * of plaintext (DenyPlaintext)", rule({ from: [from({ principals: ["!*"] })] }), { peer: undefined }, BOTH],
    ["namespaces", rule({ from: [from({ namespaces: ["team"] })] }), {}, BOTH], ["namespaces by prefix", rule({ from: [from({ namespaces: ["t*"] })] }), {}, BOTH], ["notNamespaces", rule({ from: [from({ namespaces: ["!team"] })] }), {}, NEITHER],
    ["a dot is a dot (S8)", rule({ from: [from({ namespaces: ["t.am"] })] }), {}, NEITHER], ["serviceAccounts", rule({ from: [from({ serviceAccounts: ["team/client"] })] }), {}, BOTH], ["serviceAccounts of another namespace", rule({ from: [from({ serviceAccounts: ["shop/client"] })] }), {}, NEITHER],
    ["trustDomains", rule({ from: [from({ trustDomains: ["cluster.*"] })] }), {}, BOTH], ["notTrustDomains", rule({ from: [from({ trustDomains: ["!cluster.local"] })] }), {}, NEITHER], ["namespaces and trustDomains", rule({ from: [from({ namespaces: ["team"], trustDomains: ["other"] })] }), {}, NEITHER],
    ["ipBlocks", rule({ from: [from({ ipBlocks: ["10.0.0.0/24"] })] }), {}, BOTH], ["notIpBlocks", rule({ from: [from({ ipBlocks: ["10.0.0.0/8", "!10.0.0.9"] })] }), {}, NEITHER],
    ["remoteIpBlocks as forwarded", rule({ from: [from({ remoteIpBlocks: ["1.2.3.4"] })] }), { remoteIp: "1.2.3.4" as Ip }, BOTH], ["a forged X-Forwarded-For does not get round a DENY", rule({ from: [from({ remoteIpBlocks: ["10.0.0.9"] })] }), { remoteIp: "1.2.3.4" as Ip }, [false, true]],
    ["nor past an ALLOW's not", rule({ from: [from({ remoteIpBlocks: ["!10.0.0.9"] })] }), { remoteIp: "1.2.3.4" as Ip }, [false, true]],
    ["one of two sources", rule({ from: [from({ namespaces: ["x"] }), from({ namespaces: ["team"] })] }), {}, BOTH], ["fields of a source are all asked", rule({ from: [from({ namespaces: ["team"], ipBlocks: ["1.1.1.1"] })] }), {}, NEITHER],
  ];
  for (const [name, r, more, expected] of cases) it(name, () => assert.deepEqual(holds(r, facts(more)), expected));
});

describe("2 operations", () => {
  const cases: [string, RequestRule, Parameters<typeof http>[0], [boolean, boolean]][] = [
    ["methods", rule({ to: [to({ methods: ["GET"] })] }), {}, BOTH], ["methods have case", rule({ to: [to({ methods: ["get"] })] }), {}, NEITHER], ["methods by prefix", rule({ to: [to({ methods: ["G*"] })] }), {}, BOTH], ["notMethods", rule({ to: [to({ methods: ["!GET"] })] }), {}, NEITHER],
    ["hosts in any case (S3)", rule({ to: [to({ hosts: ["WEB"] })] }), { authority: "wEb" }, BOTH], ["a port is part of the authority; a DENY is not got round by one (S4)", rule({ to: [to({ hosts: ["web"] })] }), { authority: "web:8080" }, [false, true]],
    ["nor by a final dot", rule({ to: [to({ hosts: ["web"] })] }), { authority: "web." }, [false, true]], ["host:* is what users write", rule({ to: [to({ hosts: ["web:*"] })] }), { authority: "web:8080" }, BOTH], ["hosts suffix", rule({ to: [to({ hosts: ["*.web"] })] }), { authority: "a.web" }, BOTH],
    ["notHosts with a port: an ALLOW does not hold", rule({ to: [to({ hosts: ["!web"] })] }), { authority: "web:8080" }, [false, true]],
    ["paths exact", rule({ to: [to({ paths: ["/a"] })] }), { path: "/a" }, BOTH], ["paths have case", rule({ to: [to({ paths: ["/a"] })] }), { path: "/A" }, NEITHER], ["paths prefix", rule({ to: [to({ paths: ["/a*"] })] }), { path: "/ab/c" }, BOTH], ["paths suffix", rule({ to: [to({ paths: ["*.jpg"] })] }), { path: "/x.jpg" }, BOTH],
    ["a star in the middle is a star", rule({ to: [to({ paths: ["/a*b"] })] }), { path: "/axb" }, NEITHER], ["notPaths", rule({ to: [to({ paths: ["!/a*"] })] }), { path: "/ab" }, NEITHER], ["templates", rule({ to: [to({ paths: ["/a/{*}/b"] })] }), { path: "/a/x/b" }, BOTH],
    ["a template of nothing: a DENY reads it in", rule({ to: [to({ paths: ["/a/{**}/b"] })] }), { path: "/a/b" }, [false, true]], ["ports", rule({ to: [to({ ports: ["80"] })] }), {}, BOTH], ["notPorts", rule({ to: [to({ ports: ["!80"] })] }), {}, NEITHER],
    ["fields are all asked", rule({ to: [to({ methods: ["GET"], paths: ["/x"] })] }), {}, NEITHER], ["one of two operations", rule({ to: [to({ methods: ["POST"] }), to({ paths: ["/"] })] }), {}, BOTH],
  ];
  for (const [name, r, more, expected] of cases) it(name, () => assert.deepEqual(holds(r, facts({ http: http(more) })), expected));
});

describe("2 conditions", () => {
  const H = { kind: "header", name: "x-role" } as const;
  const JWT = token("https://iss", "me", { aud: ["a", "b"], azp: "app", groups: ["dev", "ops"], nested: { key: "v" }, n: 1 });
  const cases: [string, RequestRule, Partial<RequestAuthzFacts>, [boolean, boolean]][] = [
    ["header", rule({ when: [when(H, "user")] }), { http: http({ fields: ["x-role", "user"] }) }, BOTH], ["header absent", rule({ when: [when(H, "user")] }), {}, NEITHER], ["header present", rule({ when: [when(H, "*")] }), { http: http({ fields: ["x-role", ""] }) }, BOTH],
    ["header not", rule({ when: [when(H, "!user")] }), {}, BOTH], ["S5: a second line hides nothing", rule({ when: [when(H, "admin")] }), { http: http({ fields: ["x-role", "user", "x-role", "admin"] }) }, [false, true]],
    ["S5: and lets nothing through", rule({ when: [when(H, "user*")] }), { http: http({ fields: ["x-role", "user", "x-role", "admin"] }) }, [false, true]], ["S5: notValues", rule({ when: [when(H, "!admin")] }), { http: http({ fields: ["x-role", "user", "x-role", "admin"] }) }, [false, true]],
    [":method", rule({ when: [when({ kind: "header", name: ":method" }, "GET")] }), {}, BOTH], ["source.ip", rule({ when: [when({ kind: "source.ip" }, "10.0.0.0/8")] }), {}, BOTH], ["source.namespace not", rule({ when: [when({ kind: "source.namespace" }, "!team")] }), {}, NEITHER],
    ["source.principal", rule({ when: [when({ kind: "source.principal" }, "*client")] }), {}, BOTH], ["source.serviceAccount", rule({ when: [when({ kind: "source.serviceAccount" }, "team/client")] }), {}, BOTH], ["source.trustDomain", rule({ when: [when({ kind: "source.trustDomain" }, "cluster.local")] }), {}, BOTH],
    ["destination.ip", rule({ when: [when({ kind: "destination.ip" }, "10.96.0.1")] }), {}, BOTH], ["destination.port", rule({ when: [when({ kind: "destination.port" }, "80", "81")] }), {}, BOTH], ["remote.ip", rule({ when: [when({ kind: "remote.ip" }, "1.2.3.4")] }), {}, NEITHER],
    ["connection.sni", rule({ when: [when({ kind: "connection.sni" }, "a.io")] }), { sni: "a.io" }, BOTH], ["connection.sni absent", rule({ when: [when({ kind: "connection.sni" }, "*")] }), {}, NEITHER],
    ["audiences", rule({ when: [when({ kind: "auth.audiences" }, "b")] }), { http: http({ tokens: [JWT] }) }, BOTH], ["presenter", rule({ when: [when({ kind: "auth.presenter" }, "app")] }), { http: http({ tokens: [JWT] }) }, BOTH], ["claims of a list", rule({ when: [when({ kind: "auth.claims", path: ["groups"] }, "ops")] }), { http: http({ tokens: [JWT] }) }, BOTH],
    ["claims nested", rule({ when: [when({ kind: "auth.claims", path: ["nested", "key"] }, "v")] }), { http: http({ tokens: [JWT] }) }, BOTH], ["numbers match no text", rule({ when: [when({ kind: "auth.claims", path: ["n"] }, "1")] }), { http: http({ tokens: [JWT] }) }, NEITHER],
    ["claims without token", rule({ when: [when({ kind: "auth.claims", path: ["groups"] }, "ops")] }), {}, NEITHER], ["auth.principal", rule({ when: [when({ kind: "auth.principal" }, "https://iss/me")] }), { http: http({ tokens: [JWT] }) }, BOTH],
    ["all conditions", rule({ when: [when(H, "user"), when({ kind: "destination.port" }, "81")] }), { http: http({ fields: ["x-role", "user"] }) }, NEITHER],
  ];
  for (const [name, r, more, expected] of cases) it(name, () => assert.deepEqual(holds(r, facts(more)), expected));
});

describe("2 requestPrincipals", () => {
  const cases: [string, boolean][] = [
    ["https://iss/me", true], ["https://iss/you", false], ["*", true], ["*/me", true], ["*iss/me", true], ["*iss/m", false], ["*other/me", false], ["*e", true], ["*you", false], ["https://iss/*", true], ["https://iss/m*", true], ["https://is/*", false], ["https*", true], ["https://iss*", false], ["me", false],
  ];
  for (const [written, expected] of cases) it(written, () => assert.equal(holds(rule({ from: [from({ requestPrincipals: [written] })] }), facts({ http: http({ tokens: [token("https://iss", "me")] }) }))[0], expected));
  it("an issuer without slash may be a prefix", () => assert.equal(holds(rule({ from: [from({ requestPrincipals: ["acc*"] })] }), facts({ http: http({ tokens: [token("accounts", "me")] }) }))[0], true));
  it("* needs both", () => assert.equal(holds(rule({ from: [from({ requestPrincipals: ["*"] })] }), facts({ http: http({ tokens: [token("iss", "")] }) }))[0], false));
  it("of two tokens the first speaks; a DENY looks at each, never at a mixture", () => {
    const two = facts({ http: http({ tokens: [token("a", "x", { g: "1" }), token("b", "y", { g: "2" })] }) });
    assert.deepEqual(holds(rule({ from: [from({ requestPrincipals: ["a/x"] })] }), two), BOTH);
    assert.deepEqual(holds(rule({ from: [from({ requestPrincipals: ["b/y"] })] }), two), [false, true]);
    assert.deepEqual(holds(rule({ from: [from({ requestPrincipals: ["a/x"] })], when: [when({ kind: "auth.claims", path: ["g"] }, "2")] }), two), NEITHER);
  });
});

describe("2 path templates", () => {
  const cases: [string, string, boolean, boolean][] = [
    ["/foo/{*}", "/foo/bar", true, true], ["/foo/{*}", "/foo/bar/baz", false, false], ["/foo/{*}", "/foo/", false, false], ["/foo/{*}/bar/{**}", "/foo/x/bar/", true, true], ["/foo/{*}/bar/{**}", "/foo/x/bar/y", true, true], ["/foo/{*}/bar/{**}", "/foo/x/bar/y/z", true, true],
    ["/foo/{*}/bar/{**}", "/foo/x/bar", false, false], ["/foo/{**}/", "/foo/a/b/", true, true], ["/foo/{**}/", "/foo/a/b", false, false], ["/{**}/x.jpg", "/a/b/x.jpg", true, true], ["/a/{**}/b", "/a/b", false, true], ["/a/{**}", "/a", false, false], ["/{**}", "/", true, true],
  ];
  for (const [template, seen, strict, loose] of cases) it(`${template} ${seen}`, () => assert.deepEqual([templateMatches(template, seen, false), templateMatches(template, seen, true)], [strict, loose]));
  const bad: [string, boolean][] = [["/a/{*}/b", true], ["/a/{**}/b", true], ["/a/{**}/{*}", false], ["/a/{**}/{**}", false], ["/a/x{*}", false], ["/a/*", false], ["/a/{b}", false], ["a/{*}", false], ["/a/ /{*}", false], ["/a/%20/{*}", true]];
  for (const [template, good] of bad) it(`${template} is ${good ? "one" : "none"}`, () => assert.equal(checkTemplate(template) === undefined, good));
});

describe("2.1 TCP", () => {
  const TCP = { http: undefined };
  const cases: [string, RequestPolicy, string][] = [
    ["ALLOW with anything of HTTP never holds", policy("allow", [rule({ to: [to({ methods: ["GET"], ports: ["80"] })] })]), "deny no-allow-matched"], ["not even its other sources", policy("allow", [rule({ from: [from({ namespaces: ["team"] }), from({ requestPrincipals: ["*"] })] })]), "deny no-allow-matched"],
    ["ALLOW of L4", policy("allow", [rule({ from: [from({ namespaces: ["team"] })], to: [to({ ports: ["80"] })] })]), "allow by ns/allow"], ["DENY{POST, 80} denies all of 80", policy("deny", [rule({ to: [to({ methods: ["POST"], ports: ["80"] })] })]), "deny explicit by ns/deny rule 0"],
    ["DENY{POST, 81} does not", policy("deny", [rule({ to: [to({ methods: ["POST"], ports: ["81"] })] })]), "allow by no-allow-policies"], ["DENY{POST} denies all", policy("deny", [rule({ to: [to({ methods: ["POST"] })] })]), "deny explicit by ns/deny rule 0"],
    ["DENY by header denies all", policy("deny", [rule({ when: [when({ kind: "header", name: "a" }, "b")] })]), "deny explicit by ns/deny rule 0"], ["notMethods too", policy("deny", [rule({ to: [to({ methods: ["!GET"] })] })]), "deny explicit by ns/deny rule 0"],
    ["CUSTOM of paths asks about all", policy("custom", [rule({ to: [to({ paths: ["/a"] })] })]), "allow by no-allow-policies ask opa"],
  ];
  for (const [name, p, expected] of cases) it(name, () => assert.equal(line(verdict([p], TCP)), expected));
});

describe("an L7 verdict in words", () => {
  it("names what every ALLOW policy lacks", () => {
    const policies = [policy("allow", [rule({ from: [from({ namespaces: ["shop"] })] }), rule({ from: [from({ namespaces: ["team"] })], to: [to({ methods: ["POST"] }), to({ paths: ["/a*", "!/ab"] })] }), rule({ when: [when({ kind: "header", name: "x" }, "1")] })])];
    assert.deepEqual(explainRequestVerdict(policies, facts(), verdict(policies)), [
      "peer cluster.local/ns/team/sa/client, source 10.0.0.9, destination 10.96.0.1:80: GET web/, no token", "denied: ALLOW policies apply and none of them matches", "  ns/allow rule 0 wants namespaces [shop]",
      "  ns/allow rule 1 wants methods [POST] or paths [/a*] and not [/ab]", "  ns/allow rule 2 wants request.headers[x] [1]",
    ]);
  });
  it("names the fields that decided", () => {
    const policies = [policy("deny", [rule(), rule({ to: [to({ methods: ["GET"] })], when: [when({ kind: "source.ip" }, "10.0.0.9")] })].slice(1))];
    assert.equal(explainRequestVerdict(policies, facts(), verdict(policies))[1], "denied by ns/deny rule 0 (methods, when source.ip)");
  });
  it("is the user's own text", () => assert.deepEqual(text("a*"), { kind: "prefix", value: "a" }));
});
