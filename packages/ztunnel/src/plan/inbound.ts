// Owns the decision what to do with a connection that arrives at a pod: through a tunnel, or in plaintext.
import {
  formatSocketAddress, LOOPBACK_V4, networkAddressKey, serviceKey, type AuthzFacts, type FaultCode, type Identity, type Ip, type Service, type SocketAddress, type Workload,
} from "@ambit/core";
import type { InboundFacts, PassthroughFacts } from "../facts.ts";
import { keyOf, type StateView } from "@ambit/proxy/state";
import { lookUp, OWN_PORTS, RECURSIVE, type Because, type DenyPlan, type Need, type NeedPlan, type Step } from "./need.ts";
import { instances } from "./waypoint.ts";

export interface ForwardPlan {
  readonly kind: "forward";
  readonly workload: Workload;
  /** Where the application is dialled. */
  readonly nextHop: SocketAddress;
  /** The address the application should see; undefined: any local one. */
  readonly source: Ip | undefined;
  /** The application wants to be told the addresses in a PROXY header: the destination it names. */
  readonly proxyHeader: SocketAddress | undefined;
  /** The service, for telemetry only. */
  readonly service: Service | undefined;
  readonly authz: Omit<AuthzFacts, "peer">;
  readonly because: Because;
}
export type InboundPlan = ForwardPlan | DenyPlan | NeedPlan;

/** One CONNECT at 15008. Policy is not asked here: the plan says what to ask it about. */
export function planInbound(view: StateView, facts: InboundFacts): InboundPlan {
  const { target, listener, source } = facts;
  const because: Step[] = [];
  const deny = (code: FaultCode, message: string, step: string, saw: string): DenyPlan => {
    because.push({ step, saw, chose: `refused: ${message}` });
    return { kind: "deny", code, message, because };
  };
  const workload = view.workloadOfPod(facts.pod);
  if (workload === undefined) return { kind: "need", need: { kind: "own-workload" }, because };

  const unasked = target.kind === "address" ? unaskedAddress(view, workload, target.address, facts) : unaskedHost(view, workload, target.hostname, facts);
  if (unasked !== undefined) return { kind: "need", need: unasked, because };
  const mismatch = target.kind === "address" ? ipMismatch(view, workload, target.address, facts) : undefined;
  if (mismatch !== undefined) return deny("destination-mismatch", mismatch, "authority", describe(target));

  const resolved = target.kind === "address"
    ? { port: target.address.port, service: guessService(view, workload, target.address.port, facts.forwardedHost) }
    : resolveHostname(view, workload, target.hostname, target.port);
  if ("code" in resolved) return deny(resolved.code, resolved.message, "authority", describe(target));

  const tunnel = workload.applicationTunnel;
  const port = tunnel !== undefined && tunnel.port !== 0 ? tunnel.port : resolved.port;
  if (OWN_PORTS.has(port)) return deny("self-call", RECURSIVE, "port", String(port));
  because.push({ step: "authority", saw: describe(target), chose: `port ${port} of ${workload.uid}` });

  const authz = { sourceIp: source.ip, destination: { ip: listener.ip, port } };
  const keep = source.ip === listener.ip ? undefined : source.ip;
  if (tunnel?.protocol !== "proxy") {
    return { kind: "forward", workload, nextHop: { ip: listener.ip, port }, source: keep, proxyHeader: undefined, service: resolved.service, authz, because };
  }
  const named = target.kind === "address" ? target.address : vipOf(resolved.service, workload.network, target.port);
  if (named === undefined) return deny("unknown-host", `${describe(target)} has no address to name in a PROXY header`, "application tunnel", describe(target));
  because.push({ step: "application tunnel", saw: "PROXY", chose: `${facts.tunnelsOnLoopback ? "loopback" : "the pod's"} port ${port}, naming ${formatSocketAddress(named)}` });
  // On loopback a foreign source would be martian; the header tells who it was.
  const at = facts.tunnelsOnLoopback ? { nextHop: { ip: LOOPBACK_V4, port }, source: undefined } : { nextHop: { ip: listener.ip, port }, source: keep };
  return { kind: "forward", workload, ...at, proxyHeader: named, service: resolved.service, authz, because };
}

/** Plaintext at 15006: it goes where it was going, if policy lets a peer without identity in. */
export function planPassthrough(view: StateView, facts: PassthroughFacts): InboundPlan {
  const { original, source } = facts;
  if (OWN_PORTS.has(original.port))
    return { kind: "deny", code: "self-call", message: RECURSIVE, because: [{ step: "original destination", saw: formatSocketAddress(original), chose: `refused: ${RECURSIVE}` }] };
  const workload = view.workloadOfPod(facts.pod);
  if (workload === undefined) return { kind: "need", need: { kind: "own-workload" }, because: [] };
  return {
    kind: "forward", workload, nextHop: original, source: source.ip === original.ip ? undefined : source.ip, proxyHeader: undefined,
    service: guessService(view, workload, original.port, undefined),
    authz: { sourceIp: source.ip, destination: original },
    because: [{ step: "original destination", saw: formatSocketAddress(original), chose: `plain to ${workload.uid}` }],
  };
}

/** Only an address that is not the pod's own has an owner that matters: perhaps we are its waypoint. */
function unaskedAddress(view: StateView, workload: Workload, asked: SocketAddress, { listener, network, gathered }: InboundFacts): Need | undefined {
  if (asked.ip === listener.ip || workload.applicationTunnel !== undefined) return undefined;
  const known = view.workloadAt(network, asked.ip) !== undefined || view.serviceAt(network, asked.ip, workload.namespace) !== undefined;
  return known ? undefined : lookUp(gathered, networkAddressKey(network, asked.ip));
}

/** A hostname says no namespace: that of a service which the pod belongs to, else the pod's own. */
function unaskedHost(view: StateView, workload: Workload, hostname: string, { gathered }: InboundFacts): Need | undefined {
  if (view.servicesNamed(hostname, workload.namespace).length > 0) return undefined;
  const member = [...workload.services.keys()].find((key) => key.endsWith(`/${hostname}`));
  return lookUp(gathered, member ?? serviceKey(workload.namespace, hostname));
}

/** undefined when the authority's address belongs here. */
function ipMismatch(view: StateView, workload: Workload, asked: SocketAddress, facts: InboundFacts): string | undefined {
  const { listener, network } = facts;
  if (asked.ip === listener.ip || workload.applicationTunnel !== undefined) return undefined;
  // A waypoint that is itself enrolled receives traffic for what it fronts.
  const owner = view.workloadAt(network, asked.ip);
  const waypoint = owner !== undefined ? owner.waypoint : view.serviceAt(network, asked.ip, workload.namespace)?.waypoint;
  const ours = waypoint !== undefined && instances(view, waypoint, workload.namespace).some((w) => w.uid === workload.uid || w.addresses.includes(listener.ip));
  return ours ? undefined : `ip mismatch: ${asked.ip} != ${listener.ip}`;
}

type Resolved = { readonly port: number; readonly service: Service | undefined } | { readonly code: FaultCode; readonly message: string };

function resolveHostname(view: StateView, workload: Workload, hostname: string, servicePort: number): Resolved {
  const service = view.servicesNamed(hostname, workload.namespace)[0];
  if (service === undefined) return { code: "unknown-host", message: `unknown hostname in authority: ${hostname}` };
  const mapped = workload.services.get(keyOf(service))?.get(servicePort) ?? 0;
  const port = mapped !== 0 ? mapped : (service.ports.get(servicePort)?.targetPort ?? 0);
  if (port === 0) return { code: "no-such-port", message: `${keyOf(service)} has no target for port ${servicePort} on ${workload.uid}` };
  return { port, service };
}

/** For labels only: the service the client named if this pod belongs to it, else the only one that has this target port. */
function guessService(view: StateView, workload: Workload, port: number, forwardedHost: string | undefined): Service | undefined {
  const member = [...workload.services].map(([key, ports]) => ({ service: view.service(key), ports })).filter((m) => m.service !== undefined);
  const named = forwardedHost === undefined ? undefined : member.find((m) => m.service?.hostname === forwardedHost);
  if (named !== undefined) return named.service;
  const matching = member.filter((m) => [...m.ports.values()].includes(port) || [...(m.service?.ports.values() ?? [])].some((p) => p.targetPort === port));
  return matching.length === 1 ? matching[0]?.service : undefined;
}

function vipOf(service: Service | undefined, network: string, port: number): SocketAddress | undefined {
  const vips = [...(service?.vips ?? [])].sort((a, b) => preference(b) - preference(a));
  function preference(v: { network: string; cidr: { ip: Ip } }): number {
    return (v.network === network ? 2 : 0) + (v.cidr.ip.includes(":") ? 0 : 1);
  }
  return vips[0] && { ip: vips[0].cidr.ip, port };
}

const describe = (t: InboundFacts["target"]): string => (t.kind === "address" ? formatSocketAddress(t.address) : `${t.hostname}:${t.port}`);

/** The workload at the other end, for labels: the owner of the peer's address, unless it is somebody else's identity. */
export function peerWorkload(view: StateView, network: string, ip: Ip, peer: Identity | undefined): Workload | undefined {
  const found = view.workloadAt(network, ip);
  if (found === undefined || peer === undefined) return found;
  return found.identity.namespace === peer.namespace && found.identity.serviceAccount === peer.serviceAccount ? found : undefined;
}

