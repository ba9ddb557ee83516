// Owns what the connections of one pod share: its namespace, its tunnels, and the process-wide parts they work with.
import { createHash } from "node:crypto";
import { MeshError, type Identity, type SocketAddress } from "@ambit/core";
import { createPool, type Pool, type TunnelSession } from "@ambit/hbone";
import type { Kernel, Netns } from "@ambit/linux";
import { Scope, type Clock, type Logger, type Random } from "@ambit/runtime";
import type { TcpConnection } from "@ambit/transport";
import type { Config } from "../config.ts";
import type { ProxyState, PodInfo } from "@ambit/proxy/state";
import type { Telemetry } from "../telemetry/connection-record.ts";
import { ClientAffinity } from "./client-affinity.ts";
import type { Connections } from "./connections.ts";
import { createDial, type Dial } from "./dial.ts";
import type { PodShare } from "./pod-share.ts";
import type { Needs } from "./needs.ts";
import type { OnDemand } from "./on-demand.ts";
import type { TrialPorts } from "./trials.ts";
import type { Wires } from "./wires.ts";
import type { PeerTrust, TlsContexts } from "@ambit/proxy/identity";
import { connectTrusted } from "./connect-trusted.ts";

/** Of the whole process. */
export interface ProxyPorts {
  readonly config: Pick<Config, "network" | "packetMark" | "originalSource" | "tunnelsOnLoopback" | "responseBaggage" | "maxStreams" | "poolReleaseMs" | "streamWindow" | "connectionWindow" | "frameSize">;
  readonly kernel: Pick<Kernel, "openStream" | "originalDestinationOf">;
  readonly state: ProxyState;
  readonly needs: Needs;
  readonly onDemand: OnDemand | undefined;
  readonly contexts: TlsContexts;
  readonly trust: PeerTrust;
  readonly connections: Connections;
  readonly telemetry: Telemetry;
  readonly trials: TrialPorts;
  readonly wires: Wires;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface PodContext extends ProxyPorts {
  readonly uid: string;
  readonly info: PodInfo;
  readonly dial: Dial;
  readonly pool: Pool;
  readonly affinity: ClientAffinity;
  /** Of the event loop. */
  readonly share: PodShare;
  /** Aborted when the pod left: its namespace handle is closed, and the number may soon mean another file. */
  readonly over: AbortController;
  /** Tunnels that peers opened to this pod. */
  readonly sessions: Set<TunnelSession>;
  /** Peers that have not proved who they are yet. */
  readonly handshakes: Set<{ destroy(): void }>;
  /** Held by each connection from its accept until it has its upstream, its tunnel or its refusal: a drain lets these get there. */
  readonly arrivals: Scope;
}

export function createPodContext(ports: ProxyPorts, uid: string, info: PodInfo, netns: Netns, share: PodShare): PodContext {
  const { config, contexts, clock } = ports;
  const over = new AbortController();
  const enter = createDial(ports.kernel, netns, config.packetMark, clock);
  const dial: Dial = (to) => (over.signal.aborted ? Promise.reject(new MeshError("drained", "the pod left")) : enter(to));
  const pool = createPool({
    connect: async (key, signal) => {
      const material = await contexts.material(key.source);
      const connection = await dial({ to: key.nextHop, signal });
      const socket = connection.toSocket();
      const prove = ports.wires.add(socket, { pod: uid, direction: "outbound", peer: key.nextHop });
      return share.stream(await connectTrusted(ports, socket, { local: key.source, expected: key.expected, material, signal, onPeer: (peer, negotiated) => prove({ ...negotiated, local: key.source, peer }) }));
    },
    maxStreams: config.maxStreams, unusedReleaseMs: config.poolReleaseMs, clock, limits: h2Limits(config),
  });
  return { ...ports, uid, info, dial, pool, affinity: new ClientAffinity(clock), share, over, sessions: new Set(), handshakes: new Set(), arrivals: new Scope("arrivals", clock) };
}

export const h2Limits = (c: ProxyPorts["config"]) => ({ streamWindow: c.streamWindow, connectionWindow: c.connectionWindow, maxFrameSize: c.frameSize });

/** Nothing new, and what is under way ends at once. */
export function cutPod(pod: PodContext): void {
  const reason = new MeshError("drained", "the pod left");
  pod.over.abort(reason);
  pod.connections.endPod(pod.uid);
  for (const session of pod.sessions) session.destroy(reason);
  for (const socket of pod.handshakes) socket.destroy();
  pod.pool.closeWhere(() => true, reason);
}

/** Nothing new; what is under way may finish until the deadline. */
export async function drainPod(pod: PodContext, deadlineMs: number): Promise<void> {
  const reason = new MeshError("drained", `the tunnel was drained, ${deadlineMs} ms deadline`);
  await Promise.all([pod.pool.drain(deadlineMs), ...[...pod.sessions].map((s) => s.drain(deadlineMs, reason))]);
}

export const fingerprintOf = (der: Uint8Array): string => createHash("sha256").update(der).digest("hex");

/** The client sees a reset: it must not mistake a refusal for an orderly end. */
export function refuse(connection: TcpConnection): void {
  connection.destroy(REFUSED);
}
const REFUSED = new Error("refused");

export interface Ends { readonly peer: SocketAddress; readonly local: SocketAddress }
export interface VerifiedPeer {
  readonly identity: Identity;
  /** Who we were to it. */
  readonly local: Identity;
  readonly fingerprint: string;
  /** While it lives its trust is watched. */
  watch(cut: (reason: MeshError) => void): Disposable;
}
