import assert from "node:assert/strict";
import { ProxyState } from "@ambit/proxy/state";
import { dumpPolicies, dumpServices, dumpWorkloads } from "./admin/dump.ts";
import { readLocalConfig } from "./decode-local.ts";

const FILE = `
workloads:
- uid: c1//Pod/default/local
  name: local
  namespace: default
  serviceAccount: web
  workloadIps: ["127.0.0.1", "2001:db8::1"]
  protocol: HBONE
  node: n
  locality: {region: r}
  waypoint: {destination: default/wp.example, hboneMtlsPort: 15008}
  networkGateway: {destination: n2/1.2.3.4, hboneMtlsPort: 15008}
  services: {"default/example.com": {80: 8080}}
  authorizationPolicies: [default/p]
services:
- name: local
  namespace: default
  hostname: example.com
  vips: [/127.10.0.1, n2/10.0.0.1]
  cidrVips: [/127.11.0.0/16]
  ports: {80: 8080}
  loadBalancer: {mode: Failover, routingPreferences: [Network, Zone], healthPolicy: AllowAll}
  canonical: true
policies:
- name: p
  namespace: default
  scope: WorkloadSelector
  action: Allow
  rules: [[[{notDestinationPorts: [9999], principals: [{Suffix: /sa/web}], sourceIps: [10.0.0.0/8]}]]]
`;
const problems = (text: string): string => { const r = readLocalConfig(text); return "problems" in r ? r.problems.map((p) => `${p.path}: ${p.message}`).join("\n") : "none"; };

describe("the local configuration", () => {
  it("is what the dump shows", () => {
    const read = readLocalConfig(FILE);
    assert.ok("batches" in read, problems(FILE));
    const state = new ProxyState("n");
    for (const batch of read.batches) state.apply(batch);
    const [w] = dumpWorkloads(state.view());
    assert.deepEqual([w?.["workloadIps"], w?.["protocol"], w?.["services"], w?.["waypoint"], w?.["networkGateway"], w?.["authorizationPolicies"]], [
      ["127.0.0.1", "2001:db8::1"], "HBONE", ["default/example.com"], { destination: "default/wp.example", hboneMtlsPort: 15008 }, { destination: "n2/1.2.3.4", hboneMtlsPort: 15008 }, ["default/p"]]);
    const [s] = dumpServices(state.view());
    assert.deepEqual([s?.["vips"], s?.["cidrVips"], s?.["ports"], s?.["loadBalancer"], Object.keys(s?.["endpoints"] as object)],
      [["/127.10.0.1", "n2/10.0.0.1"], ["/127.11.0.0/16"], { 80: 8080 }, { mode: "Failover", routingPreferences: ["Network", "Zone"], healthPolicy: "AllowAll" }, ["c1//Pod/default/local"]]);
    assert.deepEqual(dumpPolicies(state.view()).map((p) => [p["action"], p["scope"], p["rules"]]), [["Allow", "WorkloadSelector", [[[{ principals: [{ Suffix: "/sa/web" }], sourceIps: ["10.0.0.0/8"], notDestinationPorts: [9999] }]]]]]);
  });
  const bad: [string, string, RegExp][] = [
    ["no YAML", "a: [", /^: /],
    ["a list at the top", "- a", /^: is not a map/],
    ["an unknown key", "workloads: [{uid: a, nodee: x}]", /workloads\[0\]\.nodee: is not known/],
    ["an unknown protocol", "workloads: [{uid: a, protocol: QUIC}]", /protocol: is none of TCP, HBONE/],
    ["a bad address", "workloads: [{uid: a, workloadIps: [1.2.3]}]", /workloadIps\[0\]/],
    ["a workload without uid", "workloads: [{name: a}]", /uid: must not be empty/],
    ["a VIP without network", "services: [{name: a, namespace: b, hostname: c, vips: [10.0.0.1]}]", /vips\[0\]: "10\.0\.0\.1" is not NETWORK\/ADDRESS/],
    ["a match that says two things", "policies: [{name: a, namespace: b, action: Deny, rules: [[[{principals: [{Exact: a, Prefix: b}]}]]]}]", /principals\[0\]: is not exactly one/],
    ["an unknown match", "policies: [{name: a, namespace: b, rules: [[[{methods: [GET]}]]]}]", /methods: is not known/],
    ["a CIDR that is none", "policies: [{name: a, namespace: b, rules: [[[{sourceIps: [10.0.0.0/40]}]]]}]", /sourceIps\[0\]/],
  ];
  for (const [name, text, expected] of bad) it(`refuses ${name}`, () => assert.match(problems(text), expected));
});
