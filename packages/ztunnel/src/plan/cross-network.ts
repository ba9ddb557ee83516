// Owns the way to another network: which network gateway takes the connection, and whom each of the two tunnels must reach.
import { formatSocketAddress, parseIdentity, sameIdentity, type Identity, type Service, type SocketAddress, type Workload } from "@ambit/core";
import type { OutboundFacts, Target } from "../facts.ts";
import { keyOf, type StateView } from "@ambit/proxy/state";
import { chooseAddress, type Chosen } from "./choose.ts";
import type { Need, Step } from "./need.ts";
import { describeGateway, resolveGateway } from "./waypoint.ts";

/** At least one: an empty set would accept nobody, which must not be mistaken for anybody. */
export type Identities = readonly [Identity, ...Identity[]];

/** A tunnel to the gateway, and inside it one to the workload (or waypoint) beyond. */
export interface Crossing {
  readonly kind: "through";
  readonly nextHop: SocketAddress;
  readonly gateway: Workload;
  /** In both tunnels: the gateway routes by it without opening the inner one. */
  readonly target: Target;
  /** The gateway's identity, and what its service vouches for. */
  readonly outer: Identities;
  /** Only what the chosen service vouches for: who is beyond the gateway we never learn. */
  readonly inner: Identities;
  readonly steps: readonly Step[];
}

export interface NoCrossing { readonly kind: "none"; readonly code: "unknown-gateway" | "dns-failed" | "no-healthy-endpoint"; readonly message: string; readonly saw: string }

export interface CrossingQuestion {
  /** The endpoint (or waypoint) on the other network, and the service that it was chosen through. */
  readonly remote: Chosen;
  readonly source: Workload;
  /** The service that the application addressed. */
  readonly service: Service | undefined;
  readonly facts: Pick<OutboundFacts, "original" | "source" | "gathered">;
}

/** Only traffic to services can cross: their hostname is all that both networks have in common. */
export function planCrossing(view: StateView, q: CrossingQuestion, random: () => number): Crossing | NoCrossing | { readonly kind: "need"; readonly need: Need } {
  const { remote, source, service, facts } = q;
  const where = `${remote.workload.uid} is on network "${remote.workload.network}", we are on "${source.network}"`;
  const none = (message: string, code: NoCrossing["code"] = "unknown-gateway"): NoCrossing => ({ kind: "none", code, message: `unknown network gateway: ${message}`, saw: remote.workload.network });

  if (service === undefined) return none(`${where}, and only services can be reached across networks`);
  const gateway = remote.workload.networkGateway;
  if (gateway === undefined) return none(`${where}, and it names no network gateway`);
  const [first, ...more] = vouchedFor(remote.service);
  if (first === undefined) return none(`${where}, and ${remote.service === undefined ? "no service" : keyOf(remote.service)} names no identity to expect there`);

  const name = describeGateway(gateway);
  const choice = resolveGateway(view, { gateway, client: source, clientIp: facts.source.ip, gathered: facts.gathered, mode: "standard" }, random);
  if (choice.kind === "need") return choice;
  if (choice.kind !== "chosen") return none(choice.kind === "none" ? `${name}: ${choice.message}` : choice.message);
  const { workload, port } = choice.chosen;
  const asked = gateway.destination.kind === "address" ? gateway.destination.address.ip : facts.original.ip;
  const address = chooseAddress(workload, choice.chosen.service, asked, facts.gathered, random);
  if (address.kind === "need") return address;
  if (address.kind === "none") return none(`${name}: ${address.message}`, address.code);

  const nextHop: SocketAddress = { ip: address.ip, port };
  const target: Target = { kind: "hostname", hostname: service.hostname, port: facts.original.port };
  const steps: Step[] = [{ step: "network gateway", saw: where, chose: `${name}: tunnel to ${formatSocketAddress(nextHop)}, inside it another for ${service.hostname}:${target.port}` }];
  return { kind: "through", nextHop, gateway: workload, target, outer: expected(choice.chosen), inner: [first, ...more], steps };
}

/** The identity of the workload, and what its service vouches for in addition. */
export function expected(chosen: Chosen): Identities {
  const own = chosen.workload.identity;
  return [own, ...vouchedFor(chosen.service).filter((id) => !sameIdentity(id, own))];
}

/** Names that are no SPIFFE ids say nothing. */
const vouchedFor = (service: Service | undefined): Identity[] => (service?.subjectAltNames ?? []).map(parseIdentity).flatMap((r) => (r.ok ? [r.value] : []));
