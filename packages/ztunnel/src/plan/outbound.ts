// Owns the decision where a connection that leaves a pod goes. Pure and total: every way out is a value that says why.
import {
  formatIdentity, formatSocketAddress, isLoopback, networkAddressKey, type FaultCode, type GatewayAddress, type Service, type ServiceKey,
  type SocketAddress, type Workload, type WorkloadUid,
} from "@ambit/core";
import type { OutboundFacts, Target } from "../facts.ts";
import { keyOf, type StateView } from "@ambit/proxy/state";
import { chooseAddress, chooseEndpoint, type Choice, type Chosen } from "./choose.ts";
import { expected, planCrossing, type Identities } from "./cross-network.ts";
import { lookUp, OWN_PORTS, RECURSIVE, type Because, type DenyPlan, type NeedPlan, type Step } from "./need.ts";
import { describeGateway, resolveGateway, sourceIsWaypoint, waypointOf } from "./waypoint.ts";

export const HBONE_PORT = 15008;

interface Forward {
  readonly nextHop: SocketAddress;
  readonly source: Workload;
  /** The service the application addressed, whatever the next hop is. */
  readonly service: Service | undefined;
  /** Chosen for this client by a service that keeps its clients: to be remembered when it works. */
  readonly keep?: { readonly service: ServiceKey; readonly workload: WorkloadUid; readonly idleMs: number };
  /** The workload behind the next hop; unknown for passthrough to an address nobody claims. */
  readonly destination: Workload | undefined;
  readonly because: Because;
}
export type OutboundPlan =
  | ({ readonly kind: "passthrough" } & Forward)
  | ({ readonly kind: "tunnel"; readonly target: Target; readonly expect: Identities; readonly hop: "workload" | "waypoint"; readonly destination: Workload } & Forward)
  /** To another network: `destination` is the gateway, `outer` and `inner` are whom each tunnel must reach. */
  | ({ readonly kind: "double-tunnel"; readonly target: Target; readonly outer: Identities; readonly inner: Identities; readonly destination: Workload } & Forward)
  | DenyPlan
  | NeedPlan;

export function planOutbound(view: StateView, facts: OutboundFacts, random: () => number): OutboundPlan {
  return new Planner(view, facts, random).plan();
}

/** One connection's planning: holds what every step needs and writes down each step's reason. */
class Planner {
  readonly #view: StateView;
  readonly #facts: OutboundFacts;
  readonly #random: () => number;
  readonly #because: Step[] = [];

  constructor(view: StateView, facts: OutboundFacts, random: () => number) {
    this.#view = view;
    this.#facts = facts;
    this.#random = random;
  }

  plan(): OutboundPlan {
    const { original, listener, network } = this.#facts;
    if (OWN_PORTS.has(original.port) && (isLoopback(original.ip) || original.ip === listener.ip))
      return this.#deny("self-call", RECURSIVE, "original destination", formatSocketAddress(original));

    const source = this.#view.workloadOfPod(this.#facts.pod);
    if (source === undefined) return { kind: "need", need: { kind: "own-workload" }, because: this.#because };
    this.#note("source", formatIdentity(source.identity), source.uid);

    const addressed = this.#view.workloadAt(network, original.ip);
    const service = addressed === undefined ? this.#view.serviceAt(network, original.ip, source.namespace) : undefined;
    const unasked = addressed === undefined && service === undefined ? lookUp(this.#facts.gathered, networkAddressKey(network, original.ip)) : undefined;
    if (unasked !== undefined) return { kind: "need", need: unasked, because: this.#because };
    this.#note("original destination", networkAddressKey(network, original.ip), service !== undefined ? `service ${keyOf(service)}` : addressed !== undefined ? `workload ${addressed.uid}` : "unknown to the mesh");

    if (service !== undefined) {
      const waypoint = waypointOf(service, this.#random);
      if (waypoint === "no-weight") return this.#deny("unknown-waypoint", `unknown waypoint: every waypoint of ${keyOf(service)} has weight 0`, "service waypoint", keyOf(service));
      if (waypoint !== undefined) return this.#toWaypoint(waypoint, source, service);
    }
    return this.#toUpstream(source, service);
  }

  /** No service waypoint: balance over a VIP's endpoints, or take the workload that owns the address. */
  #toUpstream(source: Workload, service: Service | undefined): OutboundPlan {
    const { original } = this.#facts;
    const choice = this.#upstream(source);
    if (choice === undefined || (choice.kind === "none" && service?.loadBalancing?.mode === "passthrough")) return this.#passthrough(source, service);
    if (choice.kind === "none") return this.#deny(choice.code, choice.message, "endpoint", service === undefined ? "" : keyOf(service));
    const { chosen } = choice;
    const { workload } = chosen;
    this.#note("endpoint", workload.uid, `${workload.protocol} port ${chosen.port}`);
    if (workload.network !== source.network) return this.#crossNetwork(chosen, source, service);

    if (service === undefined && workload.waypoint !== undefined) {
      if (!sourceIsWaypoint(this.#view, workload.waypoint, source, this.#facts.source.ip)) return this.#toWaypoint(workload.waypoint, source, undefined);
      this.#note("workload waypoint", describeGateway(workload.waypoint), "skipped: the source is that waypoint");
    }

    const address = chooseAddress(workload, chosen.service, original.ip, this.#facts.gathered, this.#random);
    if (address.kind === "need") return { kind: "need", need: address.need, because: this.#because };
    if (address.kind === "none") return this.#deny(address.code, address.message, "address", workload.uid);
    const forward = { source, service: chosen.service ?? service, destination: workload, ...keptClient(chosen) };
    const at: SocketAddress = { ip: address.ip, port: chosen.port };
    if (workload.protocol !== "hbone") {
      this.#note("protocol", "tcp", `plain to ${formatSocketAddress(at)}`);
      return { kind: "passthrough", nextHop: at, ...forward, because: this.#because };
    }
    const nextHop: SocketAddress = { ip: address.ip, port: HBONE_PORT };
    this.#note("protocol", "hbone", `tunnel to ${formatSocketAddress(nextHop)} for ${formatSocketAddress(at)}`);
    return { kind: "tunnel", nextHop, target: { kind: "address", address: at }, hop: "workload", expect: expected(chosen), ...forward, because: this.#because };
  }

  /** undefined: nobody in the mesh claims the address, or its service wants no balancing. */
  #upstream(source: Workload): Choice | undefined {
    const { original, network } = this.#facts;
    // Here a service wins over a workload that has the same address.
    const service = this.#view.serviceAt(network, original.ip, source.namespace);
    if (service !== undefined)
      return service.loadBalancing?.mode === "passthrough" ? undefined : chooseEndpoint(this.#view, { service, port: original.port, client: source, clientIp: this.#facts.source.ip, gathered: this.#facts.gathered, mode: "standard" }, this.#random);
    const workload = this.#view.workloadAt(network, original.ip);
    return workload && { kind: "chosen", chosen: { workload, port: original.port, service: undefined } };
  }

  #passthrough(source: Workload, service: Service | undefined): OutboundPlan {
    const { original } = this.#facts;
    this.#note("upstream", service === undefined ? "unknown to the mesh" : `${keyOf(service)} is passthrough`, `plain to ${formatSocketAddress(original)}`);
    return { kind: "passthrough", nextHop: original, source, service, destination: undefined, because: this.#because };
  }

  /** A waypoint that is named and cannot be used fails the connection: there is no way round it. */
  #toWaypoint(gateway: GatewayAddress, source: Workload, service: Service | undefined): OutboundPlan {
    const name = describeGateway(gateway);
    const choice = resolveGateway(this.#view, { gateway, client: source, clientIp: this.#facts.source.ip, gathered: this.#facts.gathered, mode: "waypoint" }, this.#random);
    if (choice.kind === "need") return { kind: "need", need: choice.need, because: this.#because };
    if (choice.kind !== "chosen") return this.#deny("unknown-waypoint", `unknown waypoint: ${choice.kind === "none" ? `${name}: ${choice.message}` : choice.message}`, "waypoint", name);
    const { chosen } = choice;
    if (chosen.workload.network !== source.network) return this.#crossNetwork(chosen, source, service);
    const asked = gateway.destination.kind === "address" ? gateway.destination.address.ip : this.#facts.original.ip;
    const address = chooseAddress(chosen.workload, chosen.service, asked, this.#facts.gathered, this.#random);
    if (address.kind === "need") return { kind: "need", need: address.need, because: this.#because };
    if (address.kind === "none") return this.#deny(address.code, address.message, "waypoint address", chosen.workload.uid);
    const nextHop: SocketAddress = { ip: address.ip, port: chosen.port };
    this.#note("waypoint", name, `tunnel to ${formatSocketAddress(nextHop)} for ${formatSocketAddress(this.#facts.original)}`);
    return {
      kind: "tunnel", nextHop, target: { kind: "address", address: this.#facts.original }, hop: "waypoint", expect: expected(chosen),
      source, service, destination: chosen.workload, because: this.#because,
    };
  }

  #crossNetwork(remote: Chosen, source: Workload, service: Service | undefined): OutboundPlan {
    const crossing = planCrossing(this.#view, { remote, source, service, facts: this.#facts }, this.#random);
    if (crossing.kind === "need") return { kind: "need", need: crossing.need, because: this.#because };
    if (crossing.kind === "none") return this.#deny(crossing.code, crossing.message, "network", crossing.saw);
    const { nextHop, target, outer, inner, gateway, steps } = crossing;
    this.#because.push(...steps);
    return { kind: "double-tunnel", nextHop, target, outer, inner, source, service, destination: gateway, because: this.#because };
  }

  #note(step: string, saw: string, chose: string): void {
    this.#because.push({ step, saw, chose });
  }

  #deny(code: FaultCode, message: string, step: string, saw: string): DenyPlan {
    this.#note(step, saw, `refused: ${message}`);
    return { kind: "deny", code, message, because: this.#because };
  }
}

function keptClient({ service, workload }: Chosen): Pick<Forward, "keep"> {
  return service?.clientAffinityMs === undefined ? {} : { keep: { service: keyOf(service), workload: workload.uid, idleMs: service.clientAffinityMs } };
}
