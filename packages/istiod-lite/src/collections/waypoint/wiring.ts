// Owns the wiring of everything that waypoints are told: routes, policies and traffic settings on one side, WaypointConfig on the other.
import type { Collection, Context, Graph, Index, Source, Transformation } from "@ambit/collections";
import type { Workload } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { trustDomainsOf, type MeshScope } from "../scope.ts";
import type { EntryInfo } from "../service-entries.ts";
import type { ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";
import type { Waypoint } from "../waypoints.ts";
import { attachmentsOf } from "./attach.ts";
import { backendTlsOf } from "./backend-tls.ts";
import { configOf, type WaypointResource } from "./config.ts";
import { destinationRuleOf, type DestinationRuleInfo } from "./destination-rule.ts";
import { hostKeys } from "./istio-hosts.ts";
import { DEFAULT_OPTIONS, meshOptionsOf, type MeshOptions } from "./mesh-options.ts";
import { askIndex, demandsOfRule, demandsOfVirtualService, endpointLabels, podLabels, workloadEntryLabels, type Asked, type LabelDemand, type LabelInputs, type LabelledWorkload } from "./labels.ts";
import { partsOf } from "./parts.ts";
import { parentKey } from "./parents.ts";
import { requestAuthenticationOf, type FetchedKeys, type WantedKeys } from "./request-authentication.ts";
import { requestPolicyOf } from "./request-policy.ts";
import { routeOf, type RouteInfo } from "./routes.ts";
import { waypointGatewayOf } from "./scope.ts";
import { namespaceWide, telemetryOf, telemetryTargets, unusableProviders } from "./telemetry.ts";
import { withDelegates } from "./vs-delegate.ts";
import { virtualServiceOf, type VirtualServiceInfo } from "./virtual-service.ts";
import { backendTlsStatus } from "../../status/backend-tls.ts";
import { destinationRuleStatus, virtualServiceStatus } from "../../status/istio-traffic.ts";
import { routeStatus } from "../../status/routes.ts";
import { telemetryStatus, untargetedStatus, waypointPolicyStatus } from "../../status/waypoint-policies.ts";
import type { DesiredStatus } from "../../status/conditions.ts";

export interface WaypointSources {
  readonly gateways: Collection<KubeObject>;
  readonly authorizationPolicies: Collection<KubeObject>;
  readonly httpRoutes: Collection<KubeObject>;
  readonly grpcRoutes: Collection<KubeObject>;
  readonly tlsRoutes: Collection<KubeObject>;
  readonly tcpRoutes: Collection<KubeObject>;
  readonly backendTlsPolicies: Collection<KubeObject>;
  readonly configMaps: Collection<KubeObject>;
  readonly requestAuthentications: Collection<KubeObject>;
  readonly virtualServices: Collection<KubeObject>;
  readonly destinationRules: Collection<KubeObject>;
  readonly telemetries: Collection<KubeObject>;
  readonly pods: Collection<KubeObject>;
  readonly workloadEntries: Collection<KubeObject>;
}

export interface WaypointInputs {
  readonly graph: Graph;
  readonly settings: Settings;
  readonly sources: WaypointSources;
  readonly waypoints: Collection<Waypoint>;
  readonly services: Collection<ServiceInfo>;
  readonly entries: Collection<EntryInfo>;
  readonly workloads: Collection<Workload>;
  readonly scope: Collection<MeshScope>;
  /** Only what is in a namespace that is read, and of our revision. */
  readonly ours: <O>(f: Transformation<KubeObject, O>) => Transformation<KubeObject, O>;
}

export interface WaypointOutputs {
  readonly configs: Collection<WaypointResource>;
  /** What MeshConfig says; one item. */
  readonly options: Collection<MeshOptions>;
  /** Which keys of issuers are to be fetched, and where they go. */
  readonly wantedKeys: Collection<WantedKeys>;
  readonly fetchedKeys: Source<FetchedKeys>;
  readonly statuses: readonly Collection<DesiredStatus>[];
}

const byKey = { key: (o: { key: string }) => o.key };

export function wireWaypoints(o: WaypointInputs): WaypointOutputs {
  const { graph: g, settings, sources, services, ours } = o;
  const gateways = g.derive("waypoint gateways", sources.gateways, byKey, ours(waypointGatewayOf(o.waypoints)));
  const servicesByHost = g.index("services by host", services, (s) => [s.service.hostname]);
  const servicesByOwner: Index<ServiceInfo> = g.index("services by owner", services, (s) => [`${s.owner.kind}/${s.owner.namespace}/${s.owner.name}`]);

  const backends = { settings, services, servicesByHost };
  const options = g.derive("mesh options", o.scope, byKey, meshOptionsOf(backends));
  const optionsOf = (ctx: Context): MeshOptions => ctx.fetchOne(options, { key: "mesh" }) ?? DEFAULT_OPTIONS;
  const routes = g.join<RouteInfo>("routes", [
    g.derive("HTTP routes", sources.httpRoutes, byKey, ours(routeOf(backends, "HTTPRoute"))),
    g.derive("gRPC routes", sources.grpcRoutes, byKey, ours(routeOf(backends, "GRPCRoute"))),
    g.derive("TLS routes", sources.tlsRoutes, byKey, ours(routeOf(backends, "TLSRoute"))),
    g.derive("TCP routes", sources.tcpRoutes, byKey, ours(routeOf(backends, "TCPRoute"))),
  ]);
  const routesByParent = g.index("routes by parent", routes, (r) => [...new Set(r.parents.flatMap((p) => parentKey(p) ?? []))]);
  const attachments = g.derive("routes of services", services, byKey, attachmentsOf({ routes, routesByParent }));

  const targets = { settings, gateways, services, servicesByOwner, routes };
  const policies = g.derive("request policies", sources.authorizationPolicies, byKey, ours(requestPolicyOf({ ...targets, trustDomains: (ctx) => trustDomainsOf(ctx, o), options: optionsOf })));
  const policiesByWaypoint = g.index("request policies by waypoint", policies, (p) => p.waypoints);

  const fetchedKeys = g.source<FetchedKeys>("keys of issuers", byKey);
  const authentications = g.derive("request authentications", sources.requestAuthentications, byKey, ours(requestAuthenticationOf(targets, fetchedKeys)));
  const authenticationsByWaypoint = g.index("request authentications by waypoint", authentications, (p) => p.waypoints);
  // Nobody's tokens are checked with keys of a policy that no waypoint enforces.
  const wantedKeys = g.derive("wanted keys", authentications, byKey, (_ctx, a) => (a.waypoints.length === 0 ? [] : a.wanted));

  const written = g.derive("virtual services as written", sources.virtualServices, byKey, ours(virtualServiceOf(backends)));
  const virtualServices = g.derive("virtual services", written, byKey, withDelegates(written));
  const destinationRules = g.derive("destination rules", sources.destinationRules, byKey, ours(destinationRuleOf(settings)));
  const backendTls = g.derive("backend TLS policies", sources.backendTlsPolicies, byKey, ours(backendTlsOf(sources.configMaps)));
  const traffic = {
    backendTls, backendTlsByTarget: g.index("backend TLS policies by target", backendTls, (p) => [...new Set(p.targets.flatMap((t) => t.owner ?? []))]),
    settings, virtualServices, virtualServicesByHost: g.index("virtual services by host", virtualServices, (v) => hostKeys(v.hosts)),
    destinationRules, destinationRulesByHost: g.index("destination rules by host", destinationRules, (r) => hostKeys(r.hosts)),
  };
  const telemetries = g.derive("telemetries", sources.telemetries, byKey, ours(telemetryOf(targets)));
  const telemetry = {
    telemetries, telemetriesByNamespace: g.index("telemetries by namespace", telemetries, namespaceWide), telemetriesByTarget: g.index("telemetries by target", telemetries, telemetryTargets),
  };
  const labels = wireLabels(o, virtualServices, destinationRules);

  const parts = g.derive("parts of waypoint configurations", services, byKey, partsOf({ settings, options: optionsOf, gateways, services, attachments, traffic, labels, telemetry }));
  const partsByWaypoint = g.index("parts by waypoint", parts, (p) => [p.waypoint]);
  const configs = g.derive("waypoint configurations", gateways, byKey, configOf({
    settings, options: optionsOf, parts, partsByWaypoint, policies, policiesByWaypoint, authentications, authenticationsByWaypoint, telemetry, scope: o.scope }));
  const trafficStatus = { ...traffic, services, servicesByHost, attachments };
  return {
    configs, options, wantedKeys, fetchedKeys,
    statuses: [
      g.derive("route statuses", routes, byKey, routeStatus({ services, servicesByOwner, attachments, gateways })),
      g.derive("request policy statuses", policies, byKey, (_ctx, p) => waypointPolicyStatus("authorizationPolicies", p)),
      g.derive("request authentication statuses", authentications, byKey, (_ctx, p) => waypointPolicyStatus("requestAuthentications", p)),
      g.derive("statuses of untargeted request authentications", sources.requestAuthentications, byKey, ours((_ctx, r) => untargetedStatus("requestAuthentications", r))),
      g.derive("telemetry statuses", telemetries, byKey, (ctx, t) => telemetryStatus(t, unusableProviders(t, optionsOf(ctx)))),
      g.derive("virtual service statuses", virtualServices, byKey, virtualServiceStatus(trafficStatus)),
      g.derive("backend TLS policy statuses", backendTls, byKey, backendTlsStatus({ ...traffic, servicesByOwner, services, gateways })),
      g.derive("destination rule statuses", destinationRules, byKey, destinationRuleStatus(trafficStatus)),
    ],
  };
}

function wireLabels(o: WaypointInputs, virtualServices: Collection<VirtualServiceInfo>, destinationRules: Collection<DestinationRuleInfo>): LabelInputs {
  const { graph: g, settings, sources } = o;
  const demands = g.join<LabelDemand>("label demands", [
    g.derive("label demands of virtual services", virtualServices, byKey, (_ctx, v) => demandsOfVirtualService(v)),
    g.derive("label demands of destination rules", destinationRules, byKey, (_ctx, r) => demandsOfRule(r)),
  ]);
  // Without their askers: one more of the same question is no news to any workload.
  const asked: Collection<Asked> = g.derive("asked labels", g.group("label demands by label", demands, (d) => [d.ask]), byKey, (_ctx, d): Asked => ({ key: d.key }));
  const labels = g.join<LabelledWorkload>("labels of workloads", [
    g.derive("labels of pods", sources.pods, byKey, podLabels(settings, asked)),
    g.derive("labels of workload entries", sources.workloadEntries, byKey, workloadEntryLabels(settings, asked)),
    g.derive("labels of service entries' endpoints", o.entries, byKey, endpointLabels(settings, asked)),
  ]);
  const members = g.index("workloads by service", o.workloads, (w) => [...w.services.keys()]);
  return {
    labels, labelsByAsk: g.index("labels of workloads by ask", labels, askIndex),
    membersOf: (ctx, service) => ctx.fetch(o.workloads, { index: [members, service] }).map((w) => w.uid),
  };
}
