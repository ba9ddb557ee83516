import assert from "node:assert/strict";
import { Graph, type Collection, type Source } from "@ambit/collections";
import type { Policy, Workload } from "@ambit/core";
import type { Clock, Timer } from "@ambit/runtime";
import type { ResourceSource } from "@ambit/xds";
import { serviceAddress, workloadAddress, type Address } from "../collections/addresses.ts";
import type { ServiceInfo } from "../collections/services.ts";
import { addressSource } from "./address.ts";
import { authorizationSource, REMOVE_AFTER_MS } from "./authorization.ts";
import { createTicker, GAP_MAX_MS, GAP_MIN_MS } from "./debounce.ts";
import { encodeAddress, encodePolicy } from "./encode.ts";

/** Time moves by hand; tasks run in the order of their time. */
function handClock(): Clock & { advance(ms: number): void; block(ms: number): void } {
  let now = 0;
  const tasks = new Set<{ at: number; run: () => void }>();
  return {
    now: () => now, monotonic: () => now, every: () => ({ cancel: () => undefined }),
    sleep: () => { throw new Error("nothing here sleeps"); },
    after: (ms, run): Timer => {
      const task = { at: now + ms, run };
      tasks.add(task);
      return { cancel: () => void tasks.delete(task) };
    },
    /** Work that holds up everything else. */
    block: (ms) => void (now += ms),
    advance: (ms) => {
      const end = now + ms;
      for (;;) {
        const [next] = [...tasks].filter((t) => t.at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        tasks.delete(next);
        now = Math.max(now, next.at);
        next.run();
      }
      now = Math.max(now, end);
    },
  };
}

const workload = (name: string, over: Partial<Workload> = {}): Address => workloadAddress({
  uid: `c//Pod/ns/${name}`, name, namespace: "ns", addresses: ["10.0.0.1" as Workload["addresses"][number]], hostname: "", network: "", protocol: "hbone", nativeTunnel: false,
  identity: { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "sa" }, waypoint: undefined, networkGateway: undefined, node: "n", canonicalName: name, canonicalRevision: "latest",
  workloadType: "pod", workloadName: name, authorizationPolicies: [], healthy: true, clusterId: "c", services: new Map(), applicationTunnel: undefined,
  locality: { region: "", zone: "", subzone: "" }, hostNetwork: false, capacity: 1, ...over,
});
const service = (name: string): Address => serviceAddress({
  key: `ns/${name}`, ingressUseWaypoint: false, selector: undefined, ports: [], binding: { kind: "none" }, owner: { kind: "Service", namespace: "ns", name, created: "" },
  service: { name, namespace: "ns", hostname: name, vips: [{ network: "", cidr: { ip: "10.96.0.1" as Workload["addresses"][number], prefix: 32 } }], ports: new Map(), subjectAltNames: [], waypoint: undefined,
    weightedWaypoints: [], loadBalancing: undefined, ipFamilies: "ipv4", canonical: true, visibility: "public" },
} satisfies ServiceInfo);
const policy = (name: string, scope: Policy["scope"] = "workload"): Policy => ({ name, namespace: "ns", scope, action: "deny", rules: [{ clauses: [] }], dryRun: false });

function rig() {
  const g = new Graph();
  const clock = handClock();
  const ticker = createTicker(clock);
  const policies: Source<Policy> = g.source("policies", { key: (p: Policy) => `ns/${p.name}` });
  const addresses: Source<Address> = g.source("addresses", { key: (a: Address) => a.name });
  const authorization = authorizationSource(policies, ticker, clock);
  const address = addressSource(addresses, ticker);
  const heard: string[] = [];
  const listen = (source: ResourceSource) => source.onChange((changed, removed) => heard.push(...[...changed].map((n) => `+${n}`), ...[...removed].map((n) => `-${n}`)));
  listen(authorization);
  listen(address);
  return { g, clock, policies, addresses, authorization, address, heard, names: (s: ResourceSource) => [...s.all()].map((r) => r.name) };
}

describe("pushed resources", () => {
  it("go at once after a quiet moment, then gather for one gap, policies first", () => {
    const r = rig();
    r.addresses.set(workload("a"));
    r.policies.set(policy("p"));
    assert.deepEqual(r.heard, []);
    r.clock.advance(0);
    assert.deepEqual(r.heard, ["+ns/p", "+c//Pod/ns/a"]);
    r.addresses.set(workload("b"));
    r.clock.advance(GAP_MIN_MS - 1);
    assert.deepEqual(r.names(r.address), ["c//Pod/ns/a"]);
    r.clock.advance(1);
    assert.deepEqual(r.heard.slice(2), ["+c//Pod/ns/b"]);
    r.clock.advance(1000);
    assert.equal(r.heard.length, 3);
  });
  it("come less and less often in a storm, down to a bound, and at once again after it", () => {
    const r = rig();
    const at: number[] = [];
    r.address.onChange(() => at.push(r.clock.now()));
    for (let ms = 0; ms < 1000; ms++) {
      r.addresses.set(workload(`w${ms}`));
      r.clock.advance(1);
    }
    const gaps = at.slice(1).map((t, i) => t - (at[i] ?? 0));
    assert.deepEqual(gaps.slice(0, 5), [10, 20, 40, 80, 100]);
    assert.ok(gaps.slice(4).every((g) => g === GAP_MAX_MS), gaps.join());
    r.clock.advance(GAP_MAX_MS * 2 + 1);
    at.length = 0;
    const quiet = r.clock.now();
    r.addresses.set(workload("alone"));
    r.clock.advance(0);
    assert.deepEqual(at, [quiet]);
  });
  it("let a policy through a storm of workloads after the shortest gap", () => {
    const r = rig();
    for (let ms = 0; ms < 500; ms++) {
      r.addresses.set(workload(`w${ms}`));
      r.clock.advance(1);
    }
    // Right after a push, when workloads would wait the longest.
    const before = r.heard.length;
    for (let ms = 0; r.heard.length === before; ms++) {
      r.addresses.set(workload(`x${ms}`));
      r.clock.advance(1);
    }
    r.policies.set(policy("deny"));
    r.clock.advance(GAP_MIN_MS);
    assert.ok(r.heard.includes("+ns/deny"));
  });
  it("rest in proportion when a push keeps the process busy", () => {
    const r = rig();
    r.address.onChange(() => r.clock.block(50));
    const at: number[] = [];
    r.address.onChange(() => at.push(r.clock.now()));
    for (let ms = 0; ms < 2000; ms += 5) {
      r.addresses.set(workload(`w${ms}`));
      r.clock.advance(5);
    }
    const gaps = at.slice(2).map((t, i) => t - (at[i + 1] ?? 0));
    assert.ok(gaps.length > 3 && gaps.every((g) => g >= 4 * 50), gaps.join());
  });
  it("are silent about what came and went within a tick, and about equal bytes", () => {
    const r = rig();
    r.addresses.set(workload("a"));
    r.addresses.delete("c//Pod/ns/a");
    r.clock.advance(GAP_MAX_MS);
    r.addresses.set(workload("b", { services: new Map([["x/1", new Map([[1, 2]])], ["x/2", new Map()]]) }));
    r.clock.advance(GAP_MAX_MS);
    // The same content in another order.
    r.addresses.set(workload("b", { services: new Map([["x/2", new Map()], ["x/1", new Map([[1, 2]])]]) }));
    r.clock.advance(GAP_MAX_MS);
    assert.deepEqual(r.heard, ["+c//Pod/ns/b"]);
  });
  it("keep their version while their content stays, and change it otherwise", () => {
    const r = rig();
    const version = () => r.address.get("c//Pod/ns/a")[0]?.version;
    r.addresses.set(workload("a"));
    r.clock.advance(GAP_MAX_MS);
    const first = version();
    assert.match(first ?? "", /^[0-9a-f]{16}$/);
    r.addresses.set(workload("a", { healthy: false }));
    r.clock.advance(GAP_MAX_MS);
    assert.notEqual(version(), first);
    r.addresses.set(workload("a"));
    r.clock.advance(GAP_MAX_MS);
    assert.equal(version(), first);
  });
  it("answer to a VIP or hostname with the service and its workloads, to a pod's address with the workload", () => {
    const r = rig();
    r.addresses.set(service("s"));
    r.addresses.set(workload("a", { services: new Map([["ns/s", new Map()]]) }));
    r.addresses.set(workload("host", { hostNetwork: true, addresses: ["10.0.0.9" as Workload["addresses"][number]] }));
    r.clock.advance(GAP_MAX_MS);
    const names = (n: string) => r.address.get(n).map((x) => x.name);
    assert.deepEqual(names("/10.96.0.1"), ["ns/s", "c//Pod/ns/a"]);
    assert.deepEqual(names("ns/s"), ["ns/s", "c//Pod/ns/a"]);
    assert.deepEqual(names("/10.0.0.1"), ["c//Pod/ns/a"]);
    assert.deepEqual(names("/10.0.0.9"), []);
    assert.deepEqual(names("nothing"), []);
    r.addresses.set(workload("a"));
    r.clock.advance(GAP_MAX_MS);
    assert.deepEqual(names("ns/s"), ["ns/s"]);
  });
  it("belong to the node they run on", () => {
    const r = rig();
    r.addresses.set(workload("a"));
    r.addresses.set(workload("b", { node: "other" }));
    r.addresses.set(service("s"));
    r.clock.advance(0);
    assert.deepEqual(r.address.onNode?.("n"), ["c//Pod/ns/a"]);
    r.addresses.set(workload("a", { node: "other" }));
    r.clock.advance(GAP_MAX_MS);
    assert.deepEqual([r.address.onNode?.("n"), r.address.onNode?.("other")], [[], ["c//Pod/ns/b", "c//Pod/ns/a"]]);
  });
  it("are found and mended by an audit when a change got lost", () => {
    const g = new Graph();
    const real: Source<Address> = g.source("addresses", { key: (a: Address) => a.name });
    let deaf = false;
    const lossy: Collection<Address> = { name: "lossy", get size() { return real.size; }, get: (k) => real.get(k), list: () => real.list(), keys: () => real.keys(), onChange: (l) => real.onChange((c) => { if (!deaf) l(c); }) };
    const clock = handClock();
    const source = addressSource(lossy, createTicker(clock));
    const heard: string[] = [];
    source.onChange((changed, removed) => heard.push(...[...changed].map((n) => `+${n}`), ...[...removed].map((n) => `-${n}`)));
    for (const n of ["a", "b", "c"]) real.set(workload(n));
    clock.advance(0);
    assert.deepEqual(source.audit(10), []);
    heard.length = 0;
    deaf = true;
    real.set(workload("a", { healthy: false }));
    real.delete("c//Pod/ns/b");
    real.set(workload("d"));
    deaf = false;
    clock.advance(1000);
    assert.deepEqual(heard, []);
    const found = [...Array(4)].flatMap(() => source.audit(2));
    assert.deepEqual(found.sort(), ["c//Pod/ns/a", "c//Pod/ns/b", "c//Pod/ns/d"]);
    clock.advance(GAP_MAX_MS);
    assert.deepEqual(heard.sort(), ["+c//Pod/ns/a", "+c//Pod/ns/d", "-c//Pod/ns/b"]);
    assert.deepEqual([...Array(8)].flatMap(() => source.audit(2)), []);
  });
  it("that are on their way are not taken for lost", () => {
    const r = rig();
    r.policies.set(policy("p"));
    r.addresses.set(workload("a"));
    assert.deepEqual([r.address.audit(10), r.authorization.audit(10)], [[], []]);
    r.clock.advance(GAP_MAX_MS);
    r.policies.delete("ns/p");
    r.clock.advance(GAP_MAX_MS);
    assert.deepEqual([r.address.audit(10), r.authorization.audit(10), r.names(r.authorization)], [[], [], ["ns/p"]]);
  });
  it("let a policy that workloads list go only after them, others at once", () => {
    const r = rig();
    r.policies.set(policy("listed"));
    r.policies.set(policy("wide", "namespace"));
    r.clock.advance(GAP_MAX_MS);
    r.heard.length = 0;
    r.policies.delete("ns/listed");
    r.policies.delete("ns/wide");
    r.addresses.set(workload("a"));
    r.clock.advance(GAP_MAX_MS);
    assert.deepEqual(r.heard, ["-ns/wide", "+c//Pod/ns/a"]);
    r.clock.advance(REMOVE_AFTER_MS + GAP_MAX_MS);
    assert.deepEqual(r.heard.slice(2), ["-ns/listed"]);
    assert.deepEqual(r.names(r.authorization), []);
  });
  it("do not let a policy go that came back in the meantime", () => {
    const r = rig();
    r.policies.set(policy("p"));
    r.clock.advance(GAP_MAX_MS);
    r.policies.delete("ns/p");
    r.clock.advance(100);
    r.policies.set({ ...policy("p"), action: "allow" });
    r.clock.advance(REMOVE_AFTER_MS * 2);
    assert.deepEqual(r.heard, ["+ns/p", "+ns/p"]);
    r.policies.delete("ns/p");
    r.clock.advance(REMOVE_AFTER_MS + 2 * GAP_MAX_MS);
    assert.deepEqual(r.heard.slice(2), ["-ns/p"]);
  });
});

describe("encoding", () => {
  it("gives equal bytes for equal content, whatever the order of maps and name lists", () => {
    const make = (flip: boolean): Address => {
      const order = <T>(list: T[]): T[] => (flip ? list.reverse() : list);
      return workload("a", { services: new Map(order<[string, Map<number, number>]>([["x/1", new Map(order<[number, number]>([[1, 2], [3, 4]]))], ["x/2", new Map()]])) });
    };
    assert.deepEqual(encodeAddress(make(false)), encodeAddress(make(true)));
    assert.deepEqual(encodePolicy(policy("p")), encodePolicy(policy("p")));
  });
});
