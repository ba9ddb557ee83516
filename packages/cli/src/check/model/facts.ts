// Owns what `ambit check` judges: a cluster at one moment, as data.
import type { Condition, ConfigMap, KubeObject, Node, Pod, Service } from "@ambit/kube";

export const MESH_NAMESPACE = "istio-system";
export const WAYPOINT_CLASSES: readonly string[] = ["istio-waypoint", "ambit-waypoint"];
export const MODE_LABEL = "istio.io/dataplane-mode";
export const TUNNEL_PORT = 15008;
/** Created less than this ago: the mesh may not have got to it yet. */
const YOUNG_MS = 30_000;

export interface Objects {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  /** Only those that the mesh or a CNI plugin is set up by. */
  readonly configMaps: readonly ConfigMap[];
  readonly namespaces: readonly KubeObject[];
  readonly deployments: readonly KubeObject[];
  readonly daemonSets: readonly KubeObject[];
  /** Of the mesh's namespace, and of nodes. */
  readonly leases: readonly KubeObject[];
  readonly networkPolicies: readonly KubeObject[];
  readonly resourceQuotas: readonly KubeObject[];
  readonly validatingWebhooks: readonly KubeObject[];
  readonly mutatingWebhooks: readonly KubeObject[];
  readonly apiServices: readonly KubeObject[];
  readonly crds: readonly KubeObject[];
  readonly felixConfigurations: readonly KubeObject[];
  readonly gateways: readonly KubeObject[];
  readonly httpRoutes: readonly KubeObject[];
  readonly grpcRoutes: readonly KubeObject[];
  readonly tlsRoutes: readonly KubeObject[];
  readonly tcpRoutes: readonly KubeObject[];
  readonly backendTlsPolicies: readonly KubeObject[];
  readonly authorizationPolicies: readonly KubeObject[];
  readonly peerAuthentications: readonly KubeObject[];
  readonly requestAuthentications: readonly KubeObject[];
  readonly virtualServices: readonly KubeObject[];
  readonly destinationRules: readonly KubeObject[];
  readonly telemetries: readonly KubeObject[];
  readonly serviceEntries: readonly KubeObject[];
  readonly workloadEntries: readonly KubeObject[];
}
export type ObjectKind = keyof Objects;

export interface CertificateFact {
  /** Which object or process holds it. */
  readonly where: string;
  readonly subject: string;
  /** SPIFFE names in it. */
  readonly identities: readonly string[];
  /** Milliseconds of the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256. */
  readonly fingerprint: string;
}

export interface ZtunnelFact {
  readonly pod: string;
  readonly node: string;
  /** Why it could not be asked. */
  readonly problem?: string;
  readonly leaves: readonly (CertificateFact & { readonly identity: string })[];
  /** Identities without a certificate. */
  readonly waiting: readonly { readonly identity: string; readonly state: string }[];
}

export interface AgentFact { readonly pod: string; readonly node: string; /** As its log says it last. */ readonly pluginProblem?: string }

export interface Facts {
  /** The API server's clock, milliseconds of the epoch: certificates are judged by it. */
  readonly now: number;
  /** How far the asking machine's clock is ahead of it. */
  readonly aheadMs: number;
  /** `v1.35.0`. */
  readonly version: string;
  readonly objects: Objects;
  /** What could not be read, and why: nothing is concluded from its absence. */
  readonly unread: readonly { readonly kind: string; readonly why: string }[];
  /** What the asking user may not do: `create deployments.apps in istio-system`. */
  readonly forbidden: readonly string[];
  /** Of the signing authority, where its Secret may be read. */
  readonly authority: readonly CertificateFact[];
  /** Of istio-ca-root-cert in each namespace that has one. */
  readonly roots: readonly { readonly namespace: string; readonly certificates: readonly CertificateFact[] }[];
  readonly ztunnels: readonly ZtunnelFact[];
  readonly agents: readonly AgentFact[];
  /** What the mesh's own rules refuse, as `ambit analyze` says it. */
  readonly misunderstood: readonly { readonly object: string; readonly message: string }[];
}

export const canRead = (f: Facts, kind: ObjectKind): boolean => !f.unread.some((u) => u.kind === kind);
export const keyOf = (o: KubeObject): string => (o.metadata.namespace === undefined ? o.metadata.name : `${o.metadata.namespace}/${o.metadata.name}`);
export const labelsOf = (o: KubeObject): Readonly<Record<string, string>> => o.metadata.labels ?? {};
export const isYoung = (f: Facts, o: KubeObject): boolean => f.now - Date.parse(o.metadata.creationTimestamp ?? "") < YOUNG_MS;
export const isGoing = (o: KubeObject): boolean => o.metadata.deletionTimestamp !== undefined;
export const isRunning = (p: Pod): boolean => p.status?.phase === "Running" && !isGoing(p);
/** As the node agent says it, from what is and not from the label. */
export const isCaptured = (p: Pod): boolean => p.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled";
export const isReadyPod = (p: Pod): boolean => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
export const isWaypointPod = (p: Pod): boolean => WAYPOINT_CLASSES.includes(labelsOf(p)["gateway.networking.k8s.io/gateway-class-name"] ?? "") || labelsOf(p)["gateway.istio.io/managed"] === "istio.io-mesh-controller";

export type Part = "istiod" | "ztunnel" | "istio-cni-node";
/** Which part of the mesh a pod of its namespace is. */
export function partOf(p: Pod): Part | undefined {
  if (p.metadata.namespace !== MESH_NAMESPACE) return undefined;
  const labels = labelsOf(p);
  if (labels["app"] === "istiod") return "istiod";
  if (labels["app"] === "ztunnel") return "ztunnel";
  return labels["k8s-app"] === "istio-cni-node" ? "istio-cni-node" : undefined;
}

export type Rec = Readonly<Record<string, unknown>>;
export const record = (v: unknown): Rec => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Rec) : {});
export const list = (v: unknown): readonly unknown[] => (Array.isArray(v) ? v : []);
export const text = (v: unknown): string => (typeof v === "string" ? v : "");
export const stringMap = (v: unknown): Readonly<Record<string, string>> => Object.fromEntries(Object.entries(record(v)).flatMap(([k, x]) => (typeof x === "string" ? [[k, x]] : [])));
export const conditionsOf = (v: unknown): readonly Condition[] => list(record(v)["conditions"]).filter((c): c is Condition => text(record(c)["type"]) !== "");
