// Owns the few facts about the mesh that every translation needs and no Kubernetes object says.

export interface Settings {
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  /** Of this control plane: objects with another one in istio.io/rev are not ours. */
  readonly revision: string;
  /** What is bound to a waypoint lets in nobody but it (PILOT_AUTO_ALLOW_WAYPOINT_POLICY). */
  readonly waypointOnly: boolean;
}

/** Where nothing is set: Istio's own defaults. */
export const DEFAULT_SETTINGS: Settings = { rootNamespace: "istio-system", trustDomain: "cluster.local", clusterId: "Kubernetes", clusterDomain: "cluster.local", revision: "default", waypointOnly: false };

export const LABELS = {
  dataplaneMode: "istio.io/dataplane-mode",
  useWaypoint: "istio.io/use-waypoint",
  useWaypointNamespace: "istio.io/use-waypoint-namespace",
  canary: "istio.io/use-waypoint-canary",
  canaryNamespace: "istio.io/use-waypoint-canary-namespace",
  waypointFor: "istio.io/waypoint-for",
  ingressUseWaypoint: "istio.io/ingress-use-waypoint",
  tunnel: "networking.istio.io/tunnel",
  network: "topology.istio.io/network",
  managed: "gateway.istio.io/managed",
  gatewayName: "gateway.networking.k8s.io/gateway-name",
  serviceName: "kubernetes.io/service-name",
  autoAllocate: "networking.istio.io/enable-autoallocate-ip",
} as const;

export const ANNOTATIONS = {
  redirection: "ambient.istio.io/redirection",
  canaryWeight: "istio.io/use-waypoint-canary-weight",
  forServiceAccount: "istio.io/for-service-account",
  inboundBinding: "ambient.istio.io/waypoint-inbound-binding",
  trafficDistribution: "networking.istio.io/traffic-distribution",
  dryRun: "istio.io/dry-run",
} as const;

export const HBONE_PORT = 15008;

export type LabelMap = Readonly<Record<string, string>>;

/** Every pair is there; no pair selects everything. */
export const selects = (wanted: LabelMap, labels: LabelMap): boolean => {
  for (const key of Object.keys(wanted)) if (!Object.hasOwn(labels, key) || labels[key] !== wanted[key]) return false;
  return true;
};
