import assert from "node:assert/strict";
import type { Identity, WaypointConfig } from "@ambit/core";
import { at, member, pod, stateOf, svc, type World } from "@ambit/proxy/testing";
import { planConnect, type ConnectFacts } from "./connection.ts";

const CLIENT: Identity = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "client" };
const world: World = {
  services: [svc("web.shop.svc.cluster.local", "10.96.0.1", { namespace: "shop", name: "web" }), svc("free.shop.svc.cluster.local", "10.96.0.2", { namespace: "shop", name: "free" })],
  workloads: [
    pod("client", "10.0.0.1", { namespace: "shop", serviceAccount: "client" }),
    pod("web", "10.0.0.2", { namespace: "shop", services: member("web.shop.svc.cluster.local"), waypoint: { destination: { case: "hostname", value: { namespace: "shop", hostname: "waypoint.shop.svc.cluster.local" } }, hboneMtlsPort: 15008 } }),
    pod("alone", "10.0.0.3", { namespace: "shop" }),
  ],
};
const config = (more: Partial<WaypointConfig> = {}): WaypointConfig => ({
  namespace: "shop", name: "waypoint", serves: "all", services: new Map([["shop/web.shop.svc.cluster.local", { producer: new Map(), consumers: new Map() }]]), ...more,
} as WaypointConfig);
const facts = (target: string, more: Partial<ConnectFacts> = {}): ConnectFacts => ({
  id: "c1", peer: CLIENT, source: at("10.0.0.1:40000"), network: "",
  target: target.startsWith("1") ? { kind: "address", address: at(target) } : { kind: "hostname", hostname: target.split(":")[0] ?? "", port: Number(target.split(":")[1]) }, ...more,
});
function said(c: WaypointConfig | undefined, f: ConnectFacts): string {
  const plan = planConnect(stateOf(world).view(), c, f);
  if (plan.kind === "refuse") return `${plan.code}: ${plan.message}`;
  const d = plan.facts.destination;
  return d.kind === "service" ? `service ${d.service.name} ${plan.facts.address.port}` : `workload ${d.workload.name} ${plan.facts.address.port}`;
}

describe("a CONNECT at a waypoint", () => {
  const cases: [string, WaypointConfig | undefined, ConnectFacts, RegExp][] = [
    ["for a service that is bound", config(), facts("10.96.0.1:80"), /^service web 80$/],
    ["by its host name", config(), facts("web.shop.svc.cluster.local:80"), /^service web 80$/],
    ["for a service that is not bound", config(), facts("10.96.0.2:80"), /^not-served: .*free.* is not bound to waypoint shop\/waypoint/],
    ["for a host name nobody has", config(), facts("gone.shop.svc.cluster.local:80"), /^not-served/],
    ["for a port the service does not have", config(), facts("10.96.0.1:81"), /^no-such-port: .*no port 81, only 80/],
    ["for a service, while it serves workloads", config({ serves: "workload" }), facts("10.96.0.1:80"), /^not-served: .*does not serve services/],
    ["for a workload that is bound", config(), facts("10.0.0.2:8080"), /^workload web 8080$/],
    ["for a workload, while it serves services", config({ serves: "service" }), facts("10.0.0.2:8080"), /^not-served: .*serves services, not workloads/],
    ["for a workload that is not bound", config(), facts("10.0.0.3:8080"), /^not-served: .*is not bound/],
    ["for an address nobody has", config(), facts("10.9.9.9:80"), /^not-served: nothing in the mesh/],
    ["before any configuration", undefined, facts("10.96.0.1:80"), /^no-configuration/],
  ];
  for (const [name, c, f, expected] of cases) it(name, () => assert.match(said(c, f), expected));

  it("takes the workload at the client's address only with the identity that was proved", () => {
    const of = (peer: Identity) => {
      const plan = planConnect(stateOf(world).view(), config(), facts("10.96.0.1:80", { peer }));
      assert.ok(plan.kind === "serve");
      return plan.facts.sourceWorkload?.name;
    };
    assert.equal(of(CLIENT), "client");
    assert.equal(of({ ...CLIENT, serviceAccount: "thief" }), undefined);
  });
});
