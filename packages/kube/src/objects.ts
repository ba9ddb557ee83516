// Owns the narrow shapes of Kubernetes objects that this house reads, and the table of kinds it asks for.

export interface OwnerReference { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean; blockOwnerDeletion?: boolean }
export interface ObjectMeta {
  name: string; namespace?: string; uid?: string; resourceVersion?: string; generation?: number; generateName?: string;
  creationTimestamp?: string; deletionTimestamp?: string; deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>; annotations?: Record<string, string>; finalizers?: string[]; ownerReferences?: OwnerReference[];
}
/** Any Kubernetes object as plain JSON; `spec` and the like are narrowed where they are used. */
export interface KubeObject {
  apiVersion?: string; kind?: string; metadata: ObjectMeta;
  [field: string]: unknown;
}
export interface Condition { type: string; status: "True" | "False" | "Unknown"; reason?: string; message?: string; lastTransitionTime?: string; observedGeneration?: number }

export interface ContainerPort { name?: string; containerPort: number; protocol?: string; hostPort?: number }
export interface Pod extends KubeObject {
  spec: {
    nodeName?: string; serviceAccountName?: string; hostNetwork?: boolean; restartPolicy?: string;
    containers: { name: string; image?: string; ports?: ContainerPort[]; [k: string]: unknown }[];
    initContainers?: { name: string; restartPolicy?: string; ports?: ContainerPort[]; [k: string]: unknown }[];
    [k: string]: unknown;
  };
  status?: { phase?: string; podIP?: string; podIPs?: { ip: string }[]; hostIP?: string; conditions?: Condition[]; startTime?: string; [k: string]: unknown };
}
export interface ServicePort { name?: string; port: number; targetPort?: number | string; protocol?: string; appProtocol?: string; nodePort?: number }
export interface Service extends KubeObject {
  spec: {
    type?: string; clusterIP?: string; clusterIPs?: string[]; selector?: Record<string, string>; ports?: ServicePort[]; ipFamilies?: string[]; ipFamilyPolicy?: string;
    publishNotReadyAddresses?: boolean; internalTrafficPolicy?: string; trafficDistribution?: string; externalName?: string; sessionAffinity?: string; sessionAffinityConfig?: { clientIP?: { timeoutSeconds?: number } }; [k: string]: unknown;
  };
  status?: { conditions?: Condition[]; [k: string]: unknown };
}
export interface EndpointSlice extends KubeObject {
  addressType: string;
  endpoints?: { addresses: string[]; conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean }; nodeName?: string; zone?: string; targetRef?: { kind?: string; name?: string; namespace?: string; uid?: string } }[] | null;
  ports?: { name?: string; port?: number; protocol?: string; appProtocol?: string }[] | null;
}
export interface Node extends KubeObject { spec?: { podCIDR?: string; podCIDRs?: string[]; taints?: { key: string; value?: string; effect: string }[]; [k: string]: unknown }; status?: { addresses?: { type: string; address: string }[]; conditions?: Condition[]; [k: string]: unknown } }
export interface Secret extends KubeObject { type?: string; data?: Record<string, string>; stringData?: Record<string, string> }
export interface ConfigMap extends KubeObject { data?: Record<string, string>; binaryData?: Record<string, string> }

export interface Kind { readonly group: string; readonly version: string; readonly plural: string; readonly kind: string; readonly namespaced: boolean }
const kind = (group: string, version: string, plural: string, name: string, namespaced = true): Kind => ({ group, version, plural, kind: name, namespaced });

export const KINDS = {
  pods: kind("", "v1", "pods", "Pod"),
  services: kind("", "v1", "services", "Service"),
  namespaces: kind("", "v1", "namespaces", "Namespace", false),
  nodes: kind("", "v1", "nodes", "Node", false),
  configMaps: kind("", "v1", "configmaps", "ConfigMap"),
  secrets: kind("", "v1", "secrets", "Secret"),
  serviceAccounts: kind("", "v1", "serviceaccounts", "ServiceAccount"),
  events: kind("", "v1", "events", "Event"),
  endpointSlices: kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
  deployments: kind("apps", "v1", "deployments", "Deployment"),
  replicaSets: kind("apps", "v1", "replicasets", "ReplicaSet"),
  statefulSets: kind("apps", "v1", "statefulsets", "StatefulSet"),
  daemonSets: kind("apps", "v1", "daemonsets", "DaemonSet"),
  controllerRevisions: kind("apps", "v1", "controllerrevisions", "ControllerRevision"),
  jobs: kind("batch", "v1", "jobs", "Job"),
  cronJobs: kind("batch", "v1", "cronjobs", "CronJob"),
  leases: kind("coordination.k8s.io", "v1", "leases", "Lease"),
  customResourceDefinitions: kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
  authorizationPolicies: kind("security.istio.io", "v1", "authorizationpolicies", "AuthorizationPolicy"),
  peerAuthentications: kind("security.istio.io", "v1", "peerauthentications", "PeerAuthentication"),
  requestAuthentications: kind("security.istio.io", "v1", "requestauthentications", "RequestAuthentication"),
  telemetries: kind("telemetry.istio.io", "v1", "telemetries", "Telemetry"),
  virtualServices: kind("networking.istio.io", "v1", "virtualservices", "VirtualService"),
  destinationRules: kind("networking.istio.io", "v1", "destinationrules", "DestinationRule"),
  serviceEntries: kind("networking.istio.io", "v1", "serviceentries", "ServiceEntry"),
  workloadEntries: kind("networking.istio.io", "v1", "workloadentries", "WorkloadEntry"),
  gatewayClasses: kind("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", false),
  gateways: kind("gateway.networking.k8s.io", "v1", "gateways", "Gateway"),
  httpRoutes: kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
  grpcRoutes: kind("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute"),
  tlsRoutes: kind("gateway.networking.k8s.io", "v1", "tlsroutes", "TLSRoute"),
  backendTlsPolicies: kind("gateway.networking.k8s.io", "v1", "backendtlspolicies", "BackendTLSPolicy"),
  tcpRoutes: kind("gateway.networking.k8s.io", "v1alpha2", "tcproutes", "TCPRoute"),
} as const satisfies Record<string, Kind>;

/** `/api/v1/namespaces/NS/pods/NAME/SUB`; every part that came from outside is escaped. */
export function pathOf(k: Kind, namespace?: string, name?: string, subresource?: string): string {
  const root = k.group === "" ? `/api/${k.version}` : `/apis/${k.group}/${k.version}`;
  const scope = k.namespaced && namespace !== undefined && namespace !== "" ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${k.plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}${subresource === undefined ? "" : `/${subresource}`}`;
}
export const objectKey = (o: KubeObject): string => (o.metadata.namespace === undefined ? o.metadata.name : `${o.metadata.namespace}/${o.metadata.name}`);
