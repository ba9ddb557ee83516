// Owns waypoints: which one a service or workload has, the instance that takes a connection, and whether we are it.
import { networkAddressKey, pickWeighted, sameIdentity, serviceKey, type GatewayAddress, type Ip, type ResolutionMode, type Service, type Workload } from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import type { Gathered } from "../facts.ts";
import { chooseEndpoint, type Choice } from "./choose.ts";
import { lookUp, type Need } from "./need.ts";

/** A weighted list wins over the single waypoint; one is drawn per connection. */
export function waypointOf(service: Service, random: () => number): GatewayAddress | "no-weight" | undefined {
  if (service.weightedWaypoints.length === 0) return service.waypoint;
  return pickWeighted(service.weightedWaypoints, (w) => w.weight, random)?.destination ?? "no-weight";
}

export const describeGateway = (g: GatewayAddress): string =>
  g.destination.kind === "hostname"
    ? serviceKey(g.destination.hostname.namespace, g.destination.hostname.hostname)
    : networkAddressKey(g.destination.address.network, g.destination.address.ip);

export type GatewayChoice = Choice | { readonly kind: "unknown"; readonly message: string } | { readonly kind: "need"; readonly need: Need };

export interface GatewayQuestion {
  readonly gateway: GatewayAddress;
  readonly client: Workload;
  readonly clientIp: Ip;
  readonly gathered: Gathered;
  readonly mode: ResolutionMode;
}

/** The workload that will serve a waypoint or network gateway for this client. Its own tunnel protocol does not matter. */
export function resolveGateway(view: StateView, { gateway, ...q }: GatewayQuestion, random: () => number): GatewayChoice {
  const d = gateway.destination;
  const port = gateway.hbonePort;
  const service = d.kind === "hostname"
    ? view.service(serviceKey(d.hostname.namespace, d.hostname.hostname))
    : view.serviceAt(d.address.network, d.address.ip, q.client.namespace);
  if (service !== undefined) return chooseEndpoint(view, { ...q, service, port }, random);
  const workload = d.kind === "hostname" ? view.workloadNamed(d.hostname.namespace, d.hostname.hostname) : view.workloadAt(d.address.network, d.address.ip);
  if (workload !== undefined) return { kind: "chosen", chosen: { workload, port, service: undefined } };
  const need = lookUp(q.gathered, describeGateway(gateway));
  return need === undefined ? { kind: "unknown", message: describeGateway(gateway) } : { kind: "need", need };
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
