// Our verdict against a second evaluator, written from the reference's words over the texts that users write (regular expressions and all):
// never wider; and equal wherever the reference leaves no room for another reading.
import assert from "node:assert/strict";
import { formatIdentity } from "../identity/spiffe.ts";
import type { Ip } from "../net/ip.ts";
import { authorizeRequest, type RequestAuthzFacts, type TokenIdentity } from "./authorize-request.ts";
import type { ConditionKey, RequestPolicy } from "./request-policy.ts";
import { facts, from, http, policy, rule, to, token, when } from "./request-policy.fixture.ts";

const CASES = Number(process.env["AUTHZ_CASES"] ?? 8_000);
const SEED = Number(process.env["AUTHZ_SEED"] ?? 20_261_121);

type Lists = Readonly<Record<string, readonly string[]>>;
interface WrittenRule { readonly from: readonly Lists[]; readonly to: readonly Lists[]; readonly when: readonly { readonly key: ConditionKey; readonly values: readonly string[] }[] }
interface WrittenPolicy { readonly action: "allow" | "deny" | "audit"; readonly dryRun: boolean; readonly rules: readonly WrittenRule[] }

const quoted = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
/** A generic value of section 2, as a regular expression over the whole text. */
function pattern(written: string, flags = ""): RegExp {
  const source = written === "*" ? ".+" : written.startsWith("*") ? `.*${quoted(written.slice(1))}` : written.endsWith("*") ? `${quoted(written.slice(0, -1))}.*` : quoted(written);
  return new RegExp(`^(?:${source})$`, `s${flags}`);
}
const template = (written: string): RegExp => new RegExp(`^${quoted(written).replaceAll("\\{\\*\\}", "[^/]+").replaceAll("\\{\\*\\*\\}", ".*")}$`);
const inBlock = (written: string, ip: string): boolean => {
  const [address = "", bits = "32"] = written.split("/");
  const number = (t: string): number => t.split(".").reduce((n, o) => n * 256 + Number(o), 0);
  const size = 2 ** (32 - Number(bits));
  return Math.floor(number(address) / size) === Math.floor(number(ip) / size);
};

function requestPrincipal(written: string, t: TokenIdentity | undefined): boolean {
  if (t === undefined || t.issuer === "" || t.subject === "") return false;
  if (written === "*") return true;
  const bare = written.replace(/^\*/, "").replace(/\*$/, "");
  const cut = bare.lastIndexOf("/");
  const [iss, sub] = cut < 0 ? ["", bare] : [bare.slice(0, cut), bare.slice(cut + 1)];
  if (written.startsWith("*")) return cut < 0 ? t.subject.endsWith(bare) : t.issuer.endsWith(iss) && t.subject === sub;
  if (written.endsWith("*")) return cut < 0 ? t.issuer.startsWith(bare) : t.issuer === iss && t.subject.startsWith(sub);
  return `${t.issuer}/${t.subject}` === written && cut >= 0;
}

/** Whether one value of a field holds. */
function value(field: string, written: string, f: RequestAuthzFacts): boolean {
  const uri = f.peer === undefined ? "" : formatIdentity(f.peer);
  const h = f.http;
  switch (field) {
    case "principals": case "source.principal": return f.peer !== undefined && pattern(written === "*" ? "*" : written.startsWith("*") ? written : `spiffe://${written}`).test(uri);
    case "namespaces": case "source.namespace": return new RegExp(`^.*/ns/${quoted(written).replaceAll("\\*", ".*")}/.*$`).test(uri);
    case "serviceAccounts": case "source.serviceAccount": { const [ns = "", sa = ""] = written.split("/"); return new RegExp(`^spiffe://.+/ns/${quoted(ns)}/(.+/)?sa/${quoted(sa)}(/.+)?$`).test(uri); }
    case "trustDomains": case "source.trustDomain": return new RegExp(`^spiffe://${quoted(written).replaceAll("\\*", "[^/]*")}/`).test(uri);
    case "ipBlocks": case "source.ip": return inBlock(written, f.sourceIp);
    case "remoteIpBlocks": case "remote.ip": return inBlock(written, f.remoteIp);
    case "destination.ip": return inBlock(written, f.destination.ip);
    case "ports": case "destination.port": return written === String(f.destination.port);
    case "requestPrincipals": case "auth.principal": return requestPrincipal(written, h?.tokens[0]);
    case "hosts": return h !== undefined && pattern(written, "i").test(h.authority);
    case "methods": return h !== undefined && pattern(written).test(h.method);
    case "paths": return h !== undefined && (/\{\*\*?\}/.test(written) ? template(written).test(h.path) : pattern(written).test(h.path));
    case "header": {
      const lines = h?.fields.flatMap((n, i) => (i % 2 === 0 && n === "x-role" ? [h.fields[i + 1] ?? ""] : [])) ?? [];
      return lines.length > 0 && (written === "*" || pattern(written).test(lines.join(",")));
    }
    case "auth.claims": { const c = h?.tokens[0]?.claims["g"]; return (Array.isArray(c) ? c : [c]).some((x) => typeof x === "string" && pattern(written).test(x)); }
    default: throw new Error(field);
  }
}

const HTTP_ONLY = new Set(["hosts", "methods", "paths", "requestPrincipals", "remoteIpBlocks", "header", "remote.ip", "auth.principal", "auth.claims"]);
const holds = (field: string, list: readonly string[], f: RequestAuthzFacts): boolean => {
  const yes = list.filter((w) => !w.startsWith("!"));
  const no = list.filter((w) => w.startsWith("!")).map((w) => w.slice(1));
  return (yes.length === 0 || yes.some((w) => value(field, w, f))) && !no.some((w) => value(field, w, f));
};

function ruleHolds(r: WrittenRule, f: RequestAuthzFacts, allows: boolean): boolean {
  const tcp = f.http === undefined;
  const http = [...r.from, ...r.to].some((l) => Object.entries(l).some(([k, v]) => v.length > 0 && HTTP_ONLY.has(k))) || r.when.some((c) => HTTP_ONLY.has(c.key.kind));
  if (tcp && allows && http) return false;
  const part = (l: Lists): boolean => Object.entries(l).every(([k, v]) => (tcp && HTTP_ONLY.has(k)) || holds(k, v, f));
  return (r.from.length === 0 || r.from.some(part)) && (r.to.length === 0 || r.to.some(part)) && r.when.every((c) => (tcp && HTTP_ONLY.has(c.key.kind)) || holds(c.key.kind, c.values, f));
}

function referenceAllows(policies: readonly WrittenPolicy[], f: RequestAuthzFacts): boolean {
  const enforced = policies.filter((p) => !p.dryRun);
  if (enforced.some((p) => p.action === "deny" && p.rules.some((r) => ruleHolds(r, f, false)))) return false;
  const allows = enforced.filter((p) => p.action === "allow");
  return allows.length === 0 || allows.some((p) => p.rules.some((r) => ruleHolds(r, f, true)));
}

describe("authorizeRequest agrees with an evaluator from the reference", () => {
  it(`on ${CASES} generated policies and requests`, function () {
    this.timeout(600_000);
    let state = SEED;
    const random = () => { state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0; return (state >>> 8) / 0x1000000; };
    const pick = <T>(xs: readonly T[]): T => { const x = xs[Math.floor(random() * xs.length)]; assert.ok(x !== undefined); return x; };
    const list = <T>(make: () => T, max: number): T[] => Array.from({ length: Math.floor(random() * (max + 1)) }, make);
    const values = (of: readonly string[], chance = 0.25): string[] => (random() < chance ? Array.from({ length: 1 + Math.floor(random() * 2) }, () => `${random() < 0.3 ? "!" : ""}${pick(of)}`) : []);
    const VALUES: Readonly<Record<string, readonly string[]>> = {
      principals: ["td/ns/a/sa/b", "td/ns/a*", "*/sa/b", "*", "td.x/ns/a/sa/b"], namespaces: ["a", "ab", "a*", "*b", "*", "a.b"], serviceAccounts: ["a/b", "a/ab", "ab/b", "a.b/b"], trustDomains: ["td", "t*", "*d", "*", "td.x"],
      ipBlocks: ["10.0.0.1", "10.0.0.0/24", "10.0.0.2/31"], remoteIpBlocks: ["10.0.0.1", "1.0.0.0/8", "10.0.0.0/24"], requestPrincipals: ["i/s", "*", "i/*", "*/s", "i*", "*s", "j/s"],
      hosts: ["web", "WEB", "web:*", "*.io", "*", "a.io"], methods: ["GET", "G*", "POST", "*", "get"], paths: ["/a", "/a*", "*b", "*", "/{*}", "/a/{*}", "/a/{**}", "/a/{**}/b", "/{**}/b"], ports: ["80", "81"],
      "source.ip": ["10.0.0.1", "10.0.0.0/24"], "remote.ip": ["10.0.0.1", "1.2.3.4"], "destination.ip": ["10.96.0.1", "10.96.0.0/16"], "destination.port": ["80", "81"], "source.namespace": ["a", "a*", "*"], "source.principal": ["td/ns/a/sa/b", "*b", "*"],
      "source.trustDomain": ["td", "t*"], "source.serviceAccount": ["a/b", "ab/b"], header: ["user", "user*", "*min", "*", "user,admin"], "auth.principal": ["i/s", "*"], "auth.claims": ["x", "x*", "*"],
    };
    const of = (field: string): readonly string[] => VALUES[field] ?? [];
    const SOURCE = ["principals", "namespaces", "serviceAccounts", "trustDomains", "ipBlocks", "remoteIpBlocks", "requestPrincipals"];
    const OPERATION = ["hosts", "methods", "paths", "ports"];
    const KEYS: readonly ConditionKey[] = [
      { kind: "header", name: "x-role" }, { kind: "auth.claims", path: ["g"] }, { kind: "auth.principal" }, { kind: "source.ip" }, { kind: "remote.ip" }, { kind: "destination.ip" }, { kind: "destination.port" },
      { kind: "source.namespace" }, { kind: "source.principal" }, { kind: "source.trustDomain" }, { kind: "source.serviceAccount" },
    ];
    const some = (fields: readonly string[]): Lists => Object.fromEntries(fields.map((f) => [f, values(of(f))]).filter(([, v]) => (v ?? []).length > 0));
    const writtenRule = (): WrittenRule => ({ from: list(() => some(SOURCE), 2), to: list(() => some(OPERATION), 2), when: list(() => { const key = pick(KEYS); return { key, values: values(of(key.kind), 1) }; }, 1) });
    const written = (): WrittenPolicy => ({ action: pick(["allow", "allow", "deny", "audit"] as const), dryRun: random() < 0.1, rules: list(writtenRule, 2) });
    const ours = (p: WrittenPolicy): RequestPolicy => policy(p.action, p.rules.map((r) => rule({ from: r.from.map(from), to: r.to.map(to), when: r.when.map((c) => when(c.key, ...c.values)) })), { dryRun: p.dryRun });
    const aToken = (): TokenIdentity => token(pick(["i", "j", "ij"]), pick(["s", "ss", ""]), { g: pick<unknown>(["x", "xy", ["y", "x"], 1]) });
    const request = (): RequestAuthzFacts => { const sourceIp = pick(["10.0.0.1", "10.0.0.2", "10.1.0.1"]) as Ip; return facts({
      peer: random() < 0.1 ? undefined : { trustDomain: pick(["td", "other"]), namespace: pick(["a", "ab", "axb"]), serviceAccount: pick(["b", "ab"]) }, sourceIp, remoteIp: random() < 0.7 ? sourceIp : pick(["10.0.0.1", "1.2.3.4"]) as Ip,
      destination: { ip: "10.96.0.1" as Ip, port: pick([80, 81]) },
      http: random() < 0.15 ? undefined : http({
        method: pick(["GET", "POST", "get"]), authority: pick(["web", "wEb", "web:80", "a.io", "a.io.", "web."]), path: pick(["/", "/a", "/a/", "/a/b", "/a/x/b", "/ab", "/x/b"]),
        fields: pick([[], ["x-role", "user"], ["x-role", "user", "x-role", "admin"], ["x-role", ""], ["x-role", "user,admin"]]), tokens: list(aToken, 2),
      }),
    }); };
    /** Where the reference's words leave no second reading. */
    const plain = (f: RequestAuthzFacts): boolean => f.remoteIp === f.sourceIp && !/[:.]/.test(f.http?.authority.replace(/[.]io$/, "") ?? "") && (f.http?.fields.length ?? 0) < 4 && (f.http?.tokens.length ?? 0) < 2;

    const seen = { allowed: 0, denied: 0, compared: 0 };
    for (let i = 0; i < CASES; i++) {
      const policies = list(written, 3);
      const f = request();
      const verdict = authorizeRequest(policies.map(ours), f).kind === "allow";
      const reference = referenceAllows(policies, f);
      const said = (): string => `case ${i}: ${JSON.stringify({ policies, f })}`;
      assert.ok(!verdict || reference, `wider: ${said()}`);
      if (plain(f) && !JSON.stringify(policies).includes("/{**}/b")) {
        seen.compared++;
        assert.equal(verdict, reference, said());
      }
      if (reference) seen.allowed++;
      else seen.denied++;
    }
    // A generator that only makes one kind of case proves nothing.
    assert.ok(seen.allowed > CASES / 10 && seen.denied > CASES / 10 && seen.compared > CASES / 10, JSON.stringify(seen));
  });
});
