// Owns the wiring of the control plane as one value: sources on one side, Address and Authorization resources on the other.
import { Graph, type Collection, type Index, type Source, type Transformation } from "@ambit/collections";
import { policyKey, type Policy, type Workload } from "@ambit/core";
import type { EndpointSlice, KubeObject, Pod, Service as KubeService } from "@ambit/kube";
import { serviceAddress, workloadAddress, type Address } from "./addresses.ts";
import { manualSliceOf, sliceWorkloads } from "./endpoint-slices.ts";
import { namespaceOf, nodeOf } from "./namespaces.ts";
import { gatewayWorkload, localFrom, localOf, networkGatewayOf, type NetworkGateway } from "./networks.ts";
import { levelsOf, peerAuthOf, portPolicyOf, staticStrictOf } from "./peer-authentication.ts";
import { podWorkload, type WorkloadInputs } from "./pods.ts";
import { policyOf } from "./policies.ts";
import { entryOf, entryServices, entryWorkloads, hostWinner, type EntryInfo } from "./service-entries.ts";
import { isOurRevision, scopeOf, taggedRevision, type MeshScope } from "./scope.ts";
import { serviceOf, type ServiceInfo } from "./services.ts";
import type { Settings } from "./settings.ts";
import { workloadEntryOf } from "./workload-entries.ts";
import { entryStatus, peerAuthStatus, policyStatus, serviceStatus, workloadEntryStatus, type DesiredStatus } from "../status/conditions.ts";
import type { WaypointResource } from "./waypoint/config.ts";
import type { MeshOptions } from "./waypoint/mesh-options.ts";
import { wireWaypoints, type WaypointOutputs } from "./waypoint/wiring.ts";
import { gatewayOfPod, waypointPolicy } from "./waypoint-only.ts";
import { accountOf, waypointOf } from "./waypoints.ts";

/** Where objects enter, by kind. */
export interface Sources {
  readonly pods: Source<Pod>;
  readonly services: Source<KubeService>;
  readonly namespaces: Source<KubeObject>;
  readonly nodes: Source<KubeObject>;
  readonly endpointSlices: Source<EndpointSlice>;
  readonly gateways: Source<KubeObject>;
  readonly gatewayClasses: Source<KubeObject>;
  readonly authorizationPolicies: Source<KubeObject>;
  readonly peerAuthentications: Source<KubeObject>;
  readonly serviceEntries: Source<KubeObject>;
  readonly workloadEntries: Source<KubeObject>;
  readonly httpRoutes: Source<KubeObject>;
  readonly grpcRoutes: Source<KubeObject>;
  readonly tlsRoutes: Source<KubeObject>;
  readonly tcpRoutes: Source<KubeObject>;
  readonly backendTlsPolicies: Source<KubeObject>;
  /** With mesh-wide settings, of which the one of our revision counts, or with certificates of authorities that a BackendTLSPolicy may name. */
  readonly configMaps: Source<KubeObject>;
  readonly requestAuthentications: Source<KubeObject>;
  readonly virtualServices: Source<KubeObject>;
  readonly destinationRules: Source<KubeObject>;
  readonly telemetries: Source<KubeObject>;
}

export interface Mesh {
  readonly sources: Sources;
  readonly batch: (change: () => void) => void;
  readonly addresses: Collection<Address>;
  /** Value: `node/namespace/serviceaccount`. */
  readonly podsByAccount: Index<Pod>;
  /** What ztunnels are sent, under `namespace/name`. */
  readonly authorizations: Collection<Policy>;
  /** Mesh-wide settings in force; one item, key "mesh". */
  readonly scope: Collection<MeshScope>;
  /** Doors to other networks. */
  readonly networkGateways: Collection<NetworkGateway>;
  readonly services: Collection<ServiceInfo>;
  /** For the allocation of addresses. */
  readonly serviceEntries: Collection<EntryInfo>;
  /** What each waypoint is told, under `namespace/name`. */
  readonly waypointConfigs: Collection<WaypointResource>;
  /** What MeshConfig says to waypoints. */
  readonly waypointOptions: Collection<MeshOptions>;
  /** Keys of issuers: which are to be fetched, and where they go. */
  readonly keys: Pick<WaypointOutputs, "wantedKeys" | "fetchedKeys">;
  /** Keys of policies that select no enrolled workload now; fed from outside, because it is counted. */
  readonly idlePolicies: Source<{ readonly key: string }>;
  /** Conditions as they should stand, per object and field manager. */
  readonly statuses: Collection<DesiredStatus>;
}

const keyOf = (o: KubeObject): string => (o.metadata.namespace === undefined ? o.metadata.name : `${o.metadata.namespace}/${o.metadata.name}`);
/** An object with an equal resourceVersion is the same object; files have none and are compared whole. */
const sameVersion = (a: KubeObject, b: KubeObject): boolean =>
  a.metadata.resourceVersion !== undefined && a.metadata.resourceVersion === b.metadata.resourceVersion && a.metadata.uid === b.metadata.uid;

/** `fill` runs before anything is derived: what is made then owes nothing to a change. */
export function buildMesh(settings: Settings, fill?: (sources: Sources) => void): Mesh {
  const g = new Graph();
  const source = <T extends KubeObject>(name: string): Source<T> => g.source<T>(name, { key: keyOf, equals: sameVersion });
  const sources: Sources = {
    pods: source("Pod"), services: source("Service"), namespaces: source("Namespace"), nodes: source("Node"), endpointSlices: source("EndpointSlice"),
    gateways: source("Gateway"), gatewayClasses: source("GatewayClass"),
    authorizationPolicies: source("AuthorizationPolicy"), peerAuthentications: source("PeerAuthentication"),
    serviceEntries: source("ServiceEntry"), workloadEntries: source("WorkloadEntry"),
    httpRoutes: source("HTTPRoute"), grpcRoutes: source("GRPCRoute"), tlsRoutes: source("TLSRoute"), tcpRoutes: source("TCPRoute"),
    backendTlsPolicies: source("BackendTLSPolicy"), configMaps: source("ConfigMap"),
    requestAuthentications: source("RequestAuthentication"), virtualServices: source("VirtualService"), destinationRules: source("DestinationRule"), telemetries: source("Telemetry"),
  };
  fill?.(sources);
  const byName = { key: (o: { name: string }) => o.name };
  const byKey = { key: (o: { key: string }) => o.key };
  const byPolicy = { key: policyKey };

  const mesh = g.source<{ key: string }>("mesh", byKey);
  mesh.set({ key: "mesh" });
  const tagged = g.index("services that name a tag", sources.services, taggedRevision);
  const scope = g.derive("mesh scope", mesh, byKey, scopeOf(settings, sources.configMaps, sources.services, tagged));
  const namespaces = g.derive("namespaces", sources.namespaces, byName, namespaceOf({ settings, scope }));
  const local = g.derive("local", mesh, byKey, localFrom(settings, namespaces, scope));
  const networkGateways = g.derive("network gateways", sources.gateways, byKey, networkGatewayOf(settings));
  const gatewaysByNetwork = g.index("gateways by network", networkGateways, (n) => [n.network]);
  /** Only what is in a namespace that is read. */
  const within = <T extends KubeObject, O>(f: Transformation<T, O>): Transformation<T, O> => (ctx, o) => {
    const space = ctx.fetchOne(namespaces, { key: o.metadata.namespace ?? "" });
    return (space === undefined ? !localOf(ctx, { settings, local }).selective : space.discovered) ? f(ctx, o) : undefined;
  };
  /** And, of kinds that belong to control planes, only what is of our revision. */
  const ours = <O>(f: Transformation<KubeObject, O>): Transformation<KubeObject, O> => within((ctx, o) => (isOurRevision(ctx, { scope }, o.metadata.labels) ? f(ctx, o) : undefined));
  const nodes = g.derive("nodes", sources.nodes, byName, nodeOf);
  const waypoints = g.derive("waypoints", sources.gateways, byKey, within(waypointOf(sources.gatewayClasses)));
  const waypointsByAccount = g.index("waypoints by service account", waypoints, accountOf);

  const serviceInputs = { settings, scope, local, namespaces, waypoints, waypointsByAccount };
  const kubeServices = g.derive("kubernetes services", sources.services, byKey, within(serviceOf(serviceInputs)));
  const kubeByHost = g.index("kubernetes services by host", kubeServices, (s) => [s.service.hostname]);
  const entries = g.derive("service entries", sources.serviceEntries, byKey, ours(entryOf(serviceInputs)));
  const claims = g.derive("hosts of service entries", entries, { key: (s: ServiceInfo) => `${s.owner.name} ${s.key}` }, entryServices(serviceInputs));
  const claimsByHost = g.index("service entries by host", claims, (s) => [s.service.hostname]);
  const rivals = g.group("service entries by key", claims, (s) => [s.key]);
  const entryWinners = g.derive("services of service entries", rivals, byKey, hostWinner(kubeServices, kubeByHost, claims, claimsByHost));
  const services = g.join("services", [kubeServices, entryWinners]);
  const selectingServices = g.index("services by namespace", services, (s) => (s.selector === undefined ? [] : [s.service.namespace]));
  const slices = g.derive("manual endpoint slices", sources.endpointSlices, byKey, within(manualSliceOf({ settings, services })));
  const slicesByPod = g.index("slices by pod", slices, (s) => s.pods.map((p) => `${s.namespace}/${p.name}`));

  const policies = g.derive("policies", sources.authorizationPolicies, byKey, ours(policyOf({ settings, scope })));
  const policiesByAttachment = g.index("policies by attachment", policies, (p) => (p.attachment === undefined ? [] : [p.attachment.namespace]));
  const peerAuths = g.derive("peer authentications", sources.peerAuthentications, byKey, ours(peerAuthOf(settings)));
  const peerAuth = { settings, peerAuths, byLevel: g.index("peer authentications by level", peerAuths, levelsOf) };

  const inputs: WorkloadInputs = { settings, scope, local, networkGateways, gatewaysByNetwork, namespaces, nodes, waypoints, waypointsByAccount, services, selectingServices, slices, slicesByPod, policies, policiesByAttachment, peerAuth };
  const byUid = { key: (w: Workload) => w.uid };
  const podWorkloads = g.derive("pod workloads", sources.pods, byUid, within(podWorkload(inputs)));
  const endpointWorkloads = g.derive("slice workloads", slices, byUid, sliceWorkloads(inputs));
  const inlineWorkloads = g.derive("service entry workloads", entries, byUid, entryWorkloads(inputs));
  const workloadEntries = g.derive("workload entries", sources.workloadEntries, byKey, ours(workloadEntryOf(inputs)));
  const entryWorkloadsOnly = g.derive("workload entry workloads", workloadEntries, byUid, (_ctx, e) => e.workload);
  const gatewayWorkloads = g.derive("network gateway workloads", networkGateways, byUid, gatewayWorkload(inputs));
  const workloads = g.join("workloads", [gatewayWorkloads, podWorkloads, endpointWorkloads, inlineWorkloads, entryWorkloadsOnly]);

  const addresses = g.join<Address>("addresses", [
    g.derive("workload addresses", workloads, byName, (_ctx, w) => workloadAddress(w)),
    g.derive("service addresses", services, byName, (_ctx, s) => serviceAddress(s)),
  ]);

  const authorizations = g.join("authorizations", [
    g.derive("authorization policies", policies, byPolicy, (_ctx, p) => p.policy),
    g.derive("port level policies", peerAuths, byPolicy, portPolicyOf(peerAuth)),
    g.derive("policies that let waypoints in", waypoints, byPolicy, waypointPolicy({ settings, scope, pods: sources.pods, podsByGateway: g.index("pods by gateway", sources.pods, gatewayOfPod) })),
    g.derive("static strict policy", mesh, byPolicy, staticStrictOf(settings, peerAuths)),
  ]);

  const forWaypoints = wireWaypoints({ graph: g, settings, sources, waypoints, services, entries, workloads, scope, ours });
  const podsByAccount = g.index("pods by account", sources.pods, (p) => [`${p.spec.nodeName ?? ""}/${p.metadata.namespace ?? ""}/${p.spec.serviceAccountName || "default"}`]);
  const idlePolicies = g.source<{ readonly key: string }>("policies that nobody enforces", byKey);
  const statuses = g.join("statuses", [
    g.derive("policy statuses", policies, byKey, (ctx, p) => policyStatus(p, ctx.fetchOne(idlePolicies, { key: p.key }) !== undefined)),
    g.derive("peer authentication statuses", peerAuths, byKey, (_ctx, p) => peerAuthStatus(p)),
    g.derive("service statuses", kubeServices, byKey, (_ctx, s) => serviceStatus(s)),
    g.derive("service entry statuses", entries, byKey, (_ctx, e) => entryStatus(e)),
    g.derive("workload entry statuses", workloadEntries, byKey, (_ctx, e) => workloadEntryStatus(e)),
    ...forWaypoints.statuses,
  ]);
  return {
    sources, services, podsByAccount, scope, networkGateways, idlePolicies, batch: (change) => g.batch(change), addresses, authorizations, serviceEntries: entries, statuses,
    waypointConfigs: forWaypoints.configs, waypointOptions: forWaypoints.options, keys: forWaypoints,
  };
}
