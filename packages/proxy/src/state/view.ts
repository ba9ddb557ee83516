// Owns the read-only face of the proxy's state. A view is valid until the next `await`: never keep one across it.
import type { Endpoint, Ip, PolicySet, Policy, Service, ServiceKey, Workload, WorkloadUid } from "@ambit/core";

/** What the node agent says about a pod: the way to find its workload. */
export interface PodInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface JoinedEndpoint { readonly endpoint: Endpoint; readonly workload: Workload | undefined }

export interface StateView {
  workload(uid: WorkloadUid): Workload | undefined;
  /** The workload that owns an address; host-network workloads own none. */
  workloadAt(network: string, ip: Ip): Workload | undefined;
  /** The workload of a local pod, by name, namespace and service account. */
  workloadOfPod(pod: PodInfo): Workload | undefined;
  /** Any workload that goes by this hostname. */
  workloadNamed(namespace: string, hostname: string): Workload | undefined;
  service(key: ServiceKey): Service | undefined;
  /** The service of a VIP as a client in `namespace` sees it: exact VIPs first, then the CIDR ones. */
  serviceAt(network: string, ip: Ip, namespace: string): Service | undefined;
  /** Services with this hostname that a client in `namespace` may see, the best first. */
  servicesNamed(hostname: string, namespace: string): readonly Service[];
  /** Members that may receive connections under the service's health policy. */
  endpoints(key: ServiceKey): readonly JoinedEndpoint[];
  /** All members, healthy or not: for messages and dumps. */
  members(key: ServiceKey): readonly Endpoint[];
  policiesFor(workload: Workload): PolicySet;

  workloads(): Iterable<Workload>;
  services(): Iterable<Service>;
  policies(): Iterable<Policy>;
  /** Endpoints of services that are not known (yet). */
  staged(): Iterable<readonly [ServiceKey, readonly Endpoint[]]>;
}
