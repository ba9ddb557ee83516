import assert from "node:assert/strict";
import { formatIdentity, formatSocketAddress } from "@ambit/core";
import { CLIENT_AFFINITY, workload } from "@ambit/proto";
import { anyPack, durationFromMs, DurationSchema } from "@bufbuild/protobuf/wkt";
import { seededRandom } from "@ambit/runtime";
import type { OutboundFacts } from "../facts.ts";
import { at, ip, member, octets, pod, stateOf, svc, waypointAt, type World } from "@ambit/proxy/testing";
import { planOutbound, type OutboundPlan } from "./outbound.ts";

const { LoadBalancing_Mode: Mode, LoadBalancing_Scope: Scope, LoadBalancing_HealthPolicy: Health, TunnelProtocol, WorkloadStatus, NetworkMode } = workload;
const CLIENT = pod("client", "10.0.0.1");

function plan(world: World, to: string, facts: Partial<OutboundFacts> = {}, seed = 1): OutboundPlan {
  const state = stateOf({ ...world, workloads: [CLIENT, ...(world.workloads ?? [])] });
  return planOutbound(state.view(), {
    pod: { name: "client", namespace: "ns", serviceAccount: "client" }, source: at("10.0.0.1:40000"), listener: at("127.0.0.1:15001"),
    original: at(to), network: "", gathered: { hosts: new Map() }, ...facts,
  }, seededRandom(seed));
}

/** Three strings: protocol, tunnel target, next hop. Or `deny CODE`, `need KIND`. */
function line(p: OutboundPlan): string {
  if (p.kind === "deny") return `deny ${p.code}`;
  if (p.kind === "need") return `need ${p.need.kind}${p.need.kind === "dns" ? ` ${p.need.hostname}` : p.need.kind === "address" ? ` ${p.need.name}` : ""}`;
  if (p.kind === "passthrough") return `tcp - ${formatSocketAddress(p.nextHop)}`;
  const target = p.target.kind === "address" ? formatSocketAddress(p.target.address) : `${p.target.hostname}:${p.target.port}`;
  if (p.kind === "double-tunnel") return `double ${target} ${formatSocketAddress(p.nextHop)} outer ${p.outer.map(formatIdentity).join()} inner ${p.inner.map(formatIdentity).join()}`.replaceAll("spiffe://cluster.local/ns/", "");
  return `${p.hop === "waypoint" ? "waypoint" : "hbone"} ${target} ${formatSocketAddress(p.nextHop)}`;
}

const server = (more = {}) => pod("server", "10.0.0.2", { services: member("web"), ...more });
const WEB = svc("web", "10.96.0.1");
const WAYPOINT_POD = pod("wp", "10.0.0.9", { tunnelProtocol: TunnelProtocol.NONE, services: member("wp", { 15008: 15008 }) });
const WAYPOINT = svc("wp", "10.96.0.9", { ports: [{ servicePort: 15008, targetPort: 15008 }] });

describe("planOutbound: where a connection goes", () => {
  const cases: [string, World, string, string][] = [
    ["an address nobody in the mesh claims", {}, "1.2.3.4:443", "tcp - 1.2.3.4:443"],
    ["a workload that speaks HBONE", { workloads: [server()] }, "10.0.0.2:8080", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a workload that does not", { workloads: [server({ tunnelProtocol: TunnelProtocol.NONE })] }, "10.0.0.2:8080", "tcp - 10.0.0.2:8080"],
    ["a service with an HBONE endpoint", { workloads: [server()], services: [WEB] }, "10.96.0.1:80", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a service with a plain endpoint", { workloads: [server({ tunnelProtocol: TunnelProtocol.NONE })], services: [WEB] }, "10.96.0.1:80", "tcp - 10.0.0.2:8080"],
    ["the endpoint's port map beats the service's target", { workloads: [server({ services: member("web", { 80: 9999 }) })], services: [WEB] }, "10.96.0.1:80", "hbone 10.0.0.2:9999 10.0.0.2:15008"],
    ["a service without endpoints", { services: [WEB] }, "10.96.0.1:80", "deny no-healthy-endpoint"],
    ["a port that the service does not have", { workloads: [server()], services: [WEB] }, "10.96.0.1:81", "deny no-such-port"],
    ["only unhealthy endpoints", { workloads: [server({ status: WorkloadStatus.UNHEALTHY })], services: [WEB] }, "10.96.0.1:80", "deny no-healthy-endpoint"],
    ["unhealthy endpoints that are allowed", { workloads: [server({ status: WorkloadStatus.UNHEALTHY })], services: [svc("web", "10.96.0.1", { loadBalancing: { healthPolicy: Health.ALLOW_ALL } })] }, "10.96.0.1:80", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["an unhealthy workload by its own address", { workloads: [server({ status: WorkloadStatus.UNHEALTHY })] }, "10.0.0.2:8080", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a zero-capacity endpoint", { workloads: [server({ capacity: 0 })], services: [WEB] }, "10.96.0.1:80", "deny no-healthy-endpoint"],
    ["a passthrough service", { workloads: [server()], services: [svc("web", "10.96.0.1", { loadBalancing: { mode: Mode.PASSTHROUGH } })] }, "10.96.0.1:80", "tcp - 10.96.0.1:80"],
    ["strict locality that nobody meets", { workloads: [server({ node: "n2" })], services: [svc("web", "10.96.0.1", { loadBalancing: { mode: Mode.STRICT, routingPreference: [Scope.NODE] } })] }, "10.96.0.1:80", "deny no-healthy-endpoint"],
    ["failover prefers the same node", { workloads: [server({ node: "n2" }), pod("near", "10.0.0.3", { services: member("web") })], services: [svc("web", "10.96.0.1", { loadBalancing: { mode: Mode.FAILOVER, routingPreference: [Scope.NODE] } })] }, "10.96.0.1:80", "hbone 10.0.0.3:8080 10.0.0.3:15008"],
    ["a host-network endpoint, reached through its service", { workloads: [server({ networkMode: NetworkMode.HOST_NETWORK, tunnelProtocol: TunnelProtocol.NONE })], services: [WEB] }, "10.96.0.1:80", "tcp - 10.0.0.2:8080"],
    ["a host-network workload does not own its address", { workloads: [server({ networkMode: NetworkMode.HOST_NETWORK })] }, "10.0.0.2:22", "tcp - 10.0.0.2:22"],
    ["a CIDR VIP", { workloads: [server()], services: [svc("web", "", { addresses: [{ network: "", address: octets("10.97.0.0"), length: 16 }] })] }, "10.97.3.4:80", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a VIP that only its own namespace may see", { workloads: [server()], services: [svc("web", "10.96.0.1", { namespace: "other", visibility: workload.Service_Visibility.NAMESPACE })] }, "10.96.0.1:80", "tcp - 10.96.0.1:80"],
  ];
  for (const [name, world, to, expected] of cases) it(name, () => assert.equal(line(plan(world, to)), expected));
});

describe("planOutbound: waypoints", () => {
  const world = (service = {}, more: World = {}): World => ({
    workloads: [server(), WAYPOINT_POD, ...(more.workloads ?? [])], services: [svc("web", "10.96.0.1", service), WAYPOINT, ...(more.services ?? [])],
  });
  const direct = (w = {}): World => ({ workloads: [server({ services: {}, waypoint: waypointAt("wp"), ...w }), WAYPOINT_POD], services: [WAYPOINT] });
  const cases: [string, World, string, string][] = [
    ["a service's waypoint, although its pod has tunnel NONE", world({ waypoint: waypointAt("wp") }), "10.96.0.1:80", "waypoint 10.96.0.1:80 10.0.0.9:15008"],
    ["a service's waypoint does not take pod traffic", world({ waypoint: waypointAt("wp") }), "10.0.0.2:8080", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a workload's waypoint takes pod traffic", direct(), "10.0.0.2:8080", "waypoint 10.0.0.2:8080 10.0.0.9:15008"],
    ["a workload's waypoint does not take service traffic", { workloads: [server({ waypoint: waypointAt("wp") }), WAYPOINT_POD], services: [WEB, WAYPOINT] }, "10.96.0.1:80", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a waypoint that nobody knows fails closed", world({ waypoint: waypointAt("gone") }), "10.96.0.1:80", "deny unknown-waypoint"],
    ["a waypoint without instances fails closed", { workloads: [server()], services: [svc("web", "10.96.0.1", { waypoint: waypointAt("wp") }), WAYPOINT] }, "10.96.0.1:80", "deny unknown-waypoint"],
    ["weights: all on the canary", world({ waypoint: waypointAt("gone"), weightedWaypoints: [{ destination: waypointAt("gone"), weight: 0 }, { destination: waypointAt("wp"), weight: 100 }] }), "10.96.0.1:80", "waypoint 10.96.0.1:80 10.0.0.9:15008"],
    ["weights: all zero fails closed", world({ waypoint: waypointAt("wp"), weightedWaypoints: [{ destination: waypointAt("wp"), weight: 0 }] }), "10.96.0.1:80", "deny unknown-waypoint"],
    ["a waypoint by address of its VIP", world({ waypoint: { destination: { case: "address", value: { network: "", address: octets("10.96.0.9") } }, hboneMtlsPort: 15008 } }), "10.96.0.1:80", "waypoint 10.96.0.1:80 10.0.0.9:15008"],
    ["a waypoint by address of its pod", world({ waypoint: { destination: { case: "address", value: { network: "", address: octets("10.0.0.9") } }, hboneMtlsPort: 15008 } }), "10.96.0.1:80", "waypoint 10.96.0.1:80 10.0.0.9:15008"],
    ["a waypoint that is a workload with that hostname", { workloads: [server(), pod("wp", "10.0.0.9", { hostname: "wp.host" })], services: [svc("web", "10.96.0.1", { waypoint: waypointAt("wp.host") })] }, "10.96.0.1:80", "waypoint 10.96.0.1:80 10.0.0.9:15008"],
  ];
  for (const [name, w, to, expected] of cases) it(name, () => assert.equal(line(plan(w, to)), expected));

  it("a waypoint's own connections to what it fronts go straight there", () => {
    const p = plan(direct(), "10.0.0.2:8080", { pod: { name: "wp", namespace: "ns", serviceAccount: "wp" }, source: at("10.0.0.9:40000") });
    assert.equal(line(p), "hbone 10.0.0.2:8080 10.0.0.2:15008");
  });
  it("the waypoint's identity from another address is not the waypoint", () => {
    const p = plan(direct(), "10.0.0.2:8080", { pod: { name: "wp", namespace: "ns", serviceAccount: "wp" }, source: at("10.0.0.77:40000") });
    assert.equal(line(p), "waypoint 10.0.0.2:8080 10.0.0.9:15008");
  });
});

describe("planOutbound: self-calls, unknown sources, names, networks", () => {
  it("refuses our own ports on loopback", () => { for (const port of [15001, 15006, 15008]) assert.equal(line(plan({}, `127.0.0.1:${port}`)), "deny self-call"); });
  it("refuses a listener that was dialled directly", () => assert.equal(line(plan({}, "10.0.0.1:15001", { listener: at("10.0.0.1:15001") })), "deny self-call"));
  it("lets another pod's 15008 be dialled", () => assert.equal(line(plan({}, "10.0.0.5:15008")), "tcp - 10.0.0.5:15008"));
  it("needs its own workload first", () => assert.equal(line(plan({}, "1.2.3.4:80", { pod: { name: "later", namespace: "ns", serviceAccount: "x" } })), "need own-workload"));
  it("its own name with another service account is not it", () => assert.equal(line(plan({}, "1.2.3.4:80", { pod: { name: "client", namespace: "ns", serviceAccount: "other" } })), "need own-workload"));

  const named: World = { workloads: [pod("ext", "", { hostname: "db.example", tunnelProtocol: TunnelProtocol.NONE, services: member("db") })], services: [svc("db", "240.240.0.1")] };
  it("needs DNS for a workload without addresses", () => assert.equal(line(plan(named, "240.240.0.1:80")), "need dns db.example"));
  it("uses the answer of the same family", () => assert.equal(line(plan(named, "240.240.0.1:80", { gathered: { hosts: new Map([["db.example", [ip("2001:db8::1"), ip("5.6.7.8")]]]) } })), "tcp - 5.6.7.8:8080"));
  it("else the answer of the other", () => assert.equal(line(plan(named, "240.240.0.1:80", { gathered: { hosts: new Map([["db.example", [ip("2001:db8::1")]]]) } })), "tcp - [2001:db8::1]:8080"));
  it("fails on an empty answer", () => assert.equal(line(plan(named, "240.240.0.1:80", { gathered: { hosts: new Map([["db.example", []]]) } })), "deny dns-failed"));

  it("a service's families restrict the address", () => assert.equal(line(plan({ workloads: [server()], services: [svc("web", "10.96.0.1", { ipFamilies: workload.IPFamilies.IPV6_ONLY })] }, "10.96.0.1:80")), "deny no-healthy-endpoint"));
});

describe("planOutbound: other networks", () => {
  const SANS = ["spiffe://cluster.local/ns/far/sa/web"];
  const web = (more = {}) => svc("web", "10.96.0.1", { subjectAltNames: SANS, ...more });
  const byAddress = (address: string) => ({ destination: { case: "address" as const, value: { network: "n2", address: octets(address) } }, hboneMtlsPort: 15008 });
  const byHost = waypointAt("east-west");
  const far = (more = {}) => pod("far", "", { uid: "n2/SplitHorizonWorkload/gw/ns/web", network: "n2", networkGateway: byHost, services: member("web"), ...more });
  const EAST_WEST = svc("east-west", "", { ports: [{ servicePort: 15008, targetPort: 15443 }], subjectAltNames: ["spiffe://cluster.local/ns/ns/sa/gw-old"] });
  const gateway = (more = {}) => pod("gw", "10.0.9.9", { tunnelProtocol: TunnelProtocol.NONE, services: member("east-west", { 15008: 15443 }), ...more });
  const cases: [string, World, string, string][] = [
    ["a gateway by hostname of its service: its identity and its service's outside, the target service's names inside", { workloads: [far(), gateway()], services: [web(), EAST_WEST] }, "10.96.0.1:80", "double web:80 10.0.9.9:15443 outer ns/sa/gw,ns/sa/gw-old inner far/sa/web"],
    ["a gateway by address of its workload", { workloads: [far({ networkGateway: byAddress("10.0.9.9") }), gateway({ network: "n2" })], services: [web()] }, "10.96.0.1:80", "double web:80 10.0.9.9:15008 outer ns/sa/gw inner far/sa/web"],
    ["a gateway that is a workload with that hostname", { workloads: [far(), gateway({ hostname: "east-west" })], services: [web()] }, "10.96.0.1:80", "double web:80 10.0.9.9:15008 outer ns/sa/gw inner far/sa/web"],
    ["a gateway by address that nobody owns fails", { workloads: [far({ networkGateway: byAddress("10.0.9.9") })], services: [web()] }, "10.96.0.1:80", "deny unknown-gateway"],
    ["a gateway address of our own network is not that of theirs", { workloads: [far({ networkGateway: byAddress("10.0.9.9") }), gateway()], services: [web()] }, "10.96.0.1:80", "deny unknown-gateway"],
    ["an unknown gateway hostname fails", { workloads: [far()], services: [web()] }, "10.96.0.1:80", "deny unknown-gateway"],
    ["a gateway service without its port fails", { workloads: [far(), gateway()], services: [web(), svc("east-west", "")] }, "10.96.0.1:80", "deny unknown-gateway"],
    ["a remote workload without a gateway is refused, also with an address", { workloads: [far({ networkGateway: undefined, addresses: [octets("10.0.0.2")] })], services: [web()] }, "10.96.0.1:80", "deny unknown-gateway"],
    ["a service that vouches for nobody is refused: an empty set would accept anybody", { workloads: [far(), gateway()], services: [svc("web", "10.96.0.1"), EAST_WEST] }, "10.96.0.1:80", "deny unknown-gateway"],
    ["a gateway known by name only needs DNS", { workloads: [far(), gateway({ addresses: [], hostname: "gw.example" })], services: [web(), EAST_WEST] }, "10.96.0.1:80", "need dns gw.example"],
    ["a waypoint on the other network: inside, its service's names", { workloads: [server(), pod("wp", "", { network: "n2", networkGateway: byHost, services: member("wp", { 15008: 15008 }) }), gateway()], services: [web({ waypoint: waypointAt("wp") }), EAST_WEST, svc("wp", "", { ports: [{ servicePort: 15008, targetPort: 15008 }], subjectAltNames: ["spiffe://cluster.local/ns/far/sa/wp"] })] }, "10.96.0.1:80", "double web:80 10.0.9.9:15443 outer ns/sa/gw,ns/sa/gw-old inner far/sa/wp"],
    ["a workload's waypoint on the other network cannot be crossed to: no service was addressed", { workloads: [server({ services: {}, waypoint: waypointAt("wp") }), pod("wp", "", { network: "n2", networkGateway: byHost, services: member("wp", { 15008: 15008 }) }), gateway()], services: [EAST_WEST, svc("wp", "", { ports: [{ servicePort: 15008, targetPort: 15008 }], subjectAltNames: SANS })] }, "10.0.0.2:8080", "deny unknown-gateway"],
    ["our own network is preferred when the service says so", { workloads: [far(), gateway(), server()], services: [web({ loadBalancing: { mode: Mode.FAILOVER, routingPreference: [Scope.NETWORK, Scope.REGION, Scope.ZONE] } }), EAST_WEST] }, "10.96.0.1:80", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["… and the other one when ours has nobody healthy", { workloads: [far(), gateway(), server({ status: WorkloadStatus.UNHEALTHY })], services: [web({ loadBalancing: { mode: Mode.FAILOVER, routingPreference: [Scope.NETWORK, Scope.REGION, Scope.ZONE] } }), EAST_WEST] }, "10.96.0.1:80", "double web:80 10.0.9.9:15443 outer ns/sa/gw,ns/sa/gw-old inner far/sa/web"],
    ["a workload of our network never goes through a gateway, even if it names one", { workloads: [server({ networkGateway: byHost }), gateway()], services: [web(), EAST_WEST] }, "10.96.0.1:80", "hbone 10.0.0.2:8080 10.0.0.2:15008"],
  ];
  for (const [name, world, to, expected] of cases) it(name, () => assert.equal(line(plan(world, to)), expected));
});

describe("planOutbound: services that keep their clients, endpoints that failed", () => {
  const pods = [1, 2, 3, 4].map((i) => pod(`web-${i}`, `10.0.1.${i}`, { services: member("web") }));
  const affine: World = { workloads: pods, services: [svc("web", "10.96.0.1", { extensions: [{ name: CLIENT_AFFINITY, config: anyPack(DurationSchema, durationFromMs(60_000)) }] })] };
  const plain: World = { workloads: pods, services: [WEB] };
  const gathered = (more: Partial<OutboundFacts["gathered"]>): Partial<OutboundFacts> => ({ gathered: { hosts: new Map(), ...more } });
  const uid = (i: number): string => `Kubernetes//Pod/ns/web-${i}`;
  const to = (p: OutboundPlan): string => (p.kind === "tunnel" ? p.destination.name : line(p));

  it("one client goes to one endpoint, whatever chance says; another client may go elsewhere", () => {
    const seen = new Set(Array.from({ length: 30 }, (_, i) => to(plan(affine, "10.96.0.1:80", {}, i))));
    assert.equal(seen.size, 1);
    const all = new Set(Array.from({ length: 60 }, (_, i) => to(plan(affine, "10.96.0.1:80", { source: at(`10.0.2.${i + 1}:4000`) }))));
    assert.equal(all.size, 4);
  });
  it("says what is to be remembered, and goes where the client went lately", () => {
    const p = plan(affine, "10.96.0.1:80", gathered({ lately: new Map([["ns/web", uid(3)]]) }));
    assert.ok(p.kind === "tunnel");
    assert.deepEqual([p.destination.name, p.keep], ["web-3", { service: "ns/web", workload: uid(3), idleMs: 60_000 }]);
    assert.equal(plan(plain, "10.96.0.1:80").kind === "tunnel" && "keep" in plan(plain, "10.96.0.1:80"), false);
  });
  it("an endpoint that is gone, or failed, is not kept", () => {
    assert.match(to(plan(affine, "10.96.0.1:80", gathered({ lately: new Map([["ns/web", "gone"]]) }))), /^web-/);
    assert.notEqual(to(plan(affine, "10.96.0.1:80", gathered({ lately: new Map([["ns/web", uid(3)]]), failed: new Set([uid(3)]) }))), "web-3");
  });
  it("does not choose what failed for this connection, until nobody is left", () => {
    const left = new Set(Array.from({ length: 30 }, (_, i) => to(plan(plain, "10.96.0.1:80", gathered({ failed: new Set([uid(1), uid(2), uid(4)]) }), i))));
    assert.deepEqual([...left], ["web-3"]);
    assert.equal(to(plan(plain, "10.96.0.1:80", gathered({ failed: new Set([1, 2, 3, 4].map(uid)) }))), "deny no-healthy-endpoint");
  });
  it("a waypoint instance that failed is not chosen again", () => {
    const world: World = { workloads: [server(), WAYPOINT_POD, pod("wp2", "10.0.0.10", { tunnelProtocol: TunnelProtocol.NONE, services: member("wp", { 15008: 15008 }) })], services: [svc("web", "10.96.0.1", { waypoint: waypointAt("wp") }), WAYPOINT] };
    for (let i = 0; i < 10; i++) assert.equal(line(plan(world, "10.96.0.1:80", gathered({ failed: new Set(["Kubernetes//Pod/ns/wp"]) }), i)), "waypoint 10.96.0.1:80 10.0.0.10:15008");
  });
});

describe("planOutbound: on demand", () => {
  const asked = (...names: string[]) => ({ gathered: { hosts: new Map(), absent: new Set(names) } });
  const cases: [string, World, string, Partial<OutboundFacts>, string][] = [
    ["an address that was not asked for", {}, "1.2.3.4:443", asked(), "need address /1.2.3.4"],
    ["… by our network", {}, "1.2.3.4:443", { ...asked("/1.2.3.4"), network: "n1" }, "need address n1/1.2.3.4"],
    ["an address that the control plane does not have", {}, "1.2.3.4:443", asked("/1.2.3.4"), "tcp - 1.2.3.4:443"],
    ["an address that came meanwhile", { workloads: [server()] }, "10.0.0.2:8080", asked(), "hbone 10.0.0.2:8080 10.0.0.2:15008"],
    ["a waypoint by hostname that was not asked for", { workloads: [server()], services: [svc("web", "10.96.0.1", { waypoint: waypointAt("wp") })] }, "10.96.0.1:80", asked(), "need address ns/wp"],
    ["… that is not there: it fails closed", { workloads: [server()], services: [svc("web", "10.96.0.1", { waypoint: waypointAt("wp") })] }, "10.96.0.1:80", asked("ns/wp"), "deny unknown-waypoint"],
    ["a network gateway that was not asked for", { workloads: [pod("far", "", { network: "n2", networkGateway: waypointAt("gw"), services: member("web") })], services: [svc("web", "10.96.0.1", { subjectAltNames: ["spiffe://cluster.local/ns/a/sa/b"] })] }, "10.96.0.1:80", asked(), "need address ns/gw"],
  ];
  for (const [name, world, to, facts, expected] of cases) it(`${name} → ${expected}`, () => assert.equal(line(plan(world, to, facts)), expected));
});

describe("planOutbound: whom to expect, and why", () => {
  it("the endpoint's identity and what the service vouches for; junk is skipped", () => {
    const sans = ["spiffe://cluster.local/ns/remote/sa/web", "not-an-id", "spiffe://cluster.local/ns/ns/sa/server"];
    const p = plan({ workloads: [server()], services: [svc("web", "10.96.0.1", { subjectAltNames: sans })] }, "10.96.0.1:80");
    assert.ok(p.kind === "tunnel");
    assert.deepEqual(p.expect.map(formatIdentity), ["spiffe://cluster.local/ns/ns/sa/server", "spiffe://cluster.local/ns/remote/sa/web"]);
  });
  it("the waypoint's identity at a waypoint hop, not the destination's", () => {
    const p = plan({ workloads: [server(), WAYPOINT_POD], services: [svc("web", "10.96.0.1", { waypoint: waypointAt("wp") }), WAYPOINT] }, "10.96.0.1:80");
    assert.ok(p.kind === "tunnel");
    assert.deepEqual(p.expect.map(formatIdentity), ["spiffe://cluster.local/ns/ns/sa/wp"]);
    assert.equal(p.service?.hostname, "web");
  });
  it("says why", () => {
    const p = plan({ workloads: [server()], services: [WEB] }, "10.96.0.1:80");
    assert.deepEqual(p.because.map((b) => b.step), ["source", "original destination", "endpoint", "protocol"]);
  });
  it("spreads over endpoints", () => {
    const world = { workloads: [server(), pod("two", "10.0.0.3", { services: member("web") })], services: [WEB] };
    const seen = new Set(Array.from({ length: 40 }, (_, i) => line(plan(world, "10.96.0.1:80", {}, i))));
    assert.equal(seen.size, 2);
  });
});
