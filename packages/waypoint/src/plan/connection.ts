// Owns the decision what a tunnel's CONNECT is for: a service or a workload that this waypoint serves, or a refusal that says why.
import {
  formatSocketAddress, networkAddressKey, sameIdentity, type FaultCode, type Identity, type Service, type SocketAddress, type WaypointConfig, type Workload,
} from "@ambit/core";
import { keyOf, type StateView } from "@ambit/proxy/state";
import type { ConnectionFacts } from "../facts.ts";

export interface ConnectFacts {
  readonly id: string;
  readonly peer: Identity;
  readonly source: SocketAddress;
  readonly target: { readonly kind: "address"; readonly address: SocketAddress } | { readonly kind: "hostname"; readonly hostname: string; readonly port: number };
  readonly network: string;
}

export type ConnectPlan =
  | { readonly kind: "serve"; readonly facts: ConnectionFacts }
  | { readonly kind: "refuse"; readonly code: FaultCode; readonly message: string };

/** Services win over workloads with the same address, as they do at the client's ztunnel. */
export function planConnect(view: StateView, config: WaypointConfig | undefined, facts: ConnectFacts): ConnectPlan {
  if (config === undefined) return { kind: "refuse", code: "no-configuration", message: "this waypoint has no configuration (yet)" };
  const found = destinationOf(view, config, facts);
  if ("code" in found) return { kind: "refuse", ...found };
  return {
    kind: "serve",
    facts: { id: facts.id, peer: facts.peer, source: facts.source, sourceWorkload: sourceOf(view, facts), ...found },
  };
}

type Found = Pick<ConnectionFacts, "destination" | "address"> | { readonly code: FaultCode; readonly message: string };

function destinationOf(view: StateView, config: WaypointConfig, facts: ConnectFacts): Found {
  const { target, network, peer } = facts;
  const own = `${config.namespace}/${config.name}`;
  if (target.kind === "hostname") {
    const service = view.servicesNamed(target.hostname, peer.namespace).find((s) => config.services.has(keyOf(s)));
    if (service === undefined) return { code: "not-served", message: `${target.hostname} is not a service of waypoint ${own}` };
    const vip = service.vips.find((v) => v.network === network)?.cidr.ip;
    return vip === undefined ? { code: "not-served", message: `${target.hostname} has no address here` } : served(config, service, { ip: vip, port: target.port });
  }
  const { address } = target;
  const service = view.serviceAt(network, address.ip, peer.namespace);
  if (service !== undefined) {
    if (!config.services.has(keyOf(service))) return { code: "not-served", message: `${keyOf(service)} (${formatSocketAddress(address)}) is not bound to waypoint ${own}` };
    return served(config, service, address);
  }
  const workload = view.workloadAt(network, address.ip);
  if (workload === undefined) return { code: "not-served", message: `nothing in the mesh has the address ${networkAddressKey(network, address.ip)}` };
  if (config.serves !== "workload" && config.serves !== "all") return { code: "not-served", message: `${workload.uid}: waypoint ${own} serves services, not workloads` };
  if (!isBound(view, workload, config)) return { code: "not-served", message: `${workload.uid} is not bound to waypoint ${own}` };
  return { destination: { kind: "workload", workload }, address };
}

function served(config: WaypointConfig, service: Service, address: SocketAddress): Found {
  if (config.serves === "workload" || config.serves === "none") return { code: "not-served", message: `${keyOf(service)}: waypoint ${config.namespace}/${config.name} does not serve services` };
  if (!service.ports.has(address.port)) return { code: "no-such-port", message: `${keyOf(service)} has no port ${address.port}, only ${[...service.ports.keys()].join(", ") || "none"}` };
  return { destination: { kind: "service", service }, address };
}

/** By hostname or address: what the binding names must be this waypoint's own Service. */
function isBound(view: StateView, workload: Workload, config: WaypointConfig): boolean {
  const bound = workload.waypoint?.destination;
  if (bound === undefined) return false;
  if (bound.kind === "hostname") return bound.hostname.namespace === config.namespace && bound.hostname.hostname.split(".")[0] === config.name;
  const service = view.serviceAt(bound.address.network, bound.address.ip, config.namespace);
  return service?.namespace === config.namespace && service.name === config.name;
}

/** The workload at the client's address, if it has the identity that the tunnel proved; an address alone proves nothing. */
function sourceOf(view: StateView, facts: ConnectFacts): Workload | undefined {
  const claimed = view.workloadAt(facts.network, facts.source.ip);
  return claimed !== undefined && sameIdentity(claimed.identity, facts.peer) ? claimed : undefined;
}
