// Owns the question which endpoints of a service may take a connection at all. Health was filtered when they were stored.
import type { Endpoint, Service, Workload } from "../workload/workload.ts";

export interface Candidate {
  readonly workload: Workload;
  /** The port to dial on the workload. */
  readonly port: number;
}

/** `waypoint`: nobody addressed this service by hand, so an endpoint with an application tunnel needs no port on it. */
export type ResolutionMode = "standard" | "waypoint";

/**
 * The target port of `servicePort` on this endpoint: the endpoint's own map, else the service's numeric target port, else
 * (waypoints whose Service does not list the port) the service port itself when the workload has an application tunnel port.
 * In standard mode a port that the service does not list has no target, whatever an endpoint maps.
 */
export function targetPort(service: Service, endpoint: Endpoint, workload: Workload, servicePort: number, mode: ResolutionMode = "standard"): number | undefined {
  if (!service.ports.has(servicePort) && (mode === "standard" || workload.applicationTunnel === undefined)) return undefined;
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
  mode: ResolutionMode = "standard",
): Candidate[] {
  const out: Candidate[] = [];
  for (const { endpoint, workload } of endpoints) {
    if (workload === undefined || !reachable(workload, network)) continue;
    const port = targetPort(service, endpoint, workload, servicePort, mode);
    if (port !== undefined) out.push({ workload, port });
  }
  return out;
}
