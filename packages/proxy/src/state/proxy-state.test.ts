import assert from "node:assert/strict";
import { security, workload } from "@ambit/proto";
import { preparePolicies } from "./prepare.ts";
import type { ProxyState } from "./proxy-state.ts";
import { ip, member, octets, pod, policyBytes, pushWorld, stateOf, svc, wild, type WirePolicy } from "./wire.fixture.ts";

const { TunnelProtocol, WorkloadStatus, LoadBalancing_HealthPolicy: Health } = workload;
const remove = (state: ProxyState, name: string) => state.apply({ changes: [{ kind: "address-removed", name }] });
const at = (state: ProxyState, address: string) => state.workloadAt("", ip(address))?.uid;
const members = (state: ProxyState) => state.endpoints("ns/web").map((e) => e.workload?.name);
const policy = (name: string, more: WirePolicy = {}): WirePolicy => ({ name, namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY, rules: [{ clauses: [] }], ...more });
const kinds = (state: ProxyState, uid = "Kubernetes//Pod/ns/a") => {
  const w = state.workload(uid);
  assert.ok(w);
  const set = state.policiesFor(w);
  return [...set.policies.map((p) => p.name), ...set.missing.map((m) => `${m.reason} ${m.policy}`)];
};

describe("ProxyState: workloads and services in any order", () => {
  it("endpoints wait for their service", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { services: member("web") })] });
    assert.deepEqual([[...state.staged()].map(([key]) => key), members(state)], [["ns/web"], []]);
    pushWorld(state, { services: [svc("web", "10.96.0.1")] });
    assert.deepEqual([[...state.staged()].length, members(state)], [0, ["a"]]);
  });
  it("a service that goes stages its endpoints again", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { services: member("web") })], services: [svc("web", "10.96.0.1")] });
    remove(state, "ns/web");
    assert.deepEqual([state.serviceAt("", ip("10.96.0.1"), "ns"), [...state.staged()].length], [undefined, 1]);
  });
  it("a new version of a workload leaves nothing of the old one", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { services: member("web") })], services: [svc("web", "10.96.0.1")] });
    pushWorld(state, { workloads: [pod("a", "10.0.0.2")] });
    assert.deepEqual([at(state, "10.0.0.1"), at(state, "10.0.0.2"), members(state)], [undefined, "Kubernetes//Pod/ns/a", []]);
  });
  it("a removal by name finds workloads, then services", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1")], services: [svc("web", "10.96.0.1")] });
    remove(state, "Kubernetes//Pod/ns/a");
    remove(state, "ns/web");
    remove(state, "never/was");
    assert.deepEqual([[...state.workloads()], [...state.services()]], [[], []]);
  });
  it("a changed health policy filters the endpoints anew", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { services: member("web"), status: WorkloadStatus.UNHEALTHY })], services: [svc("web", "10.96.0.1")] });
    assert.deepEqual(members(state), []);
    pushWorld(state, { services: [svc("web", "10.96.0.1", { loadBalancing: { healthPolicy: Health.ALLOW_ALL } })] });
    assert.deepEqual(members(state), ["a"]);
  });
});

describe("ProxyState: who owns an address", () => {
  const entry = (name: string, tunnel: workload.TunnelProtocol) => pod(name, "10.0.0.1", { uid: `Kubernetes/networking.istio.io/WorkloadEntry/ns/${name}`, tunnelProtocol: tunnel });
  const hbonePod = pod("p", "10.0.0.1");
  const plainPod = pod("q", "10.0.0.1", { tunnelProtocol: TunnelProtocol.NONE });
  const cases: [string, ReturnType<typeof pod>[], string][] = [
    ["an HBONE pod over a plain pod", [hbonePod, plainPod], "p"],
    ["a plain pod over an HBONE entry", [plainPod, entry("e", TunnelProtocol.HBONE)], "q"],
    ["an HBONE entry over a plain entry", [entry("e", TunnelProtocol.HBONE), entry("f", TunnelProtocol.NONE)], "e"],
    ["the later of two equals", [pod("old", "10.0.0.1"), pod("new", "10.0.0.1")], "new"],
  ];
  for (const [name, workloads, expected] of cases) it(name, () => assert.equal(stateOf({ workloads }).workloadAt("", ip("10.0.0.1"))?.name, expected));
  it("the loser takes over when the winner goes", () => {
    const state = stateOf({ workloads: [hbonePod, plainPod] });
    remove(state, "Kubernetes//Pod/ns/p");
    assert.equal(at(state, "10.0.0.1"), "Kubernetes//Pod/ns/q");
  });
});

describe("ProxyState: which service a client sees", () => {
  const named = (namespace: string, more = {}) => svc("web", "10.96.0.1", { namespace, canonical: false, ...more });
  const seen = (services: ReturnType<typeof svc>[], namespace = "ns") => stateOf({ services }).serviceAt("", ip("10.96.0.1"), namespace)?.namespace;
  it("its own namespace's first", () => assert.equal(seen([named("other", { canonical: true }), named("ns")]), "ns"));
  it("then the canonical one", () => assert.equal(seen([named("a"), named("b", { canonical: true })]), "b"));
  it("then the first", () => assert.equal(seen([named("a"), named("b")]), "a"));
  it("never one that is hidden from it", () => assert.equal(seen([named("other", { visibility: workload.Service_Visibility.NAMESPACE })]), undefined));
  it("among CIDRs the longest prefix, unless its own namespace has one", () => {
    const block = (host: string, address: string, length: number, namespace = "other") => svc(host, "", { namespace, addresses: [{ address: octets(address), length }] });
    const look = (services: ReturnType<typeof svc>[]) => stateOf({ services }).serviceAt("", ip("10.1.2.3"), "ns")?.hostname;
    assert.equal(look([block("wide", "10.0.0.0", 8), block("narrow", "10.1.0.0", 16)]), "narrow");
    assert.equal(look([block("mine", "10.0.0.0", 8, "ns"), block("narrow", "10.1.0.0", 16)]), "mine");
    assert.equal(look([block("wide", "10.0.0.0", 8), svc("exact", "10.1.2.3")]), "exact");
  });
});

describe("ProxyState: which policies apply", () => {
  const refuse = (p: WirePolicy) => preparePolicies({ removed: [], upserts: [{ name: `ns/${p.name}`, bytes: policyBytes({ ...p, action: wild(9) }) }] }).batch;
  it("global, own namespace, and those the workload names", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { authorizationPolicies: ["ns/mine"] })], policies: [
      policy("everywhere", { namespace: "istio-system", scope: security.Scope.GLOBAL }), policy("here"), policy("there", { namespace: "other" }),
      policy("mine", { scope: security.Scope.WORKLOAD_SELECTOR }), policy("not-mine", { scope: security.Scope.WORKLOAD_SELECTOR }),
    ] });
    assert.deepEqual(kinds(state), ["everywhere", "here", "mine"]);
  });
  it("one that is named and unknown is missing, until it comes", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { authorizationPolicies: ["ns/mine"] })] });
    assert.deepEqual(kinds(state), ["unknown ns/mine"]);
    pushWorld(state, { policies: [policy("mine", { scope: security.Scope.WORKLOAD_SELECTOR })] });
    assert.deepEqual(kinds(state), ["mine"]);
  });
  it("one that was refused is missing where it would apply", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", { namespace: "other", uid: "b" })] });
    state.apply(refuse(policy("bad")));
    assert.deepEqual([kinds(state), kinds(state, "b")], [["rejected ns/bad"], []]);
  });
  it("one that could not be read at all is missing in its namespace, and wherever it is named", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { authorizationPolicies: ["ns/torn"] }), pod("b", "10.0.0.2", { namespace: "other", uid: "b", authorizationPolicies: ["ns/torn"] }), pod("c", "10.0.0.3", { namespace: "other", uid: "c" })] });
    state.apply(preparePolicies({ removed: [], upserts: [], misfits: ["ns/torn"] }).batch);
    assert.deepEqual([kinds(state), kinds(state, "b"), kinds(state, "c")], [["rejected ns/torn"], ["rejected ns/torn"], []]);
  });
  it("after a refused update the last good version stays", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1")], policies: [policy("p")] });
    state.apply(refuse(policy("p")));
    assert.deepEqual(kinds(state), ["p"]);
  });
  it("a refused one that is removed applies no more", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1")] });
    state.apply(refuse(policy("bad")));
    state.apply({ changes: [{ kind: "policy-removed", key: "ns/bad" }] });
    assert.deepEqual(kinds(state), []);
  });
  it("a refused dry run denies nobody", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1")] });
    state.apply(refuse(policy("bad", { dryRun: true })));
    assert.deepEqual(kinds(state), []);
  });
});

describe("ProxyState: local things", () => {
  it("identities of local HBONE workloads, once each", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1", { serviceAccount: "x" }), pod("b", "10.0.0.2", { serviceAccount: "x" }), pod("far", "10.0.0.3", { node: "n2" }), pod("plain", "10.0.0.4", { tunnelProtocol: TunnelProtocol.NONE })] });
    assert.deepEqual(state.localIdentities().map((i) => i.serviceAccount), ["x"]);
  });
  it("a pod of the same name in another cluster is not ours", () => {
    const state = stateOf({ workloads: [pod("a", "10.0.0.1"), pod("a", "10.9.0.1", { uid: "other//Pod/ns/a", node: "elsewhere", clusterId: "other" })] });
    assert.equal(state.workloadOfPod({ name: "a", namespace: "ns", serviceAccount: "a" })?.clusterId, "Kubernetes");
  });
  it("says what a batch changed", () => {
    const state = stateOf({ services: [svc("web", "10.96.0.1")] });
    const seen: string[] = [];
    const stop = state.onApplied((a) => seen.push(`${[...a.workloads].join()} ${[...a.services].join()} ${a.policies}`));
    pushWorld(state, { workloads: [pod("a", "10.0.0.1", { uid: "a", services: member("web") })] });
    stop();
    pushWorld(state, { policies: [policy("p")] });
    assert.deepEqual(seen, ["a ns/web false", "  false"]);
  });
});
