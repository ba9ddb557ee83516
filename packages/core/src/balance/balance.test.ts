import assert from "node:assert/strict";
import type { Ip } from "../net/ip.ts";
import type { BalanceScope, Endpoint, LoadBalancing, Service, Workload } from "../workload/workload.ts";
import { eligible, targetPort, type Candidate, type ResolutionMode } from "./eligible.ts";
import { pickWeighted } from "./pick.ts";
import { pickForClient } from "./rendezvous.ts";
import { nearest, rankLocality } from "./rank-locality.ts";

function workload(uid: string, more: Partial<Workload> = {}): Workload {
  return {
    uid, name: uid, namespace: "ns", addresses: ["10.0.0.1" as Ip], hostname: "", network: "", protocol: "hbone",
    identity: { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "sa" }, waypoint: undefined, networkGateway: undefined,
    node: "n1", canonicalName: "", canonicalRevision: "", workloadType: "pod", workloadName: "", nativeTunnel: false,
    authorizationPolicies: [], healthy: true, clusterId: "Kubernetes", services: new Map(), applicationTunnel: undefined,
    locality: { region: "", zone: "", subzone: "" }, hostNetwork: false, capacity: 1, ...more,
  };
}
const service = (ports: Record<number, number>): Service => ({
  name: "s", namespace: "ns", hostname: "s.ns", vips: [], subjectAltNames: [], waypoint: undefined, weightedWaypoints: [], loadBalancing: undefined,
  ipFamilies: "automatic", canonical: true, visibility: "public",
  ports: new Map(Object.entries(ports).map(([p, t]) => [Number(p), { servicePort: Number(p), targetPort: t, appProtocol: "unknown" as const }])),
});
const endpoint = (ports: Record<number, number>): Endpoint => ({ workloadUid: "w", healthy: true, ports: new Map(Object.entries(ports).map(([p, t]) => [Number(p), t])) });

describe("targetPort", () => {
  const tunnel = workload("w", { applicationTunnel: { protocol: "proxy", port: 15088 } });
  const cases: [string, Service, Endpoint, Workload, number | undefined, ResolutionMode?][] = [
    ["the endpoint's own map wins", service({ 80: 8080 }), endpoint({ 80: 9090 }), workload("w"), 9090],
    ["else the service's number", service({ 80: 8080 }), endpoint({}), workload("w"), 8080],
    ["a named port without a mapping has none", service({ 80: 0 }), endpoint({}), workload("w"), undefined],
    ["a port the service does not have", service({ 81: 8080 }), endpoint({}), workload("w"), undefined],
    ["a port that only the endpoint maps", service({ 81: 8080 }), endpoint({ 80: 9090 }), workload("w"), undefined],
    ["a waypoint's application tunnel stands in with the service port", service({}), endpoint({}), tunnel, 80, "waypoint"],
    ["… or with the endpoint's own", service({}), endpoint({ 80: 9090 }), tunnel, 9090, "waypoint"],
    ["… for nobody who was addressed by hand", service({}), endpoint({}), tunnel, undefined],
    ["an application tunnel without a port does not stand in", service({}), endpoint({}), workload("w", { applicationTunnel: { protocol: "proxy", port: 0 } }), undefined, "waypoint"],
  ];
  for (const [name, s, e, w, expected, mode] of cases) it(name, () => assert.equal(targetPort(s, e, w, 80, mode), expected));
});

describe("eligible", () => {
  const gateway = { destination: { kind: "address" as const, address: { network: "n2", ip: "1.2.3.4" as Ip } }, hbonePort: 15008 };
  const cases: [string, Workload | undefined, boolean][] = [
    ["a workload that is not known (yet)", undefined, false],
    ["with an address", workload("w"), true],
    ["with a hostname only", workload("w", { addresses: [], hostname: "example.com" }), true],
    ["with neither", workload("w", { addresses: [] }), false],
    ["with neither, on another network with a gateway", workload("w", { addresses: [], network: "n2", networkGateway: gateway }), true],
    ["with neither, on another network without one", workload("w", { addresses: [], network: "n2" }), false],
    ["with neither, on our network with a gateway", workload("w", { addresses: [], networkGateway: gateway }), false],
  ];
  for (const [name, w, expected] of cases)
    it(name, () => assert.equal(eligible(service({ 80: 8080 }), [{ endpoint: endpoint({}), workload: w }], 80, "").length === 1, expected));
});

describe("rankLocality", () => {
  const client = workload("c", { locality: { region: "r1", zone: "z1", subzone: "s1" }, network: "n1", clusterId: "k1", node: "a" });
  const near = (l: string, more: Partial<Workload> = {}) => {
    const [region = "", zone = "", subzone = ""] = l.split("/");
    return workload("w", { locality: { region, zone, subzone }, network: "n1", clusterId: "k1", node: "a", ...more });
  };
  const RZ: BalanceScope[] = ["region", "zone"];
  const NRZ: BalanceScope[] = ["network", "region", "zone"];
  const cases: [string, BalanceScope[], Workload, number][] = [
    ["no preference", [], near("r1/z1"), 0],
    ["both scopes", RZ, near("r1/z1"), 2],
    ["only the first", RZ, near("r1/z2"), 1],
    ["a mismatch ends the comparison", RZ, near("r2/z1"), 0],
    ["every kind of scope", ["region", "zone", "subzone", "node", "cluster", "network"], near("r1/z1/s1"), 6],
    ["a leading network that matches outranks the rest", NRZ, near("r9/z9"), 3],
    ["a leading network that matches, plus locality", NRZ, near("r1/z1"), 5],
    ["a leading network that differs goes on comparing", NRZ, near("r1/z1", { network: "n2" }), 2],
    ["a later network is ordinary", ["region", "network"], near("r1", { network: "n2" }), 1],
  ];
  for (const [name, preference, w, expected] of cases) it(name, () => assert.equal(rankLocality(preference, client, w), expected));
});

describe("nearest", () => {
  const at = (uid: string, zone: string, node = "b"): Candidate => ({ port: 80, workload: workload(uid, { locality: { region: "r", zone, subzone: "" }, node }) });
  const client = workload("c", { locality: { region: "r", zone: "z1", subzone: "" }, node: "a" });
  const all = [at("same-zone", "z1"), at("same-zone-2", "z1"), at("other-zone", "z2")];
  const lb = (mode: LoadBalancing["mode"], routingPreference: BalanceScope[]): LoadBalancing => ({ mode, routingPreference, healthPolicy: "only-healthy" });
  const cases: [string, LoadBalancing | undefined, string[]][] = [
    ["no load balancing: everyone", undefined, ["same-zone", "same-zone-2", "other-zone"]],
    ["standard: everyone", lb("standard", ["zone"]), ["same-zone", "same-zone-2", "other-zone"]],
    ["failover: the best rank", lb("failover", ["region", "zone"]), ["same-zone", "same-zone-2"]],
    ["failover: nobody matches, everyone is equal", lb("failover", ["node"]), ["same-zone", "same-zone-2", "other-zone"]],
    ["strict: all scopes", lb("strict", ["region", "zone"]), ["same-zone", "same-zone-2"]],
    ["strict: nobody", lb("strict", ["node"]), []],
  ];
  for (const [name, balancing, expected] of cases)
    it(name, () => assert.deepEqual(nearest(all, balancing, client).map((c) => c.workload.uid), expected));
});

describe("pickWeighted", () => {
  const weight = (x: readonly [string, number]) => x[1];
  it("never chooses weight 0", () => {
    for (const r of [0, 0.5, 0.999999]) assert.equal(pickWeighted([["zero", 0], ["one", 1], ["nil", 0]] as const, weight, () => r)?.[0], "one");
  });
  it("fails when all weigh nothing", () => assert.equal(pickWeighted([["a", 0]] as const, weight, () => 0), undefined));
  it("fails on nothing", () => assert.equal(pickWeighted([], () => 1, () => 0), undefined));
  it("is proportional to the weights", () => {
    const seen = new Map<string, number>();
    const n = 40_000;
    for (let i = 0; i < n; i++) {
      const name = pickWeighted([["a", 1], ["b", 3]] as const, weight, () => (i + 0.5) / n)?.[0] ?? "none";
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    assert.deepEqual([...seen], [["a", n / 4], ["b", (n * 3) / 4]]);
  });
  it("survives the largest random number", () => assert.equal(pickWeighted([["a", 0.1], ["b", 0.2]] as const, weight, () => 1 - 2 ** -53)?.[0], "b"));
});

describe("pickForClient", () => {
  const names = (n: number): [string, number][] => Array.from({ length: n }, (_, i) => [`Kubernetes//Pod/ns/web-${i}`, 1]);
  const pick = (items: readonly (readonly [string, number])[], client: string): string | undefined => pickForClient(items, (x) => x[1], (x) => x[0], client)?.[0];
  const clients = Array.from({ length: 6_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  it("chooses the same for the same client, in any order", () => {
    const items = names(5);
    for (const c of clients.slice(0, 100)) assert.equal(pick(items, c), pick(items.toReversed(), c));
  });
  it("spreads clients evenly, and by weight", () => {
    const count = (items: readonly (readonly [string, number])[]) => clients.reduce((m, c) => m.set(pick(items, c) ?? "", (m.get(pick(items, c) ?? "") ?? 0) + 1), new Map<string, number>());
    for (const n of count(names(6)).values()) assert.ok(Math.abs(n - 1000) < 120, String(n));
    const weighted = count([["a", 1], ["b", 3], ["c", 0]]);
    assert.ok(Math.abs((weighted.get("b") ?? 0) - 4500) < 200, String(weighted.get("b")));
    assert.equal(weighted.has("c"), false);
  });
  it("moves only the clients of an item that goes, and only a share to one that comes", () => {
    const [five, six] = [names(5), names(6)];
    const moved = clients.filter((c) => pick(five, c) !== pick(six, c));
    assert.ok(moved.every((c) => pick(six, c) === six[5]?.[0]));
    assert.ok(Math.abs(moved.length - 1000) < 120, String(moved.length));
  });
  it("has nobody to choose", () => assert.deepEqual([pick([], "c"), pick([["a", 0]], "c")], [undefined, undefined]));
});
