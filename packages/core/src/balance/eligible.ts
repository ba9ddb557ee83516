// Owns the question which endpoints of a service may take a connection at all. Health was filtered when they were stored.
import type { Endpoint, Service, Workload } from "../workload/workload.ts";

export interface Candidate {
  readonly workload: Workload;
  /** The port to dial on the workload. */
  readonly port: number;
}

/**
 * The target port of `servicePort` on this endpoint: the endpoint's own map, else the service's numeric target port, else
 * (waypoints whose Service does not list the port) the service port itself when the workload has an application tunnel port.
 */
export function targetPort(service: Service, endpoint: Endpoint, workload: Workload, servicePort: number): number | undefined {
  const mapped = endpoint.ports.get(servicePort);
  if (mapped !== undefined && mapped !== 0) return mapped;
  const declared = service.ports.get(servicePort)?.targetPort ?? 0;
  if (declared !== 0) return declared;
  return (workload.applicationTunnel?.port ?? 0) !== 0 ? servicePort : undefined;
}

/** An endpoint with no address and no hostname is reachable only through another network's gateway. */
const reachable = (workload: Workload, network: string): boolean =>
  workload.addresses.length > 0 || workload.hostname !== "" || (workload.network !== network && workload.networkGateway !== undefined);

export function eligible(
  service: Service,
  endpoints: Iterable<{ readonly endpoint: Endpoint; readonly workload: Workload | undefined }>,
  servicePort: number,
  network: string,
): Candidate[] {
  const out: Candidate[] = [];
  for (const { endpoint, workload } of endpoints) {
    if (workload === undefined || !reachable(workload, network)) continue;
    const port = targetPort(service, endpoint, workload, servicePort);
    if (port !== undefined) out.push({ workload, port });
  }
  return out;
}
