import assert from "node:assert/strict";
import { Graph, type Source } from "@ambit/collections";
import type { Policy, Workload } from "@ambit/core";
import type { Clock, Timer } from "@ambit/runtime";
import type { ResourceSource } from "@ambit/xds";
import { serviceAddress, workloadAddress, type Address } from "../collections/addresses.ts";
import type { ServiceInfo } from "../collections/services.ts";
import { addressSource } from "./address.ts";
import { authorizationSource, REMOVE_AFTER_MS } from "./authorization.ts";
import { createTicker, TICK_MS } from "./debounce.ts";
import { encodeAddress, encodePolicy } from "./encode.ts";

/** Time moves by hand; tasks run in the order of their time. */
function handClock(): Clock & { advance(ms: number): void } {
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
    advance: (ms) => {
      const end = now + ms;
      for (;;) {
        const [next] = [...tasks].filter((t) => t.at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        tasks.delete(next);
        now = next.at;
        next.run();
      }
      now = end;
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
  it("gather for one tick, policies first", () => {
    const r = rig();
    r.addresses.set(workload("a"));
    r.policies.set(policy("p"));
    r.clock.advance(TICK_MS - 1);
    r.addresses.set(workload("b"));
    assert.deepEqual(r.heard, []);
    assert.deepEqual(r.names(r.address), []);
    r.clock.advance(1);
    assert.deepEqual(r.heard, ["+ns/p", "+c//Pod/ns/a", "+c//Pod/ns/b"]);
    r.clock.advance(1000);
    assert.equal(r.heard.length, 3);
  });
  it("are silent about what came and went within a tick, and about equal bytes", () => {
    const r = rig();
    r.addresses.set(workload("a"));
    r.addresses.delete("c//Pod/ns/a");
    r.clock.advance(TICK_MS);
    r.addresses.set(workload("b", { services: new Map([["x/1", new Map([[1, 2]])], ["x/2", new Map()]]) }));
    r.clock.advance(TICK_MS);
    // The same content in another order.
    r.addresses.set(workload("b", { services: new Map([["x/2", new Map()], ["x/1", new Map([[1, 2]])]]) }));
    r.clock.advance(TICK_MS);
    assert.deepEqual(r.heard, ["+c//Pod/ns/b"]);
  });
  it("keep their version while their content stays, and change it otherwise", () => {
    const r = rig();
    const version = () => r.address.get("c//Pod/ns/a")[0]?.version;
    r.addresses.set(workload("a"));
    r.clock.advance(TICK_MS);
    const first = version();
    assert.match(first ?? "", /^[0-9a-f]{16}$/);
    r.addresses.set(workload("a", { healthy: false }));
    r.clock.advance(TICK_MS);
    assert.notEqual(version(), first);
    r.addresses.set(workload("a"));
    r.clock.advance(TICK_MS);
    assert.equal(version(), first);
  });
  it("answer to a VIP or hostname with the service and its workloads, to a pod's address with the workload", () => {
    const r = rig();
    r.addresses.set(service("s"));
    r.addresses.set(workload("a", { services: new Map([["ns/s", new Map()]]) }));
    r.addresses.set(workload("host", { hostNetwork: true, addresses: ["10.0.0.9" as Workload["addresses"][number]] }));
    r.clock.advance(TICK_MS);
    const names = (n: string) => r.address.get(n).map((x) => x.name);
    assert.deepEqual(names("/10.96.0.1"), ["ns/s", "c//Pod/ns/a"]);
    assert.deepEqual(names("ns/s"), ["ns/s", "c//Pod/ns/a"]);
    assert.deepEqual(names("/10.0.0.1"), ["c//Pod/ns/a"]);
    assert.deepEqual(names("/10.0.0.9"), []);
    assert.deepEqual(names("nothing"), []);
    r.addresses.set(workload("a"));
    r.clock.advance(TICK_MS);
    assert.deepEqual(names("ns/s"), ["ns/s"]);
  });
  it("let a policy that workloads list go only after them, others at once", () => {
    const r = rig();
    r.policies.set(policy("listed"));
    r.policies.set(policy("wide", "namespace"));
    r.clock.advance(TICK_MS);
    r.heard.length = 0;
    r.policies.delete("ns/listed");
    r.policies.delete("ns/wide");
    r.addresses.set(workload("a"));
    r.clock.advance(TICK_MS);
    assert.deepEqual(r.heard, ["-ns/wide", "+c//Pod/ns/a"]);
    r.clock.advance(REMOVE_AFTER_MS + TICK_MS);
    assert.deepEqual(r.heard.slice(2), ["-ns/listed"]);
    assert.deepEqual(r.names(r.authorization), []);
  });
  it("do not let a policy go that came back in the meantime", () => {
    const r = rig();
    r.policies.set(policy("p"));
    r.clock.advance(TICK_MS);
    r.policies.delete("ns/p");
    r.clock.advance(100);
    r.policies.set({ ...policy("p"), action: "allow" });
    r.clock.advance(REMOVE_AFTER_MS * 2);
    assert.deepEqual(r.heard, ["+ns/p", "+ns/p"]);
    r.policies.delete("ns/p");
    r.clock.advance(REMOVE_AFTER_MS + 2 * TICK_MS);
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
