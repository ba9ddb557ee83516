// The contract of the definitions that Ambit installs: what the schemas and rules of the Gateway API and Istio take and refuse.
import { contract, type Talk } from "./contract.fixture.ts";
import { CRDS, meshDefinitions } from "./crd.fixture.ts";
import { at } from "./masks.fixture.ts";
import type { JsonObject } from "./wire.fixture.ts";

const GATEWAY = "gateway.networking.k8s.io/v1";
const parent = { parentRefs: [{ name: "gw" }] };
const rule = (more: JsonObject): JsonObject => ({ ...parent, rules: [more] });
const backend = { backendRefs: [{ name: "s", port: 80 }] };

/** What is applied is asked for on a dry run: kind, what is special, spec. */
const CASES: readonly [apiVersion: string, kind: string, plural: string, what: string, spec: JsonObject][] = [
  [GATEWAY, "Gateway", "gateways", "a listener", { gatewayClassName: "c", listeners: [{ name: "http", port: 80, protocol: "HTTP" }] }],
  [GATEWAY, "Gateway", "gateways", "two listeners of a name", { gatewayClassName: "c", listeners: [{ name: "a", port: 80, protocol: "HTTP" }, { name: "a", port: 81, protocol: "HTTP" }] }],
  [GATEWAY, "Gateway", "gateways", "two listeners of a port", { gatewayClassName: "c", listeners: [{ name: "a", port: 80, protocol: "HTTP" }, { name: "b", port: 80, protocol: "HTTP" }] }],
  [GATEWAY, "Gateway", "gateways", "TLS on plain HTTP", { gatewayClassName: "c", listeners: [{ name: "a", port: 80, protocol: "HTTP", tls: { mode: "Terminate", certificateRefs: [{ name: "x" }] } }] }],
  [GATEWAY, "Gateway", "gateways", "HTTPS that does not terminate", { gatewayClassName: "c", listeners: [{ name: "a", port: 443, protocol: "HTTPS", tls: { mode: "Passthrough" } }] }],
  [GATEWAY, "Gateway", "gateways", "a hostname on TCP", { gatewayClassName: "c", listeners: [{ name: "a", port: 9, protocol: "TCP", hostname: "a.example" }] }],
  [GATEWAY, "Gateway", "gateways", "a bad hostname", { gatewayClassName: "c", listeners: [{ name: "a", port: 80, protocol: "HTTP", hostname: "A_b" }] }],
  [GATEWAY, "Gateway", "gateways", "no listeners", { gatewayClassName: "c", listeners: [] }],
  [GATEWAY, "Gateway", "gateways", "a port out of range", { gatewayClassName: "c", listeners: [{ name: "a", port: 0, protocol: "HTTP" }] }],
  [GATEWAY, "Gateway", "gateways", "an address that is none", { gatewayClassName: "c", addresses: [{ type: "IPAddress", value: "no" }], listeners: [{ name: "a", port: 80, protocol: "HTTP" }] }],
  [GATEWAY, "HTTPRoute", "httproutes", "nothing but parents", parent],
  [GATEWAY, "HTTPRoute", "httproutes", "a whole rule", rule({ matches: [{ path: { value: "/a" }, method: "GET", headers: [{ name: "x", value: "y" }] }], filters: [{ type: "RequestHeaderModifier", requestHeaderModifier: { set: [{ name: "a", value: "b" }] } }], timeouts: { request: "10s", backendRequest: "2s" }, ...backend })],
  [GATEWAY, "HTTPRoute", "httproutes", "a path that does not begin with a slash", rule({ matches: [{ path: { type: "PathPrefix", value: "a" } }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "a path with two slashes", rule({ matches: [{ path: { type: "Exact", value: "/a//b" } }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "an unknown method", rule({ matches: [{ method: "LOOK" }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "a header twice", rule({ matches: [{ headers: [{ name: "a", value: "b" }, { name: "a", value: "c" }] }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "a filter without its part", rule({ filters: [{ type: "RequestRedirect" }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "a filter with another's part", rule({ filters: [{ type: "RequestRedirect", requestRedirect: {}, urlRewrite: {} }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "a redirect with backends", rule({ filters: [{ type: "RequestRedirect", requestRedirect: {} }], ...backend })],
  [GATEWAY, "HTTPRoute", "httproutes", "a prefix to rewrite without one to match", rule({ matches: [{ path: { type: "Exact", value: "/a" } }], filters: [{ type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/b" } } }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "a filter that repeats", rule({ filters: [1, 2].map(() => ({ type: "RequestHeaderModifier", requestHeaderModifier: { remove: ["a"] } })) })],
  [GATEWAY, "HTTPRoute", "httproutes", "a longer backend time-out", rule({ timeouts: { request: "1s", backendRequest: "2s" } })],
  [GATEWAY, "HTTPRoute", "httproutes", "a bad duration", rule({ timeouts: { request: "soon" } })],
  [GATEWAY, "HTTPRoute", "httproutes", "a Service without port", rule({ backendRefs: [{ name: "s" }] })],
  [GATEWAY, "HTTPRoute", "httproutes", "two parents alike", { parentRefs: [{ name: "gw" }, { name: "gw" }] }],
  [GATEWAY, "HTTPRoute", "httproutes", "two parents of sections", { parentRefs: [{ name: "gw", sectionName: "a" }, { name: "gw", sectionName: "b" }] }],
  [GATEWAY, "HTTPRoute", "httproutes", "unknown fields", rule({ color: "red", ...backend })],
  [GATEWAY, "GRPCRoute", "grpcroutes", "a method", rule({ matches: [{ method: { service: "a.B", method: "C" } }], ...backend })],
  [GATEWAY, "GRPCRoute", "grpcroutes", "a method of nothing", rule({ matches: [{ method: { type: "Exact" } }] })],
  [GATEWAY, "GatewayClass", "gatewayclasses", "a controller", { controllerName: "example.com/c" }],
  [GATEWAY, "GatewayClass", "gatewayclasses", "a bad controller", { controllerName: "none" }],
  ["security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies", "a rule", { action: "DENY", rules: [{ from: [{ source: { principals: ["a"] } }], to: [{ operation: { methods: ["GET"], ports: ["80"] } }] }] }],
  ["security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies", "an unknown action", { action: "MAYBE" }],
  ["security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies", "a selector and a target", { selector: { matchLabels: { a: "b" } }, targetRefs: [{ kind: "Gateway", group: "gateway.networking.k8s.io", name: "g" }] }],
  ["security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies", "a target in another namespace", { targetRefs: [{ kind: "Service", name: "s", namespace: "other" }] }],
  ["security.istio.io/v1", "PeerAuthentication", "peerauthentications", "ports with a selector", { selector: { matchLabels: { a: "b" } }, mtls: { mode: "STRICT" }, portLevelMtls: { "80": { mode: "DISABLE" } } }],
  ["security.istio.io/v1", "PeerAuthentication", "peerauthentications", "ports without a selector", { portLevelMtls: { "80": { mode: "DISABLE" } } }],
  ["security.istio.io/v1", "PeerAuthentication", "peerauthentications", "an unknown mode", { mtls: { mode: "SOMETIMES" } }],
  ["security.istio.io/v1", "RequestAuthentication", "requestauthentications", "an issuer", { jwtRules: [{ issuer: "https://a.example", jwksUri: "https://a.example/keys" }] }],
  ["security.istio.io/v1", "RequestAuthentication", "requestauthentications", "both keys and where they are", { jwtRules: [{ issuer: "a", jwks: "{}", jwksUri: "https://a.example" }] }],
  ["networking.istio.io/v1", "ServiceEntry", "serviceentries", "a host", { hosts: ["a.example"], ports: [{ number: 443, name: "https", protocol: "HTTPS" }], resolution: "DNS" }],
  ["networking.istio.io/v1", "ServiceEntry", "serviceentries", "no host", { hosts: [] }],
  ["networking.istio.io/v1", "ServiceEntry", "serviceentries", "any host", { hosts: ["*"] }],
  ["networking.istio.io/v1", "ServiceEntry", "serviceentries", "two ports of a number", { hosts: ["a.example"], ports: [{ number: 80, name: "a" }, { number: 80, name: "b" }] }],
  ["networking.istio.io/v1", "ServiceEntry", "serviceentries", "endpoints and a selector", { hosts: ["a.example"], endpoints: [{ address: "1.2.3.4" }], workloadSelector: { labels: { a: "b" } } }],
  ["networking.istio.io/v1", "WorkloadEntry", "workloadentries", "an address", { address: "1.2.3.4", serviceAccount: "a" }],
  ["networking.istio.io/v1", "WorkloadEntry", "workloadentries", "no address", {}],
  ["networking.istio.io/v1", "DestinationRule", "destinationrules", "a subset", { host: "s", subsets: [{ name: "v1", labels: { v: "1" } }], trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } }],
  ["networking.istio.io/v1", "DestinationRule", "destinationrules", "no host", { subsets: [{ name: "v1" }] }],
  ["networking.istio.io/v1", "VirtualService", "virtualservices", "a route", { hosts: ["s"], http: [{ route: [{ destination: { host: "s", subset: "v1" }, weight: 100 }], retries: { attempts: 2, perTryTimeout: "1s" } }] }],
  ["networking.istio.io/v1", "VirtualService", "virtualservices", "a time-out of nothing", { hosts: ["s"], http: [{ timeout: "0.0001s", route: [{ destination: { host: "s" } }] }] }],
  ["telemetry.istio.io/v1", "Telemetry", "telemetries", "a selector and a target", { selector: { matchLabels: { a: "b" } }, targetRefs: [{ kind: "Gateway", group: "gateway.networking.k8s.io", name: "g" }] }],
];

contract("mesh", ({ it }) => {
  const made: string[] = [];
  let ready: Promise<void> | undefined;

  /** Installs what is missing; a cluster that has the definitions keeps its own. */
  async function install(t: Talk): Promise<void> {
    for (const crd of meshDefinitions()) {
      const name = String(at(crd, "metadata.name"));
      if ((await t.raw("GET", `${CRDS}/${name}`)).code !== 404) continue;
      await t.quiet("POST", CRDS, crd);
      made.push(name);
    }
    for (const crd of meshDefinitions()) {
      for (const version of (at(crd, "spec.versions") as JsonObject[]).filter((v) => v["served"] === true)) {
        await t.until(`/apis/${String(at(crd, "spec.group"))}/${String(version["name"])}/${String(at(crd, "spec.names.plural"))}`, "the list", (answer) => answer.code === 200);
      }
    }
  }

  for (const [apiVersion, kind, plural, what, spec] of CASES) {
    it(`${kind} with ${what}`, async (t) => {
      await (ready ??= install(t));
      const path = kind === "GatewayClass" ? `/apis/${apiVersion}/${plural}` : `~${apiVersion}/${plural}`;
      await t.ask("POST", `${path}?dryRun=All`, { apiVersion, kind, metadata: { name: "x" }, spec }, { show: ["spec"] });
    });
  }

  it("leaves a cluster without the definitions it came with", async (t) => {
    for (const name of made) await t.raw("DELETE", `${CRDS}/${name}`);
    for (const name of made) await t.until(`${CRDS}/${name}`, "its end", (answer) => answer.code === 404);
  });
});
