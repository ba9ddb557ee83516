// Owns the domain model of what the mesh can address: workloads, services, endpoints, localities.
import type { Identity } from "../identity/spiffe.ts";
import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { NetworkAddress } from "../net/socket-address.ts";

/** Opaque key given by the control plane, e.g. `Kubernetes//Pod/default/web-0`. */
export type WorkloadUid = string;
/** `namespace/hostname`. */
export type ServiceKey = string;
/** `namespace/name` of a policy. */
export type PolicyKey = string;

export interface NamespacedHostname { readonly namespace: string; readonly hostname: string }

export interface GatewayAddress {
  readonly destination:
    | { readonly kind: "hostname"; readonly hostname: NamespacedHostname }
    | { readonly kind: "address"; readonly address: NetworkAddress };
  readonly hbonePort: number;
}

export interface Locality { readonly region: string; readonly zone: string; readonly subzone: string }

/** service port → target port, as numbers; a service port missing here has no endpoint on this workload. */
export type PortMap = ReadonlyMap<number, number>;

export interface Workload {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly Ip[];
  readonly hostname: string;
  readonly network: string;
  readonly protocol: "tcp" | "hbone";
  readonly identity: Identity;
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: "deployment" | "cronjob" | "pod" | "job";
  readonly workloadName: string;
  readonly nativeTunnel: boolean;
  readonly authorizationPolicies: readonly PolicyKey[];
  readonly healthy: boolean;
  readonly clusterId: string;
  readonly services: ReadonlyMap<ServiceKey, PortMap>;
  readonly applicationTunnel: { readonly protocol: "none" | "proxy"; readonly port: number } | undefined;
  readonly locality: Locality;
  readonly hostNetwork: boolean;
  /** Weight in load balancing; absent on the wire means 1, 0 means never chosen. */
  readonly capacity: number;
}

export interface ServicePort {
  readonly servicePort: number;
  /** 0 = named: look at the endpoint's port map. */
  readonly targetPort: number;
  readonly appProtocol: "unknown" | "http11" | "http2" | "grpc" | "tcp" | "tls";
}

export type BalanceScope = "region" | "zone" | "subzone" | "node" | "cluster" | "network";

export interface LoadBalancing {
  readonly routingPreference: readonly BalanceScope[];
  readonly mode: "standard" | "strict" | "failover" | "passthrough";
  readonly healthPolicy: "only-healthy" | "allow-all";
}

export interface Vip { readonly network: string; readonly cidr: Cidr }

export interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly vips: readonly Vip[];
  readonly ports: ReadonlyMap<number, ServicePort>;
  /** SPIFFE URIs accepted in addition to the endpoint's own identity. */
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly { readonly destination: GatewayAddress; readonly weight: number }[];
  readonly loadBalancing: LoadBalancing | undefined;
  readonly ipFamilies: "automatic" | "ipv4" | "ipv6" | "dual";
  readonly canonical: boolean;
  readonly visibility: "public" | "namespace";
  /** Connections of one client address go to one endpoint, until none came for so long. Absent: any endpoint. */
  readonly clientAffinityMs?: number | undefined;
}

/** The membership of one workload in one service. */
export interface Endpoint {
  readonly workloadUid: WorkloadUid;
  readonly ports: PortMap;
  readonly healthy: boolean;
}

export const serviceKey = (namespace: string, hostname: string): ServiceKey => `${namespace}/${hostname}`;
