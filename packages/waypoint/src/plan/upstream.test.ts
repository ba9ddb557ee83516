import assert from "node:assert/strict";
import { DEFAULT_TRAFFIC, type Backend, type Ip, type LocalityBalancing, type TrafficPolicy, type TrafficSettings, type Workload } from "@ambit/core";
import { pod, stateOf, svc } from "@ambit/proxy/testing";
import { createSessionSeal } from "../auth/session-seal.ts";
import { buildMaglev, buildRing, hashText, HashTables } from "./balance/hash.ts";
import { localityMatches } from "./balance/locality.ts";
import { warmShare } from "./balance/weight.ts";
import { config, world } from "./plan.fixture.ts";
import { planUpstream, planWorkload, type UpstreamHints, type UpstreamPlan } from "./upstream.ts";

const at = (name: string, address: string, zone: string, more: object = {}) =>
  pod(name, address, { uid: name, namespace: "shop", locality: { region: zone.slice(0, 2), zone, subzone: "" }, services: { "shop/db": { ports: [{ servicePort: 80, targetPort: 8080 }] } }, ...more });
const view = stateOf({
  workloads: [at("a1", "10.1.0.1", "r1a"), at("a2", "10.1.0.2", "r1a"), at("b1", "10.1.0.3", "r1b"), at("c1", "10.1.0.4", "r2a"), pod("client", "10.1.0.9", { uid: "client", namespace: "team", locality: { region: "r1", zone: "r1a", subzone: "" } })],
  services: [svc("db", "10.96.1.1", { namespace: "shop" })],
});
const CLIENT = view.workloadAt("", "10.1.0.9" as Ip);
const hints = (more: Partial<UpstreamHints> = {}): UpstreamHints => ({
  client: CLIENT, network: "", active: () => 0, memberSince: () => undefined, now: 1_000_000, turn: 0, ejected: () => false, excluded: new Set(), tables: new HashTables(),
  sourceIp: "10.1.0.9" as Ip, fields: [], query: undefined, session: undefined, hosts: new Map(), ...more,
});
const settings = (more: Partial<TrafficSettings> = {}): TrafficSettings => ({ ...DEFAULT_TRAFFIC, ...more });
const traffic = (more: Partial<TrafficSettings>, policy: Partial<TrafficPolicy> = {}) =>
  config({ traffic: new Map([["shop/db", { service: "shop/db", origin: "shop/db", settings: settings(more), ports: new Map(), subsets: new Map(), ...policy }]]), workloadLabels: new Map([["a1", { version: "v1", rack: "1" }], ["a2", { version: "v2", rack: "2" }], ["client", { rack: "2" }]]) });
const BACKEND: Backend = { service: "shop/db", port: 80, subset: undefined };
const outcome = (p: UpstreamPlan): string => (p.kind === "endpoint" ? p.workload.uid : p.kind === "none" ? `${p.reply.status} ${p.reply.flag}` : `need ${p.hostname}`);
const plan = (c = config(), more: Partial<UpstreamHints> = {}, random: () => number = () => 0, backend = BACKEND): UpstreamPlan => planUpstream(view, c, backend, hints(more), random);
/** Which endpoints evenly spread chance chooses, and how often of 400. */
const spread = (c = config(), more: Partial<UpstreamHints> = {}): Record<string, number> => {
  const seen: Record<string, number> = {};
  let n = 0;
  for (let i = 0; i < 400; i++) { const uid = outcome(plan(c, { ...more, turn: i }, () => (n++ * 0.618_033_988_7) % 1)); seen[uid] = (seen[uid] ?? 0) + 1; }
  return seen;
};

describe("planUpstream: one endpoint", () => {
  it("with the hop to its ztunnel, and who must answer there", () => {
    const p = plan();
    assert.ok(p.kind === "endpoint");
    assert.deepEqual(p.hop, { kind: "tunnel", at: { ip: "10.1.0.1", port: 15008 }, target: { ip: "10.1.0.1", port: 8080 }, expect: [{ trustDomain: "cluster.local", namespace: "shop", serviceAccount: "a1" }] });
  });
  it("in plaintext only where the workload is not of the mesh", () => {
    const plain = stateOf({ workloads: [at("x", "10.1.0.5", "", { tunnelProtocol: 0 })], services: [svc("db", "10.96.1.1", { namespace: "shop" })] });
    const p = planUpstream(plain, config(), BACKEND, hints(), () => 0);
    assert.deepEqual(p.kind === "endpoint" && p.hop, { kind: "direct", at: { ip: "10.1.0.5", port: 8080 } });
  });
  const far = stateOf({ workloads: [at("x", "10.1.0.5", "", { network: "n2" })], services: [svc("db", "10.96.1.1", { namespace: "shop" })] });
  const named = stateOf({ workloads: [at("x", "", "", { hostname: "db.example.com" })], services: [svc("db", "10.96.1.1", { namespace: "shop" })] });
  const cases: [string, UpstreamPlan, string][] = [
    ["no such service", plan(config(), {}, undefined, { ...BACKEND, service: "shop/none" }), "500 NC"], ["no such subset", plan(traffic({}), {}, undefined, { ...BACKEND, subset: "v9" }), "500 NC"], ["no such port", plan(config(), {}, undefined, { ...BACKEND, port: 81 }), "503 UH"],
    ["only on another network", planUpstream(far, config(), BACKEND, hints(), () => 0), "503 UH"], ["only a name: DNS is asked", planUpstream(named, config(), BACKEND, hints(), () => 0), "need db.example.com"],
    ["that has an address", planUpstream(named, config(), BACKEND, hints({ hosts: new Map([["db.example.com", ["1.2.3.4" as Ip]]]) }), () => 0), "x"], ["that has none", planUpstream(named, config(), BACKEND, hints({ hosts: new Map([["db.example.com", []]]) }), () => 0), "503 UH"],
    ["a subset", plan(traffic({}, { subsets: new Map([["v2", { name: "v2", labels: { version: "v2" }, settings: settings(), ports: new Map() }]]) }), {}, undefined, { ...BACKEND, subset: "v2" }), "a2"],
    ["a subset of nobody", plan(traffic({}, { subsets: new Map([["v3", { name: "v3", labels: { version: "v3" }, settings: settings(), ports: new Map() }]]) }), {}, undefined, { ...BACKEND, subset: "v3" }), "503 UH"],
    ["pod traffic: the pod", planWorkload(view.workload("b1") as Workload, 9000, hints(), DEFAULT_TRAFFIC), "b1"],
  ];
  for (const [name, p, expected] of cases) it(name, () => assert.equal(outcome(p), expected));
});

describe("planUpstream: balancing (l7-traffic 4.2)", () => {
  it("least request: of two the one with fewer under way", () => {
    const busy = (uid: string) => (uid === "a1" ? 10 : 0);
    for (const random of [0, 0.3, 0.6, 0.9]) assert.notEqual(outcome(plan(config(), { active: busy }, (() => { let n = 0; return () => (n++ === 0 ? 0 : Math.max(random, 0.3)); })())), "a1");
  });
  it("round robin: each in turn", () => assert.deepEqual([0, 1, 2, 3, 4].map((turn) => outcome(plan(traffic({ balancer: { kind: "round-robin" } }), { turn }))), ["a1", "a2", "b1", "c1", "a1"]));
  it("random: all alike", () => { for (const n of Object.values(spread(traffic({ balancer: { kind: "random" } })))) assert.ok(Math.abs(n - 100) < 10); });
  it("new members warm up", () => {
    const warm = { durationMs: 100_000, minimumPercent: 10, aggression: 1 };
    assert.deepEqual([0, 10_000, 50_000, 100_000].map((age) => warmShare(warm, 0, age)), [0.1, 0.1, 0.5, 1]);
    const seen = spread(traffic({ balancer: { kind: "round-robin" }, warmup: warm }), { memberSince: (uid) => (uid === "a1" ? 950_000 : undefined) });
    assert.ok((seen["a1"] ?? 0) > 40 && (seen["a1"] ?? 0) < 70, JSON.stringify(seen));
  });
  const ring = (key: Extract<TrafficSettings["balancer"], { kind: "consistent-hash" }>["key"]) => traffic({ balancer: { kind: "consistent-hash", key, algorithm: { kind: "ring", minimumSize: 1024 } } });
  const keyed: [string, ReturnType<typeof ring>, (value: string) => Partial<UpstreamHints>][] = [
    ["header", ring({ kind: "header", name: "x-user" }), (v) => ({ fields: ["x-user", v] })], ["query", ring({ kind: "query", name: "u" }), (v) => ({ query: `u=${v}` })], ["source", ring({ kind: "source-ip" }), (v) => ({ sourceIp: v as Ip })],
    ["cookie", ring({ kind: "cookie", name: "u", path: "/", ttlS: undefined }), (v) => ({ fields: ["cookie", `u=${v}`] })],
    ["maglev", traffic({ balancer: { kind: "consistent-hash", key: { kind: "header", name: "x-user" }, algorithm: { kind: "maglev", tableSize: 65_537 } } }), (v) => ({ fields: ["x-user", v] })],
  ];
  for (const [name, c, of] of keyed)
    it(`consistent hash by ${name}: the same for the same, all of them used, chance has no say`, () => {
      const tables = new HashTables();
      const chosen = Array.from({ length: 200 }, (_, i) => outcome(plan(c, { ...of(`user-${i}`), tables }, () => { throw new Error("no chance"); })));
      assert.deepEqual(chosen, Array.from({ length: 200 }, (_, i) => outcome(plan(c, { ...of(`user-${i}`), tables, excluded: new Set(["a1", "a2", "b1"]) }))));
      assert.equal(new Set(chosen).size, 4);
    });
  it("without key any", () => assert.equal(Object.keys(spread(ring({ kind: "header", name: "x-user" }))).length, 4));
  it("a cookie with a time is made, and leads back", () => {
    const c = ring({ kind: "cookie", name: "u", path: "", ttlS: 60 });
    const p = plan(c, {}, () => 0.7);
    assert.ok(p.kind === "endpoint");
    assert.match(p.answerFields[1] ?? "", /^u=[0-9a-f]{32}; Max-Age=60; Path=\/; HttpOnly$/);
    assert.equal(outcome(plan(c, { fields: ["cookie", (p.answerFields[1] ?? "").split(";", 1)[0] ?? ""] })), p.workload.uid);
  });
  it("with the attributes that it should have", () => {
    const p = plan(ring({ kind: "cookie", name: "u", path: "/a", ttlS: 0, attributes: [["SameSite", "Lax"], ["Secure", ""], ["HttpOnly", ""]] }), {}, () => 0.7);
    assert.match((p.kind === "endpoint" && p.answerFields[1]) || "", /^u=[0-9a-f]{32}; Path=\/a; HttpOnly; SameSite=Lax; Secure$/);
  });
  it("Kubernetes' own affinity, where no rule says otherwise", () => {
    const sticky = { ...view, service: (key: string) => { const s = view.service(key); return s && { ...s, clientAffinityMs: 1 }; }, endpoints: view.endpoints.bind(view), members: view.members.bind(view) };
    const choose = (ip: string, c = config()) => outcome(planUpstream(sticky, c, BACKEND, hints({ sourceIp: ip as Ip }), () => { throw new Error("no chance"); }));
    assert.equal(choose("10.9.0.1"), choose("10.9.0.1"));
    // A BackendTLSPolicy says nothing of balancing; a DestinationRule does, be it by saying nothing.
    assert.equal(choose("10.9.0.1", traffic({}, { origin: undefined })), choose("10.9.0.1"));
    assert.throws(() => choose("10.9.0.1", traffic({})), /no chance/);
    assert.equal(new Set(Array.from({ length: 50 }, (_, i) => choose(`10.9.0.${i}`))).size, 4);
  });
});

describe("planUpstream: tables of hashes", () => {
  for (const [name, build] of [["ring", (n: string[]) => buildRing(n, n.map(() => 1), 1024)], ["maglev", (n: string[]) => buildMaglev(n, n.map(() => 1), 65_537)]] as const)
    it(`${name}: even, and one member more moves about its share`, () => {
      const names = Array.from({ length: 10 }, (_, i) => `pod-${i}`);
      const [ten, eleven] = [build(names), build([...names, "pod-10"])];
      const keys = Array.from({ length: 20_000 }, (_, i) => hashText(`key-${i}`));
      const counts = new Map<number, number>();
      for (const k of keys) counts.set(ten(k), (counts.get(ten(k)) ?? 0) + 1);
      for (const n of counts.values()) assert.ok(Math.abs(n - 2000) < 900, `${name}: ${n}`);
      const moved = keys.filter((k) => ten(k) !== eleven(k)).length;
      assert.ok(moved < 20_000 * 0.2, `${name} moved ${moved}`);
    });
  it("weights count", () => {
    const ring = buildRing(["a", "b"], [1, 3], 1024);
    const b = Array.from({ length: 10_000 }, (_, i) => ring(hashText(`k${i}`))).filter((m) => m === 1).length;
    assert.ok(Math.abs(b - 7500) < 700, String(b));
  });
});

describe("planUpstream: locality is the client's (l7-traffic 4.3)", () => {
  const rule = (more: Partial<LocalityBalancing>): Partial<TrafficSettings> => ({ locality: { failoverPriority: [], failover: [], distribute: [], ...more } });
  const names = (c: ReturnType<typeof config>, more: Partial<UpstreamHints> = {}): string => Object.keys(spread(c, more)).toSorted().join(" ");
  const zones = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];
  const cases: [string, string, string][] = [
    ["nothing said: all", names(config()), "a1 a2 b1 c1"], ["the client's zone first", names(traffic(rule({}))), "a1 a2"], ["then its region", names(traffic(rule({})), { ejected: (u) => u.startsWith("a") }), "b1"],
    ["then the rest", names(traffic({ ...rule({}), outlier: undefined }), { ejected: (u) => u !== "c1" }), "c1"], ["failoverPriority", names(traffic(rule({ failoverPriority: zones }))), "a1 a2"],
    ["failoverPriority: then where fewer labels match", names(traffic(rule({ failoverPriority: zones })), { ejected: (u) => u.startsWith("a") }), "b1"], ["failoverPriority: the n-th counts only after those before", names(traffic(rule({ failoverPriority: [...zones, "rack"] }))), "a2"], ["failoverPriority with a value", names(traffic(rule({ failoverPriority: ["version=v1"] }))), "a1"],
    ["nobody knows where the client is", names(traffic(rule({})), { client: undefined }), "a1 a2 b1 c1"],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.equal(actual, expected));
  it("distribute", () => {
    const seen = spread(traffic({ ...rule({ distribute: [{ from: "r1/*", to: { "r1/r1a/*": 80, "r2/*": 20 } }] }), balancer: { kind: "random" } }));
    assert.ok(Math.abs((seen["c1"] ?? 0) - 80) < 25 && seen["b1"] === undefined, JSON.stringify(seen));
  });
  it("half of a zone ejected: the rest takes seven tenths, the region three", () => {
    const seen = spread(traffic({ ...rule({}), balancer: { kind: "random" }, outlier: { consecutive5xx: 5, consecutiveGatewayErrors: 0, splitLocalOrigin: false, consecutiveLocalOrigin: 5, intervalMs: 1, baseEjectionMs: 1, maxEjectionPercent: 100, minHealthPercent: 0 } }), { ejected: (u) => u === "a1" });
    assert.ok(Math.abs((seen["a2"] ?? 0) - 280) < 30 && Math.abs((seen["b1"] ?? 0) - 120) < 30 && seen["a1"] === undefined, JSON.stringify(seen));
  });
  const patterns: [string, boolean][] = [["r1/r1a/*", true], ["r1/*", true], ["r1", true], ["*", true], ["r1/r1b", false], ["r2/*", false]];
  for (const [pattern, expected] of patterns) it(`${pattern} is ${expected ? "" : "not "}r1/r1a`, () => assert.equal(localityMatches(pattern, { locality: { region: "r1", zone: "r1a", subzone: "" } }), expected));
});

describe("planUpstream: ejected and excluded", () => {
  const outlier = { consecutive5xx: 5, consecutiveGatewayErrors: 0, splitLocalOrigin: false, consecutiveLocalOrigin: 5, intervalMs: 1, baseEjectionMs: 1, maxEjectionPercent: 100, minHealthPercent: 0 };
  const keys = (c: ReturnType<typeof config>, more: Partial<UpstreamHints>): string => Object.keys(spread(c, more)).toSorted().join(" ");
  const cases: [string, string, string][] = [
    ["ejected ones get nothing", keys(traffic({ outlier }), { ejected: (u) => u === "a1" }), "a2 b1 c1"], ["all ejected: nobody", keys(traffic({ outlier }), { ejected: () => true }), "503 UH"],
    ["panic: too few stand, so all do", keys(traffic({ outlier: { ...outlier, minHealthPercent: 50 } }), { ejected: (u) => u !== "a1" }), "a1 a2 b1 c1"], ["places tried before are avoided", keys(config(), { excluded: new Set(["a1", "a2"]) }), "b1 c1"],
    ["unless there is no other", keys(config(), { excluded: new Set(["a1", "a2", "b1", "c1"]) }), "a1 a2 b1 c1"],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.equal(actual, expected));
});

describe("planUpstream: sessions", () => {
  const seal = createSessionSeal(new Uint8Array(32));
  const cookie = { rule: { kind: "cookie" as const, name: "s", absoluteTimeoutMs: 60_000, path: "/" }, seal };
  const header = { rule: { kind: "header" as const, name: "X-S", absoluteTimeoutMs: undefined, path: "/" }, seal };
  const given = (session: typeof cookie | typeof header, random: number): { readonly uid: string; readonly fields: readonly string[] } => { const p = plan(config(), { session }, () => random); assert.ok(p.kind === "endpoint"); return { uid: p.workload.uid, fields: p.answerFields }; };
  it("the cookie of an answer leads back", () => {
    const { uid, fields } = given(cookie, 0.6);
    assert.match(fields[1] ?? "", /^s=[\w-]+\.[\w-]+; Max-Age=60; Path=\/; HttpOnly$/);
    const back = { session: cookie, fields: ["cookie", fields[1]?.split(";", 1)[0] ?? ""] };
    for (const r of [0, 0.5, 0.9]) {
      const p = plan(config(), back, () => r);
      assert.ok(p.kind === "endpoint");
      assert.deepEqual([p.workload.uid, p.answerFields], [uid, []]);
    }
    assert.notEqual(outcome(plan(config(), { ...back, now: 1_060_000 }, () => 0)), uid, "its time is over");
    assert.notEqual(outcome(plan(config(), { ...back, excluded: new Set([uid]) }, () => 0)), uid, "it was tried and failed");
  });
  it("so does the header", () => {
    const { uid, fields } = given(header, 0.6);
    assert.equal(fields[0], "x-s");
    assert.equal(outcome(plan(config(), { session: header, fields }, () => 0)), uid);
  });
  const forged = (value: string): string => outcome(plan(config(), { session: cookie, fields: ["cookie", `s=${value}`] }, () => 0));
  for (const value of [Buffer.from("shop/db\nc1\n").toString("base64url"), `AAAAAAAAAAAAAAAAAAAAAA.${Buffer.from("shop/db\nc1\n").toString("base64url")}`, createSessionSeal(new Uint8Array(32).fill(1)).seal("shop/db\nc1\n"), "x".repeat(5000), "..", ""])
    it(`a forged one has no say: ${value.slice(0, 30)}`, () => assert.equal(forged(value), "a1"));
  it("one of another service has no say", () => assert.equal(forged(seal.seal("shop/other\nc1\n")), "a1"));
  it("ours has", () => assert.equal(forged(seal.seal("shop/db\nc1\n")), "c1"));
});

describe("planUpstream: settings", () => {
  const ported = traffic({ proxyProtocol: "v1" }, { ports: new Map([[80, settings({ proxyProtocol: "v2" })]]), subsets: new Map([["v1", { name: "v1", labels: { version: "v1" }, settings: settings(), ports: new Map([[80, settings({ proxyProtocol: "v1" })]]) }]]) });
  it("the port's over the rule's", () => { const p = plan(ported); assert.equal(p.kind === "endpoint" && p.settings.proxyProtocol, "v2"); });
  it("the subset's port over those", () => { const p = plan(ported, {}, undefined, { ...BACKEND, subset: "v1" }); assert.equal(p.kind === "endpoint" && p.settings.proxyProtocol, "v1"); });
  it("without a rule the defaults", () => { const p = planUpstream(world(), config(), { service: "shop/web", port: 80, subset: undefined }, hints(), () => 0); assert.equal(p.kind === "endpoint" && p.settings, DEFAULT_TRAFFIC); });
});
