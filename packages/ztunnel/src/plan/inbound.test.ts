import assert from "node:assert/strict";
import { formatSocketAddress } from "@ambit/core";
import { workload } from "@ambit/proto";
import { NOTHING_GATHERED, type InboundFacts, type PassthroughFacts, type Target } from "../facts.ts";
import { at, member, pod, stateOf, svc, waypointAt, type World } from "@ambit/proxy/testing";
import { planInbound, planPassthrough, type InboundPlan } from "./inbound.ts";

const SERVER = { name: "server", namespace: "ns", serviceAccount: "server" };
const server = (more = {}) => pod("server", "10.0.0.2", { services: member("web"), ...more });
const WEB = svc("web", "10.96.0.1");
const address = (t: string): Target => ({ kind: "address", address: at(t) });
const host = (hostname: string, port: number): Target => ({ kind: "hostname", hostname, port });

function inbound(world: World, target: Target, facts: Partial<InboundFacts> = {}): InboundPlan {
  return planInbound(stateOf(world).view(), { pod: SERVER, source: at("10.0.0.1:40000"), listener: at("10.0.0.2:15008"), target, network: "", forwardedHost: undefined, gathered: NOTHING_GATHERED, tunnelsOnLoopback: true, ...facts });
}
const passthrough = (world: World, to: string, facts: Partial<PassthroughFacts> = {}): InboundPlan =>
  planPassthrough(stateOf(world).view(), { pod: SERVER, source: at("10.0.0.1:40000"), original: at(to), network: "", ...facts });

/** `NEXT-HOP as SOURCE`, with the PROXY destination if one is announced. */
function line(p: InboundPlan): string {
  if (p.kind === "deny") return `deny ${p.code}`;
  if (p.kind === "need") return p.need.kind === "address" ? `need address ${p.need.name}` : `need ${p.need.kind}`;
  return `${formatSocketAddress(p.nextHop)} as ${p.source ?? "-"}${p.proxyHeader === undefined ? "" : ` proxy ${formatSocketAddress(p.proxyHeader)}`}`;
}

describe("planInbound", () => {
  const both = { workloads: [server()], services: [WEB] };
  const tunnel = (protocol: workload.ApplicationTunnel_Protocol, port: number): World => ({ workloads: [server({ applicationTunnel: { protocol, port } })], services: [WEB] });
  const { NONE, PROXY } = workload.ApplicationTunnel_Protocol;
  const cases: [string, World, Target, string][] = [
    ["our own address", both, address("10.0.0.2:8080"), "10.0.0.2:8080 as 10.0.0.1"],
    ["another address", both, address("10.0.0.3:8080"), "deny destination-mismatch"],
    ["loopback", both, address("127.0.0.1:8080"), "deny destination-mismatch"],
    ["a service's VIP, without being its waypoint", both, address("10.96.0.1:80"), "deny destination-mismatch"],
    ["our own ports", both, address("10.0.0.2:15001"), "deny self-call"],
    ["the tunnel port itself", both, address("10.0.0.2:15008"), "deny self-call"],
    ["our workload is not known", {}, address("10.0.0.2:8080"), "need own-workload"],
    ["a hostname with the endpoint's own mapping", { workloads: [server({ services: member("web", { 80: 9999 }) })], services: [WEB] }, host("web", 80), "10.0.0.2:9999 as 10.0.0.1"],
    ["a hostname with the service's target", { workloads: [server({ services: {} })], services: [WEB] }, host("web", 80), "10.0.0.2:8080 as 10.0.0.1"],
    ["an unknown hostname", both, host("nobody", 80), "deny unknown-host"],
    ["a port that the service does not have", both, host("web", 81), "deny no-such-port"],
    ["a hostname whose target is one of our ports", { workloads: [server({ services: member("web", { 80: 15006 }) })], services: [WEB] }, host("web", 80), "deny self-call"],
    ["an application tunnel without protocol moves the port", tunnel(NONE, 9000), address("10.0.0.2:8080"), "10.0.0.2:9000 as 10.0.0.1"],
    ["a PROXY tunnel goes to loopback and names the authority", tunnel(PROXY, 15088), address("10.96.0.7:80"), "127.0.0.1:15088 as - proxy 10.96.0.7:80"],
    ["a PROXY tunnel without a port keeps the authority's", tunnel(PROXY, 0), address("10.96.0.7:80"), "127.0.0.1:80 as - proxy 10.96.0.7:80"],
    ["a PROXY tunnel for a hostname names its VIP", tunnel(PROXY, 15088), host("web", 80), "127.0.0.1:15088 as - proxy 10.96.0.1:80"],
    ["an enrolled waypoint takes what it fronts, service", { workloads: [server()], services: [svc("web", "10.96.0.1", { ports: [{ servicePort: 15008, targetPort: 15008 }] }), svc("app", "10.96.0.7", { waypoint: waypointAt("web") })] }, address("10.96.0.7:80"), "10.0.0.2:80 as 10.0.0.1"],
    ["an enrolled waypoint takes what it fronts, workload", { workloads: [server(), pod("app", "10.0.0.7", { waypoint: waypointAt("web") })], services: [WEB] }, address("10.0.0.7:80"), "10.0.0.2:80 as 10.0.0.1"],
    ["what another waypoint fronts", { workloads: [server(), pod("app", "10.0.0.7", { waypoint: waypointAt("other") })], services: [WEB] }, address("10.0.0.7:80"), "deny destination-mismatch"],
  ];
  for (const [name, world, target, expected] of cases) it(`${name} → ${expected}`, () => assert.equal(line(inbound(world, target)), expected));

  describe("on demand", () => {
    const member_ = { workloads: [server()] };
    const nothing = { gathered: { hosts: new Map(), absent: new Set<string>() } };
    const demand: [string, World, Target, Partial<InboundFacts>, string][] = [
      ["our own address needs nothing", member_, address("10.0.0.2:8080"), nothing, "10.0.0.2:8080 as 10.0.0.1"],
      ["another address: who owns it?", member_, address("10.0.0.7:80"), nothing, "need address /10.0.0.7"],
      ["… nobody", member_, address("10.0.0.7:80"), { gathered: { hosts: new Map(), absent: new Set(["/10.0.0.7"]) } }, "deny destination-mismatch"],
      ["a hostname of a service that we belong to", member_, host("web", 80), nothing, "need address ns/web"],
      ["another hostname, in our namespace", member_, host("other", 80), nothing, "need address ns/other"],
      ["… that is not there", member_, host("other", 80), { gathered: { hosts: new Map(), absent: new Set(["ns/other"]) } }, "deny unknown-host"],
    ];
    for (const [name, world, target, facts, expected] of demand) it(`${name} → ${expected}`, () => assert.equal(line(inbound(world, target, facts)), expected));
  });

  it("a PROXY tunnel goes to the pod's address where loopback is switched off", () =>
    assert.equal(line(inbound(tunnel(PROXY, 15088), address("10.96.0.7:80"), { tunnelsOnLoopback: false })), "10.0.0.2:15088 as 10.0.0.1 proxy 10.96.0.7:80"));
  it("a peer with our own address is not spoofed", () => assert.equal(line(inbound(both, address("10.0.0.2:8080"), { source: at("10.0.0.2:40000") })), "10.0.0.2:8080 as -"));
  it("policy is asked about the application's port behind the tunnel", () => {
    const p = inbound(tunnel(PROXY, 15088), address("10.96.0.7:80"));
    assert.deepEqual(p.kind === "forward" && p.authz, { sourceIp: "10.0.0.1", destination: at("10.0.0.2:15088") });
  });
  it("names the service the client named, else the only one with that target", () => {
    const two: World = { workloads: [server({ services: { ...member("web"), ...member("api") } })], services: [WEB, svc("api", "10.96.0.2")] };
    const name = (p: InboundPlan) => (p.kind === "forward" ? p.service?.hostname : undefined);
    assert.equal(name(inbound(both, address("10.0.0.2:8080"))), "web");
    assert.equal(name(inbound(two, address("10.0.0.2:8080"))), undefined);
    assert.equal(name(inbound(two, address("10.0.0.2:8080"), { forwardedHost: "api" })), "api");
    assert.equal(name(inbound(both, address("10.0.0.2:8080"), { forwardedHost: "not-ours" })), "web");
  });
});

describe("planPassthrough", () => {
  const world = { workloads: [server()], services: [WEB] };
  const cases: [string, World, string, string][] = [
    ["an application port", world, "10.0.0.2:8080", "10.0.0.2:8080 as 10.0.0.1"],
    ["one of our ports", world, "10.0.0.2:15001", "deny self-call"],
    ["our workload is not known", {}, "10.0.0.2:8080", "need own-workload"],
  ];
  for (const [name, w, to, expected] of cases) it(`${name} → ${expected}`, () => assert.equal(line(passthrough(w, to)), expected));
});
