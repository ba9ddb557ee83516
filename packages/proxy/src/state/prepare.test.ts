import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs, DurationSchema, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { CLIENT_AFFINITY, security, workload } from "@ambit/proto";
import { addressBytes, octets, pod, policyBytes, svc, wild, type WirePolicy, type WireService, type WireWorkload } from "./wire.fixture.ts";
import { prepareAddresses, preparePolicies, type Prepared } from "./prepare.ts";

const one = (name: string, bytes: Uint8Array): Prepared => prepareAddresses({ removed: [], upserts: [{ name, bytes }] });
const asWorkload = (w: WireWorkload): Prepared => one(w.uid ?? "", addressBytes({ case: "workload", value: w }));
const asService = (s: WireService): Prepared => one(`${s.namespace}/${s.hostname}`, addressBytes({ case: "service", value: s }));
const asPolicy = (p: WirePolicy): Prepared => preparePolicies({ removed: [], upserts: [{ name: `${p.namespace}/${p.name}`, bytes: policyBytes(p) }] });
const text = (p: Prepared): string => p.rejects.map((r) => `${r.path}: ${r.message}`).join("\n");
const UID = "Kubernetes//Pod/ns/a";
const a = (more: WireWorkload): WireWorkload => pod("a", "10.0.0.1", more);
const noDestination = create(workload.GatewayAddressSchema, { hboneMtlsPort: 15008 });

describe("prepareAddresses: what is refused, and how it is named", () => {
  const cases: [string, Prepared, RegExp][] = [
    ["LEGACY_ISTIO_MTLS", asWorkload(a({ tunnelProtocol: 2 })), /a: tunnel_protocol: unknown value 2/],
    ["an unknown tunnel protocol", asWorkload(a({ tunnelProtocol: wild(9) })), /tunnel_protocol: unknown value 9/],
    ["an unknown status", asWorkload(a({ status: wild(5) })), /status: unknown value 5/],
    ["an unknown network mode", asWorkload(a({ networkMode: wild(5) })), /network_mode/],
    ["an unknown workload type", asWorkload(a({ workloadType: wild(7) })), /workload_type/],
    ["an address of five bytes", asWorkload(a({ addresses: [octets("1.2.3.4.5")] })), /addresses\[0\]: an IP address has 4 or 16 bytes, not 5/],
    ["a waypoint without destination", asWorkload(a({ waypoint: noDestination })), /waypoint\.destination: is missing/],
    ["a gateway with a huge port", asWorkload(a({ waypoint: { destination: { case: "hostname", value: { namespace: "n", hostname: "h" } }, hboneMtlsPort: 70_000 } })), /waypoint\.hbone_mtls_port: port 70000/],
    ["a target port beyond 16 bits", asWorkload(a({ services: { "ns/web": { ports: [{ servicePort: 80, targetPort: 70_000 }] } } })), /services\["ns\/web"\]\.ports\[0\]\.target_port/],
    ["a service key without a slash", asWorkload(a({ services: { web: { ports: [] } } })), /not namespace\/hostname/],
    ["a namespace that would forge an identity", asWorkload(a({ namespace: "x/sa/admin" })), /identity/],
    ["a trust domain with a slash", asWorkload(a({ trustDomain: "td/ns/x" })), /identity/],
    ["a workload without uid", one("x", addressBytes({ case: "workload", value: { name: "x" } })), /uid: must not be empty/],
    ["another name than its own", one("other", addressBytes({ case: "workload", value: a({}) })), /other: the content is that of "Kubernetes\/\/Pod\/ns\/a"/],
    ["a VIP with a long prefix", asService(svc("web", "", { addresses: [{ address: octets("10.0.0.0"), length: 33 }] })), /addresses\[0\]/],
    ["an unspecified routing scope", asService(svc("web", "", { loadBalancing: { routingPreference: [0] } })), /load_balancing\.routing_preference\[0\]: unknown value 0/],
    ["an unknown balancing mode", asService(svc("web", "", { loadBalancing: { mode: wild(9) } })), /load_balancing\.mode/],
    ["an unknown health policy", asService(svc("web", "", { loadBalancing: { healthPolicy: wild(9) } })), /load_balancing\.health_policy/],
    ["an unknown family setting", asService(svc("web", "", { ipFamilies: wild(9) })), /ip_families/],
    ["a client affinity without an idle time", asService(svc("web", "", { extensions: [{ name: CLIENT_AFFINITY }] })), /extensions\[0\]\.config: is not a positive google\.protobuf\.Duration/],
    ["a client affinity of another type", asService(svc("web", "", { extensions: [{ name: CLIENT_AFFINITY, config: anyPack(StringValueSchema, create(StringValueSchema, { value: "1h" })) }] })), /extensions\[0\]\.config/],
    ["a client affinity of no time at all", asService(svc("web", "", { extensions: [{ name: "x" }, { name: CLIENT_AFFINITY, config: anyPack(DurationSchema, durationFromMs(0)) }] })), /extensions\[1\]\.config/],
    ["a weighted waypoint without destination", asService(svc("web", "", { weightedWaypoints: [{ weight: 1 }] })), /weighted_waypoints\[0\]\.destination/],
    ["an address that is nothing", one("x", new Uint8Array()), /neither a workload nor a service/],
    ["bytes that are no protobuf", one("x", Uint8Array.of(0xff, 0xff, 0xff)), /^x: /],
  ];
  for (const [name, prepared, expected] of cases)
    it(name, () => { assert.match(text(prepared), expected); assert.deepEqual(prepared.batch.changes, []); });

  it("names every problem of a resource at once", () => assert.match(text(asWorkload(a({ tunnelProtocol: wild(9), status: wild(9) }))), /tunnel_protocol.*; status/));
  it("one bad resource does not spoil its neighbours", () => {
    const p = prepareAddresses({ removed: ["gone"], upserts: [{ name: "bad", bytes: Uint8Array.of(0xff) }, { name: UID, bytes: addressBytes({ case: "workload", value: a({}) }) }] });
    assert.deepEqual([p.rejects.map((r) => r.path), p.batch.changes.map((c) => c.kind)], [["bad"], ["address-removed", "workload"]]);
  });
});

describe("prepareAddresses: defaults", () => {
  const decoded = (w: WireWorkload) => { const c = asWorkload(w).batch.changes[0]; assert.ok(c?.kind === "workload"); return c.value; };
  it("trust domain, service account, cluster, capacity", () => {
    const w = decoded({ ...a({ serviceAccount: "", trustDomain: "", clusterId: "" }) });
    assert.deepEqual([w.identity.trustDomain, w.identity.serviceAccount, w.clusterId, w.capacity], ["cluster.local", "default", "Kubernetes", 1]);
  });
  it("an explicit capacity of 0 is kept", () => assert.equal(decoded(a({ capacity: 0 })).capacity, 0));
  it("extensions that are not ours are passed over, as Istio's proxies do", () => {
    const c = asService(svc("web", "10.96.0.1", { extensions: [{ name: "somebody.else/x" }] })).batch.changes[0];
    assert.equal(c?.kind === "service" && c.value.clientAffinityMs, undefined);
  });
  it("16-byte addresses", () => assert.deepEqual(decoded(a({ addresses: [Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 1 : 0))] })).addresses, ["::1"]));
});

describe("preparePolicies", () => {
  const rules = (m: WirePolicy["rules"]): WirePolicy => ({ name: "p", namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.DENY, ...(m === undefined ? {} : { rules: m }) });
  const match = (m: object) => rules([{ clauses: [{ matches: [m] }] }]);
  const cases: [string, WirePolicy, RegExp][] = [
    ["an unknown action", { ...rules([]), action: wild(7) }, /ns\/p: action: unknown value 7/],
    ["an unknown scope", { ...rules([]), scope: wild(7) }, /scope: unknown value 7/],
    ["a string match that says nothing", match({ principals: [{}] }), /rules\[0\]\.clauses\[0\]\.matches\[0\]\.principals\[0\]: says nothing/],
    ["a CIDR that is none", match({ sourceIps: [{ address: octets("1.2.3"), length: 8 }] }), /source_ips\[0\]/],
    ["a CIDR with a long prefix", match({ notSourceIps: [{ address: octets("1.2.3.4"), length: 40 }] }), /not_source_ips\[0\]/],
    ["a port beyond 16 bits", match({ destinationPorts: [65_616] }), /destination_ports\[0\]: port 65616/],
    ["an extension of a match", match({ extensions: [{ name: "x" }] }), /matches\[0\]\.extensions: are not supported/],
    ["an extension of the policy", { name: "p", namespace: "ns", scope: security.Scope.NAMESPACE, extensions: [{ name: "x" }] }, /extensions: are not supported/],
  ];
  for (const [name, policy, expected] of cases)
    it(`${name}: refused whole, and remembered as refused`, () => {
      const p = asPolicy(policy);
      assert.match(text(p), expected);
      assert.deepEqual(p.batch.changes.map((c) => c.kind), ["policy-rejected"]);
    });
  it("a field from the future is a reason to refuse", () => {
    const bytes = Buffer.concat([policyBytes(rules([])), Buffer.from([0x9a, 0x06, 0x01, 0x78])]); // field 99
    const p = preparePolicies({ removed: [], upserts: [{ name: "ns/p", bytes }] });
    assert.match(text(p), /unknown field number 99/);
  });
  it("content of another type is remembered as refused, and so are bytes that are no policy", () => {
    const p = preparePolicies({ removed: [], upserts: [{ name: "ns/torn", bytes: Uint8Array.of(0xff) }], misfits: ["ns/other"] });
    assert.deepEqual(p.batch.changes.map((c) => c.kind === "policy-rejected" && [c.value.key, c.value.namespace, c.value.scope, c.value.dryRun]), [["ns/torn", "ns", "unknown", false], ["ns/other", "ns", "unknown", false]]);
  });
  it("the strict policy of istiod has the bytes we expect", () => {
    const strict = create(security.MatchSchema, { notPrincipals: [{ matchType: { case: "presence", value: {} } }] });
    assert.equal(Buffer.from(toBinary(security.MatchSchema, strict)).toString("hex"), "22022200");
  });
});
