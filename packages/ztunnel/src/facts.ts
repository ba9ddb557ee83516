// Owns what is known about one connection before it is planned: immutable, gathered by the shell.
import type { Ip, ServiceKey, SocketAddress, WorkloadUid } from "@ambit/core";
import type { PodInfo } from "@ambit/proxy/state";

/** Answers to needs, gathered between two rounds of planning. */
export interface Gathered {
  /** DNS answers by hostname; an empty list says that the name has no address. */
  readonly hosts: ReadonlyMap<string, readonly Ip[]>;
  /** On demand only: names that the control plane was asked for and does not have. undefined: it told everything by itself. */
  readonly absent?: { has(name: string): boolean } | undefined;
  /** Where connections of this client went lately, by service, for those that keep their clients. */
  readonly lately?: { get(service: ServiceKey): WorkloadUid | undefined } | undefined;
  /** Next hops that were tried for this connection in vain. */
  readonly failed?: ReadonlySet<WorkloadUid> | undefined;
}
export const NOTHING_GATHERED: Gathered = { hosts: new Map() };

/** A connection that a pod opened and that was captured at 15001. */
export interface OutboundFacts {
  readonly pod: PodInfo;
  readonly source: SocketAddress;
  /** Where the application meant to connect. */
  readonly original: SocketAddress;
  /** The accepted socket's own address: equal to `original` when somebody dialled the listener itself. */
  readonly listener: SocketAddress;
  /** The network this ztunnel is on. */
  readonly network: string;
  readonly gathered: Gathered;
}

/** What a tunnel's `:authority` asks for. */
export type Target =
  | { readonly kind: "address"; readonly address: SocketAddress }
  | { readonly kind: "hostname"; readonly hostname: string; readonly port: number };

/** One CONNECT that arrived at 15008. */
export interface InboundFacts {
  readonly pod: PodInfo;
  /** The tunnel's TCP peer. */
  readonly source: SocketAddress;
  /** The tunnel's TCP destination: the pod's address and 15008. */
  readonly listener: SocketAddress;
  readonly target: Target;
  readonly network: string;
  /** `forwarded: host=` of the client side; only used to name the service in telemetry. */
  readonly forwardedHost: string | undefined;
  readonly gathered: Gathered;
  /** Application tunnels are dialled on loopback, where only we can reach them; else on the pod's address. */
  readonly tunnelsOnLoopback: boolean;
}

/** A plaintext connection that was captured at 15006. */
export interface PassthroughFacts {
  readonly pod: PodInfo;
  readonly source: SocketAddress;
  readonly original: SocketAddress;
  readonly network: string;
}
