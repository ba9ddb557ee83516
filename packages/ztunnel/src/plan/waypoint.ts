// Owns waypoints: which one a service or workload has, the instance that takes a connection, and whether we are it.
import { networkAddressKey, pickWeighted, sameIdentity, serviceKey, type GatewayAddress, type Ip, type ResolutionMode, type Service, type Workload } from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import { chooseEndpoint, type Choice } from "./choose.ts";

/** A weighted list wins over the single waypoint; one is drawn per connection. */
export function waypointOf(service: Service, random: () => number): GatewayAddress | "no-weight" | undefined {
  if (service.weightedWaypoints.length === 0) return service.waypoint;
  return pickWeighted(service.weightedWaypoints, (w) => w.weight, random)?.destination ?? "no-weight";
}

export const describeGateway = (g: GatewayAddress): string =>
  g.destination.kind === "hostname"
    ? serviceKey(g.destination.hostname.namespace, g.destination.hostname.hostname)
    : networkAddressKey(g.destination.address.network, g.destination.address.ip);

export type GatewayChoice = Choice | { readonly kind: "unknown"; readonly message: string };

/** The workload that will serve a waypoint or network gateway for this client. Its own tunnel protocol does not matter. */
export function resolveGateway(view: StateView, gateway: GatewayAddress, client: Workload, random: () => number, mode: ResolutionMode): GatewayChoice {
  const d = gateway.destination;
  const port = gateway.hbonePort;
  const alone = (workload: Workload | undefined): GatewayChoice =>
    workload === undefined ? { kind: "unknown", message: describeGateway(gateway) } : { kind: "chosen", chosen: { workload, port, service: undefined } };
  if (d.kind === "hostname") {
    const service = view.service(serviceKey(d.hostname.namespace, d.hostname.hostname));
    if (service !== undefined) return chooseEndpoint(view, service, port, client, random, mode);
    return alone(view.workloadNamed(d.hostname.namespace, d.hostname.hostname));
  }
  const service = view.serviceAt(d.address.network, d.address.ip, client.namespace);
  if (service !== undefined) return chooseEndpoint(view, service, port, client, random, mode);
  return alone(view.workloadAt(d.address.network, d.address.ip));
}

/** True when the source is an instance of the waypoint itself: by identity and by address. */
export function sourceIsWaypoint(view: StateView, gateway: GatewayAddress, source: Workload, sourceIp: Ip): boolean {
  return instances(view, gateway, source.namespace).some((w) => sameIdentity(w.identity, source.identity) && w.addresses.includes(sourceIp));
}

/** Every workload behind a gateway address, healthy or not. */
export function instances(view: StateView, gateway: GatewayAddress, namespace: string): Workload[] {
  const d = gateway.destination;
  const service = d.kind === "hostname"
    ? view.service(serviceKey(d.hostname.namespace, d.hostname.hostname))
    : view.serviceAt(d.address.network, d.address.ip, namespace);
  if (service !== undefined)
    return view.members(serviceKey(service.namespace, service.hostname)).map((e) => view.workload(e.workloadUid)).filter((w) => w !== undefined);
  const workload = d.kind === "hostname" ? view.workloadNamed(d.hostname.namespace, d.hostname.hostname) : view.workloadAt(d.address.network, d.address.ip);
  return workload === undefined ? [] : [workload];
}
