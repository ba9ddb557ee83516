// Builders for decision tests: a small world (shop/web of two pods, shop/v1 and shop/v2 of one each), a waypoint's configuration, and a request.
import type { Filters, HttpRoute, Ip, JwtRule, PolicyOperation, RequestMatch, RequestPolicy, WaypointConfig, WeightedBackend } from "@ambit/core";
import { pod, stateOf, svc } from "@ambit/proxy/testing";
import type { StateView } from "@ambit/proxy/state";
import assert from "node:assert/strict";
import type { ConnectionFacts, RequestFacts } from "../facts.ts";

const shop = (name: string, address: string, host: string, more: object = {}) =>
  pod(name, address, { uid: `Kubernetes//Pod/shop/${name}`, namespace: "shop", services: { [`shop/${host}`]: { ports: [{ servicePort: 80, targetPort: 8080 }, { servicePort: 8080, targetPort: 8080 }] } }, ...more });

export const world = (): StateView => stateOf({
  workloads: [shop("web-1", "10.0.0.1", "web"), shop("web-2", "10.0.0.2", "web"), shop("v1-1", "10.0.0.3", "v1"), shop("v2-1", "10.0.0.4", "v2"), pod("client", "10.0.0.9", { uid: "Kubernetes//Pod/team/client", namespace: "team" })],
  services: ["web", "v1", "v2"].map((name, i) => svc(name, `10.96.0.${i + 1}`, { namespace: "shop", ports: [{ servicePort: 80, targetPort: 8080 }, { servicePort: 8080, targetPort: 8080 }] })),
});

export const config = (more: Partial<WaypointConfig> = {}): WaypointConfig => ({
  namespace: "shop", name: "waypoint", serves: "service", trustDomain: "cluster.local", trustDomainAliases: [], pathNormalization: "base",
  defaultRetry: { retries: 2, on: ["connect-failure"], statuses: [], backoffMs: 25, backoffMaxMs: 250 }, trustedProxies: 0,
  services: new Map(), traffic: new Map(), policies: [], authentications: [], authorizationProviders: new Map(), workloadLabels: new Map(),
  telemetry: {
    accessLog: { enabled: false, encoding: "text", format: undefined, filter: undefined },
    tracing: { provider: undefined, samplingPercent: 1, customTags: [] }, metrics: { enabled: true, overrides: [] },
  },
  serviceTelemetry: new Map(), ...more,
});

export const NO_FILTERS: Filters = { request: undefined, response: undefined, rewrite: undefined, mirrors: [], cors: undefined };
export const ANY: RequestMatch = { path: undefined, method: undefined, grpc: undefined, headers: [], query: [], sourceNamespace: undefined, sourceLabels: {}, claims: [] };
export const backend = (name: string, weight = 1, filters: Partial<Filters> = {}): WeightedBackend =>
  ({ kind: "service", weight, filters: { ...NO_FILTERS, ...filters }, backend: { service: `shop/${name}`, port: 80, subset: undefined } });

export const route = (match: Partial<RequestMatch>, more: Partial<Omit<HttpRoute, "match" | "filters">> & { readonly filters?: Partial<Filters> } = {}): HttpRoute => ({
  origin: { kind: "HTTPRoute", namespace: "shop", name: "routes", rule: 0, ruleName: undefined, match: 0, createdAt: 0 },
  action: { kind: "forward", backends: [backend("v1")] }, timeouts: { requestMs: undefined, attemptMs: undefined }, retry: undefined, fault: undefined, session: undefined,
  ...more, match: { ...ANY, ...match }, filters: { ...NO_FILTERS, ...more.filters },
});

/** Producer routes of shop/web, port 80. */
export const routed = (routes: readonly HttpRoute[], more: Partial<WaypointConfig> = {}): WaypointConfig =>
  config({ services: new Map([["shop/web", { producer: new Map([[80, { kind: "http", routes, fallThrough: false }]]), consumers: new Map() }]]), ...more });

const EMPTY = { any: [], not: [] };
export const operation = (more: Partial<PolicyOperation>): PolicyOperation => ({ hosts: EMPTY, methods: EMPTY, paths: EMPTY, ports: EMPTY, ...more });
export const policy = (more: Partial<RequestPolicy>): RequestPolicy =>
  ({ namespace: "shop", name: "policy", action: "allow", provider: undefined, dryRun: false, targets: [{ kind: "waypoint" }], rules: [{ from: [], to: [], when: [] }], refused: undefined, ...more });
export const jwtRule = (more: Partial<JwtRule>): JwtRule => ({
  issuer: "https://issuer", audiences: [], jwks: undefined, fromHeaders: [], fromParams: [], fromCookies: [], forwardOriginalToken: false,
  outputPayloadToHeader: undefined, outputClaimToHeaders: [], spaceDelimitedClaims: [], ...more,
});

export function connection(view: StateView, more: Partial<ConnectionFacts> = {}): ConnectionFacts {
  const service = view.service("shop/web");
  assert.ok(service);
  return {
    id: "c1", peer: { trustDomain: "cluster.local", namespace: "team", serviceAccount: "client" }, source: { ip: "10.0.0.9" as Ip, port: 40_000 },
    sourceWorkload: view.workloadAt("", "10.0.0.9" as Ip), destination: { kind: "service", service }, address: { ip: "10.96.0.1" as Ip, port: 80 }, ...more,
  };
}

export const request = (view: StateView, more: Partial<RequestFacts> = {}): RequestFacts => ({
  connection: connection(view), protocol: "HTTP/1.1", method: "GET", scheme: "http", authority: "web", target: "/", fields: [], grpc: false, upgrade: undefined,
  now: 1_700_000_000_000, token: undefined, checks: new Map(), ...more,
});

/** Chance that must not be asked. */
export const noChance = (): number => { throw new Error("nothing is open here"); };
