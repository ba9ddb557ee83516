// The shape that `istioctl ztunnel-config` reads: its keys, its spellings, its types.
import assert from "node:assert/strict";
import { security, workload } from "@ambit/proto";
import { fakeCa } from "@ambit/testkit";
import { at, member, octets, pod, stateOf, svc, waypointAt } from "@ambit/proxy/testing";
import { dumpCertificates, dumpPods, dumpPolicies, dumpServices, dumpStaged, dumpWorkloads } from "./dump.ts";

const state = stateOf({
  workloads: [
    pod("full", "10.0.0.2", {
      waypoint: waypointAt("wp"), networkGateway: { destination: { case: "address", value: { network: "n2", address: octets("1.2.3.4") } }, hboneMtlsPort: 15008 },
      applicationTunnel: { protocol: workload.ApplicationTunnel_Protocol.PROXY, port: 15088 }, locality: { region: "r", zone: "z", subzone: "" }, network: "n1",
      services: member("web"), authorizationPolicies: ["ns/p"], status: workload.WorkloadStatus.UNHEALTHY, capacity: 3,
    }),
    pod("bare", "", { uid: "bare", tunnelProtocol: workload.TunnelProtocol.NONE, hostname: "db.example", services: member("later") }),
  ],
  services: [svc("web", "10.96.0.1", {
    addresses: [{ network: "n1", address: octets("10.96.0.1") }, { network: "n1", address: octets("10.97.0.0"), length: 16 }], subjectAltNames: ["spiffe://x/ns/a/sa/b"], waypoint: waypointAt("wp"),
    weightedWaypoints: [{ destination: waypointAt("wp"), weight: 10 }], ipFamilies: workload.IPFamilies.DUAL,
    loadBalancing: { mode: workload.LoadBalancing_Mode.FAILOVER, routingPreference: [workload.LoadBalancing_Scope.NETWORK, workload.LoadBalancing_Scope.ZONE], healthPolicy: workload.LoadBalancing_HealthPolicy.ALLOW_ALL },
  }), svc("none", "10.96.0.2")],
  policies: [{ name: "p", namespace: "ns", scope: security.Scope.WORKLOAD_SELECTOR, action: security.Action.DENY, dryRun: true, rules: [{ clauses: [{ matches: [{
    principals: [{ matchType: { case: "exact", value: "a" } }], notPrincipals: [{ matchType: { case: "presence", value: {} } }], namespaces: [{ matchType: { case: "prefix", value: "b" } }, { matchType: { case: "suffix", value: "c" } }],
    sourceIps: [{ address: octets("10.0.0.0"), length: 8 }], destinationPorts: [80], serviceAccounts: [{ namespace: "n", serviceAccount: "s" }],
  }] }] }] }],
});
const view = state.view();

describe("the configuration dump", () => {
  it("has workloads", () => assert.deepEqual(dumpWorkloads(view), [
    {
      uid: "Kubernetes//Pod/ns/full", name: "full", namespace: "ns", waypoint: { destination: "ns/wp", hboneMtlsPort: 15008 }, networkGateway: { destination: "n2/1.2.3.4", hboneMtlsPort: 15008 },
      trustDomain: "cluster.local", serviceAccount: "full", workloadName: "full", workloadType: "pod", canonicalName: "full", canonicalRevision: "v1", node: "n1",
      authorizationPolicies: ["ns/p"], clusterId: "Kubernetes", services: ["ns/web"], locality: { region: "r", zone: "z", subzone: "" }, applicationTunnel: { protocol: "PROXY", port: 15088 },
      workloadIps: ["10.0.0.2"], protocol: "HBONE", network: "n1", nativeTunnel: false, status: "Unhealthy", capacity: 3, networkMode: "Standard",
    },
    {
      uid: "bare", name: "bare", namespace: "ns", hostname: "db.example", trustDomain: "cluster.local", serviceAccount: "bare", workloadName: "bare", workloadType: "pod", canonicalName: "bare",
      canonicalRevision: "v1", node: "n1", clusterId: "Kubernetes", services: ["ns/later"], workloadIps: [], protocol: "TCP", network: "", nativeTunnel: false, status: "Healthy", capacity: 1, networkMode: "Standard",
    },
  ]));
  it("has services", () => assert.deepEqual(dumpServices(view), [
    { name: "none", namespace: "ns", hostname: "none", vips: ["/10.96.0.2"], ports: { 80: 8080 }, endpoints: {}, subjectAltNames: [], canonical: true, visibility: "Public" },
    {
      name: "web", namespace: "ns", hostname: "web", vips: ["n1/10.96.0.1"], ports: { 80: 8080 }, subjectAltNames: ["spiffe://x/ns/a/sa/b"], canonical: true, visibility: "Public",
      endpoints: { "Kubernetes//Pod/ns/full": { workloadUid: "Kubernetes//Pod/ns/full", port: { 80: 8080 }, status: "Unhealthy" } }, cidrVips: ["n1/10.97.0.0/16"],
      waypoint: { destination: "ns/wp", hboneMtlsPort: 15008 }, weightedWaypoints: [{ destination: { destination: "ns/wp", hboneMtlsPort: 15008 }, weight: 10 }], ipFamilies: "Dual",
      loadBalancer: { routingPreferences: ["Network", "Zone"], mode: "Failover", healthPolicy: "AllowAll" },
    },
  ]));
  it("has policies", () => assert.deepEqual(dumpPolicies(view), [{
    name: "p", namespace: "ns", scope: "WorkloadSelector", action: "Deny", dryRun: true,
    rules: [[[{ namespaces: [{ Prefix: "b" }, { Suffix: "c" }], principals: [{ Exact: "a" }], notPrincipals: [{ Presence: [] }], serviceAccounts: [{ namespace: "n", serviceAccount: "s" }], sourceIps: ["10.0.0.0/8"], destinationPorts: [80] }]]],
  }]));
  it("has staged services", () => assert.deepEqual(dumpStaged(view), { "ns/later": { bare: { workloadUid: "bare", port: { 80: 8080 }, status: "Healthy" } } }));
  it("has certificates", () => {
    const ca = fakeCa();
    const identity = { trustDomain: "td", namespace: "a", serviceAccount: "b" };
    const [dumped] = dumpCertificates([{ identity, state: "Available", chainPem: ca.leaf("a", "b").chainPem, rootsPem: ca.rootPem }]) as { identity: string; certChain: Record<string, string>[]; rootCerts: object[] }[];
    const [leaf] = dumped?.certChain ?? [];
    assert.deepEqual([dumped?.identity, dumped?.certChain.length, dumped?.rootCerts.length, Object.keys(leaf ?? {})], ["spiffe://td/ns/a/sa/b", 1, 1, ["pem", "serialNumber", "validFrom", "expirationTime"]]);
    assert.match(Buffer.from(leaf?.["pem"] ?? "", "base64").toString(), /^-----BEGIN CERTIFICATE-----/);
    assert.match(leaf?.["serialNumber"] ?? "", /^\d+$/);
    assert.match(leaf?.["validFrom"] ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.deepEqual(dumpCertificates([{ identity, state: "Initializing", chainPem: undefined, rootsPem: undefined }]), [{ identity: "spiffe://td/ns/a/sa/b", state: "Initializing", certChain: [], rootCerts: [] }]);
  });
  it("has pods with their connections", () => {
    const c = { pod: "u", src: at("10.0.0.1:1"), originalDst: "10.96.0.1:80", actualDst: at("10.0.0.2:15008"), protocol: "HBONE" as const };
    assert.deepEqual(dumpPods([{ uid: "u", state: "Up", info: { name: "n", namespace: "ns", serviceAccount: "sa" }, connections: [{ ...c, direction: "outbound" }, { ...c, direction: "inbound" }] }]), {
      u: { state: "Up", info: { name: "n", namespace: "ns", serviceAccount: "sa" }, connections: {
        inbound: [{ src: "10.0.0.1:1", originalDst: "10.96.0.1:80", actualDst: "10.0.0.2:15008", protocol: "HBONE" }], outbound: [{ src: "10.0.0.1:1", originalDst: "10.96.0.1:80", actualDst: "10.0.0.2:15008", protocol: "HBONE" }] } },
    });
  });
});
