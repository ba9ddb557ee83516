// Owns which kind of object feeds which source, and back: one table for watching, files, checks and `ambit why`.
import { KINDS, type Kind, type KubeObject } from "@ambit/kube";
import type { SourceName } from "./admit.ts";
import { isMeshConfig } from "./mesh-config.ts";
import { isCaBundle } from "./waypoint/ca-bundle.ts";

export const SOURCE_KINDS: Readonly<Record<SourceName, Kind>> = {
  pods: KINDS.pods, services: KINDS.services, namespaces: KINDS.namespaces, nodes: KINDS.nodes, endpointSlices: KINDS.endpointSlices,
  gateways: KINDS.gateways, gatewayClasses: KINDS.gatewayClasses, authorizationPolicies: KINDS.authorizationPolicies,
  peerAuthentications: KINDS.peerAuthentications, serviceEntries: KINDS.serviceEntries, workloadEntries: KINDS.workloadEntries,
  httpRoutes: KINDS.httpRoutes, grpcRoutes: KINDS.grpcRoutes, tlsRoutes: KINDS.tlsRoutes, tcpRoutes: KINDS.tcpRoutes,
  backendTlsPolicies: KINDS.backendTlsPolicies,
  configMaps: KINDS.configMaps,
  requestAuthentications: KINDS.requestAuthentications, virtualServices: KINDS.virtualServices, destinationRules: KINDS.destinationRules, telemetries: KINDS.telemetries,
};

/** By group and kind: others have a Service and a Gateway, too. Versions of a kind have one shape here. */
const BY_KIND: ReadonlyMap<string, SourceName> = new Map(Object.entries(SOURCE_KINDS).map(([source, kind]) => [`${kind.group}/${kind.kind}`, source as SourceName]));

export const groupOf = (apiVersion: string): string => (apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "");

/** Undefined: a kind that the mesh does not read, or a ConfigMap that is neither about it nor holds certificates of authorities. */
export function sourceOf(o: KubeObject): SourceName | undefined {
  const source = BY_KIND.get(`${groupOf(o.apiVersion ?? "")}/${o.kind ?? ""}`);
  return source === "configMaps" && !isMeshConfig(o) && !isCaBundle(o) ? undefined : source;
}

/** Objects in files may leave the namespace out; kubectl would put them into default. */
export function placed(object: KubeObject, source: SourceName): KubeObject {
  const { namespaced } = SOURCE_KINDS[source];
  return !namespaced || (object.metadata.namespace ?? "") !== "" ? object : { ...object, metadata: { ...object.metadata, namespace: "default" } };
}
