// The definitions under manifests/charts/base/crds: each compiles, and accepts and refuses what its users expect.
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { load } from "js-yaml";
import { asObject, asObjects, dig, type JsonObject } from "../json.ts";
import { compileSchema, type CompiledSchema } from "./structural.ts";

const folder = new URL("../../../../../manifests/charts/base/crds/", import.meta.url).pathname;
const compiled = new Map<string, CompiledSchema>();
for (const file of globSync(`${folder}*/*.yaml`)) {
  const crd = load(readFileSync(file, "utf8")) as JsonObject;
  for (const version of asObjects(dig(crd, "spec", "versions"))) {
    const name = `${String(dig(crd, "spec", "names", "kind"))}/${String(version["name"])}`;
    compiled.set(name, compileSchema(asObject(dig(version, "schema", "openAPIV3Schema"))));
  }
}

function check(kind: string, spec: JsonObject): { problems: string[]; dropped: string[]; value: JsonObject } {
  const schema = compiled.get(kind);
  assert.ok(schema !== undefined, `no ${kind}`);
  const { value, dropped } = schema.prune({ apiVersion: "x/v1", kind: "X", metadata: { name: "x" }, spec });
  const defaulted = schema.applyDefaults(value);
  return { problems: schema.validate(defaulted).map((e) => `${e.field}: ${e.message}`), dropped, value: defaulted };
}

describe("the CRDs of the lab", () => {
  it("are all there", () => {
    assert.deepEqual([...compiled.keys()].toSorted(), [
      "AuthorizationPolicy/v1", "AuthorizationPolicy/v1beta1", "BackendTLSPolicy/v1", "DestinationRule/v1", "DestinationRule/v1alpha3",
      "DestinationRule/v1beta1", "GRPCRoute/v1", "Gateway/v1", "Gateway/v1beta1", "GatewayClass/v1",
      "GatewayClass/v1beta1", "HTTPRoute/v1", "HTTPRoute/v1beta1", "PeerAuthentication/v1", "PeerAuthentication/v1beta1",
      "ReferenceGrant/v1", "ReferenceGrant/v1beta1", "RequestAuthentication/v1", "RequestAuthentication/v1beta1",
      "ServiceEntry/v1", "ServiceEntry/v1alpha3", "ServiceEntry/v1beta1", "TCPRoute/v1alpha2", "TLSRoute/v1",
      "TLSRoute/v1alpha2", "TLSRoute/v1alpha3", "Telemetry/v1", "Telemetry/v1alpha1", "VirtualService/v1",
      "VirtualService/v1alpha3", "VirtualService/v1beta1", "WorkloadEntry/v1", "WorkloadEntry/v1alpha3",
      "WorkloadEntry/v1beta1", "WorkloadGroup/v1", "WorkloadGroup/v1alpha3", "WorkloadGroup/v1beta1",
    ]);
  });

  const good: [string, string, JsonObject][] = [
    ["an empty policy", "AuthorizationPolicy/v1", {}],
    [
      "the policy of the getting started pages",
      "AuthorizationPolicy/v1",
      {
        selector: { matchLabels: { app: "productpage" } },
        action: "ALLOW",
        rules: [{ from: [{ source: { principals: ["cluster.local/ns/default/sa/x"] } }], to: [{ operation: { ports: ["9080"] } }] }],
      },
    ],
    ["a policy with conditions", "AuthorizationPolicy/v1beta1", { rules: [{ when: [{ key: "source.ip", notValues: ["10.0.0.0/8"] }] }] }],
    ["a policy for a service", "AuthorizationPolicy/v1", { targetRefs: [{ kind: "Service", group: "", name: "reviews" }] }],
    ["strict", "PeerAuthentication/v1", { mtls: { mode: "STRICT" } }],
    ["by port", "PeerAuthentication/v1", { selector: { matchLabels: { a: "b" } }, portLevelMtls: { "8080": { mode: "DISABLE" } } }],
    ["a service entry", "ServiceEntry/v1", { hosts: ["a.example"], ports: [{ number: 443, name: "tls", protocol: "TLS" }], resolution: "DNS", location: "MESH_EXTERNAL" }],
    ["a service entry with addresses", "ServiceEntry/v1", { hosts: ["a.example"], addresses: ["10.0.0.0/8"], resolution: "STATIC", endpoints: [{ address: "10.0.0.1" }] }],
    ["a workload entry", "WorkloadEntry/v1", { address: "10.0.0.1", labels: { a: "b" }, serviceAccount: "x", ports: { http: 80 } }],
    ["a waypoint", "Gateway/v1", { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] }],
    ["a route", "HTTPRoute/v1", { parentRefs: [{ group: "", kind: "Service", name: "r", port: 80 }], rules: [{ backendRefs: [{ name: "r", port: 80, weight: 90 }] }] }],
    ["TLS to a backend", "BackendTLSPolicy/v1", {
      targetRefs: [{ group: "", kind: "Service", name: "a" }, { group: "", kind: "Service", name: "a", sectionName: "b" }],
      validation: { hostname: "a.example.com", caCertificateRefs: [{ group: "", kind: "ConfigMap", name: "x" }], subjectAltNames: [{ type: "URI", uri: "spiffe://a/b" }, { type: "Hostname", hostname: "b.example.com" }] },
    }],
  ];
  for (const [name, kind, spec] of good) {
    it(`accepts ${name}`, () => {
      const { problems, dropped } = check(kind, spec);
      assert.deepEqual({ problems, dropped }, { problems: [], dropped: [] });
    });
  }

  const bad: [string, string, JsonObject, RegExp][] = [
    ["an unknown action", "AuthorizationPolicy/v1", { action: "MAYBE" }, /spec\.action: Unsupported value: "MAYBE": supported values: "ALLOW"/],
    ["a selector and a target", "AuthorizationPolicy/v1", { selector: {}, targetRefs: [{ kind: "Service", name: "x" }] }, /only one of targetRefs or selector/],
    ["service accounts and principals", "AuthorizationPolicy/v1", { rules: [{ from: [{ source: { principals: ["a"], serviceAccounts: ["b"] } }] }] }, /Cannot set serviceAccounts/],
    ["a number as a port", "AuthorizationPolicy/v1", { rules: [{ to: [{ operation: { ports: [80] } }] }] }, /ports\[0\] in body must be of type string: "integer"/],
    ["a rule without a key", "AuthorizationPolicy/v1", { rules: [{ when: [{ values: ["x"] }] }] }, /when\[0\]\.key: Required value/],
    ["an unknown mode", "PeerAuthentication/v1", { mtls: { mode: "strict" } }, /spec\.mtls\.mode: Unsupported value/],
    ["ports without a selector", "PeerAuthentication/v1", { portLevelMtls: { "80": { mode: "STRICT" } } }, /portLevelMtls requires selector/],
    ["a port out of range", "PeerAuthentication/v1", { selector: { matchLabels: { a: "b" } }, portLevelMtls: { "70000": {} } }, /port must be between 1-65535/],
    ["no hosts", "ServiceEntry/v1", { ports: [] }, /spec\.hosts: Required value/],
    ["endpoints in mode NONE", "ServiceEntry/v1", { hosts: ["a.b"], resolution: "NONE", endpoints: [{ address: "1.1.1.1" }] }, /NONE mode cannot set endpoints/],
    ["two ports of a number", "ServiceEntry/v1", { hosts: ["a.b"], ports: [{ number: 1, name: "a" }, { number: 1, name: "b" }] }, /port number cannot be duplicated/],
    ["a key source with a wrong scheme", "RequestAuthentication/v1", { jwtRules: [{ issuer: "x", jwksUri: "ftp://x/" }] }, /URI must have scheme/],
    ["two listeners that are one", "Gateway/v1", { gatewayClassName: "x", listeners: [{ name: "a", port: 80, protocol: "HTTP" }, { name: "b", port: 80, protocol: "HTTP" }] }, /Combination of port, protocol and hostname/],
    ["a relative path", "HTTPRoute/v1", { rules: [{ matches: [{ path: { value: "x" } }] }] }, /absolute path/],
    ["a filter that lacks its body", "HTTPRoute/v1", { rules: [{ filters: [{ type: "RequestRedirect" }] }] }, /filter.requestRedirect must be specified/],
    ["a backend without port", "HTTPRoute/v1", { rules: [{ backendRefs: [{ name: "x" }] }] }, /Must have port/],
    ["two sorts of authorities", "BackendTLSPolicy/v1", { targetRefs: [{ group: "", kind: "Service", name: "a" }], validation: { hostname: "a.b", wellKnownCACertificates: "System", caCertificateRefs: [{ group: "", kind: "ConfigMap", name: "x" }] } }, /must not contain both/],
    ["no authorities", "BackendTLSPolicy/v1", { targetRefs: [{ group: "", kind: "Service", name: "a" }], validation: { hostname: "a.b" } }, /must specify either/],
    ["a target twice", "BackendTLSPolicy/v1", { targetRefs: [{ group: "", kind: "Service", name: "a" }, { group: "", kind: "Service", name: "a" }], validation: { hostname: "a.b", wellKnownCACertificates: "System" } }, /may be given once/],
    ["a name of another type", "BackendTLSPolicy/v1", { targetRefs: [{ group: "", kind: "Service", name: "a" }], validation: { hostname: "a.b", wellKnownCACertificates: "System", subjectAltNames: [{ type: "URI", hostname: "a.b" }] } }, /must contain URI/],
  ];
  for (const [name, kind, spec, want] of bad) {
    it(`refuses ${name}`, () => assert.match(check(kind, spec).problems.join("\n"), want));
  }

  it("fills the Gateway API's defaults in", () => {
    const { value } = check("HTTPRoute/v1", { parentRefs: [{ name: "g" }], rules: [{ backendRefs: [{ name: "s", port: 80 }] }] });
    assert.deepEqual(value["spec"], {
      parentRefs: [{ name: "g", group: "gateway.networking.k8s.io", kind: "Gateway" }],
      rules: [{ backendRefs: [{ name: "s", port: 80, group: "", kind: "Service", weight: 1 }], matches: [{ path: { type: "PathPrefix", value: "/" } }] }],
    });
  });
});
