// Owns the wiring of everything that waypoints are told: routes, policies and traffic settings on one side, WaypointConfig on the other.
import type { Collection, Context, Graph, Index, Source } from "@ambit/collections";
import type { KubeObject } from "@ambit/kube";
import type { ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";
import type { Waypoint } from "../waypoints.ts";
import { attachmentsOf } from "./attach.ts";
import { configOf, type WaypointResource } from "./config.ts";
import { DEFAULT_OPTIONS, type MeshOptions } from "./mesh-options.ts";
import { parentKey } from "./parents.ts";
import { requestAuthenticationOf, type FetchedKeys, type WantedKeys } from "./request-authentication.ts";
import { requestPolicyOf } from "./request-policy.ts";
import { routeOf, type RouteInfo } from "./routes.ts";
import { boundTo, waypointGatewayOf } from "./scope.ts";
import { routeStatus } from "../../status/routes.ts";
import { untargetedStatus, waypointPolicyStatus } from "../../status/waypoint-policies.ts";
import type { DesiredStatus } from "../../status/conditions.ts";

export interface WaypointSources {
  readonly gateways: Collection<KubeObject>;
  readonly authorizationPolicies: Collection<KubeObject>;
  readonly httpRoutes: Collection<KubeObject>;
  readonly grpcRoutes: Collection<KubeObject>;
  readonly tlsRoutes: Collection<KubeObject>;
  readonly tcpRoutes: Collection<KubeObject>;
  readonly requestAuthentications: Collection<KubeObject>;
}

export interface WaypointInputs {
  readonly graph: Graph;
  readonly settings: Settings;
  readonly sources: WaypointSources;
  readonly waypoints: Collection<Waypoint>;
  readonly services: Collection<ServiceInfo>;
}

export interface WaypointOutputs {
  readonly configs: Collection<WaypointResource>;
  /** What MeshConfig says; key `mesh`. Without it Istio's defaults hold. */
  readonly options: Source<{ readonly key: "mesh"; readonly options: MeshOptions }>;
  /** Which keys of issuers are to be fetched, and where they go. */
  readonly wantedKeys: Collection<WantedKeys>;
  readonly fetchedKeys: Source<FetchedKeys>;
  readonly statuses: readonly Collection<DesiredStatus>[];
}

const byKey = { key: (o: { key: string }) => o.key };

export function wireWaypoints(o: WaypointInputs): WaypointOutputs {
  const { graph: g, settings, sources, services } = o;
  const options = g.source<{ readonly key: "mesh"; readonly options: MeshOptions }>("mesh options", byKey);
  const optionsOf = (ctx: Context): MeshOptions => ctx.fetchOne(options, { key: "mesh" })?.options ?? DEFAULT_OPTIONS;

  const gateways = g.derive("waypoint gateways", sources.gateways, byKey, waypointGatewayOf(o.waypoints));
  const servicesByHost = g.index("services by host", services, (s) => [s.service.hostname]);
  const servicesByOwner: Index<ServiceInfo> = g.index("services by owner", services, (s) => [`${s.owner.kind}/${s.owner.namespace}/${s.owner.name}`]);
  const servicesByWaypoint = g.index("services by waypoint", services, boundTo);

  const backends = { settings, services, servicesByHost };
  const routes = g.join<RouteInfo>("routes", [
    g.derive("HTTP routes", sources.httpRoutes, byKey, routeOf(backends, "HTTPRoute")),
    g.derive("gRPC routes", sources.grpcRoutes, byKey, routeOf(backends, "GRPCRoute")),
    g.derive("TLS routes", sources.tlsRoutes, byKey, routeOf(backends, "TLSRoute")),
    g.derive("TCP routes", sources.tcpRoutes, byKey, routeOf(backends, "TCPRoute")),
  ]);
  const routesByParent = g.index("routes by parent", routes, (r) => [...new Set(r.parents.flatMap((p) => parentKey(p) ?? []))]);
  const attachments = g.derive("routes of services", services, byKey, attachmentsOf({ routes, routesByParent }));

  const targets = { settings, gateways, services, servicesByOwner, routes };
  const policies = g.derive("request policies", sources.authorizationPolicies, byKey, requestPolicyOf({
    ...targets, trustDomains: (ctx) => [settings.trustDomain, ...optionsOf(ctx).trustDomainAliases] }));
  const policiesByWaypoint = g.index("request policies by waypoint", policies, (p) => p.waypoints);

  const fetchedKeys = g.source<FetchedKeys>("keys of issuers", byKey);
  const authentications = g.derive("request authentications", sources.requestAuthentications, byKey, requestAuthenticationOf(targets, fetchedKeys));
  const authenticationsByWaypoint = g.index("request authentications by waypoint", authentications, (p) => p.waypoints);
  // Nobody's tokens are checked with keys of a policy that no waypoint enforces.
  const wantedKeys = g.derive("wanted keys", authentications, byKey, (_ctx, a) => (a.waypoints.length === 0 ? [] : a.wanted));

  const configs = g.derive("waypoint configurations", gateways, byKey, configOf({
    settings, options: optionsOf, services, servicesByWaypoint, attachments, policies, policiesByWaypoint, authentications, authenticationsByWaypoint }));
  return {
    configs, options, wantedKeys, fetchedKeys,
    statuses: [
      g.derive("route statuses", routes, byKey, routeStatus({ services, servicesByOwner, attachments, gateways })),
      g.derive("request policy statuses", policies, byKey, (_ctx, p) => waypointPolicyStatus("authorizationPolicies", p)),
      g.derive("request authentication statuses", authentications, byKey, (_ctx, p) => waypointPolicyStatus("requestAuthentications", p)),
      g.derive("statuses of untargeted request authentications", sources.requestAuthentications, byKey, (_ctx, o) => untargetedStatus("requestAuthentications", o)),
    ],
  };
}
