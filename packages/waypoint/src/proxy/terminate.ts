// Owns tunnels that clients open to this waypoint: the handshake with its own identity, then each CONNECT planned and handed on.
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { faultRow, formatIdentity, formatSocketAddress, MeshError, parseIp, type FaultCode, type Identity, type SocketAddress } from "@ambit/core";
import { parseTraceparent, serveTunnels, type TunnelRequest, type TunnelSession } from "@ambit/hbone";
import { identityOfLeaf, type TlsContexts } from "@ambit/proxy/identity";
import { errorText, randomHex, type Clock, type Logger } from "@ambit/runtime";
import { acceptTls, listenTcp } from "@ambit/transport";
import type { ConnectionFacts } from "../facts.ts";
import { planConnect } from "../plan/connection.ts";
import type { WaypointState } from "../state/waypoint-state.ts";

/** Handshakes under way: anybody may start one, and each costs a key exchange and up to ten seconds. */
export const HANDSHAKES_MAX = 1024;
/** Tunnels open at once: each node's ztunnel has one per client identity. */
export const TUNNELS_MAX = 10_000;

export interface TerminateOptions {
  readonly at: SocketAddress;
  readonly identity: Identity;
  readonly network: string;
  readonly contexts: TlsContexts;
  readonly state: WaypointState;
  readonly clock: Clock;
  readonly log: Logger;
  /** Answers the request, by accepting it or not. Must not throw. */
  readonly serve: (facts: ConnectionFacts, request: TunnelRequest, traceparent: string | undefined) => void;
}

export interface Terminator {
  readonly port: number;
  /** For dumps. */
  readonly sessions: number;
  drain(deadlineMs: number): Promise<void>;
}

export async function terminateTunnels(o: TerminateOptions): Promise<Terminator> {
  const sessions = new Set<TunnelSession>();
  const handshakes = new Set<Socket>();
  const denied = (socket: Socket, code: FaultCode, error: string): void => {
    o.log.warn("connection failed", { "src.addr": `${socket.remoteAddress ?? ""}:${socket.remotePort ?? ""}`, direction: "inbound", code, error });
    if (!socket.destroyed) socket.resetAndDestroy();
  };

  const accept = async (socket: Socket): Promise<void> => {
    const ends = endsOf(socket);
    if (ends === undefined) return void socket.destroy();
    if (handshakes.size >= HANDSHAKES_MAX) return denied(socket, "overloaded", `${HANDSHAKES_MAX} TLS handshakes are under way already`);
    if (sessions.size >= TUNNELS_MAX) return denied(socket, "overloaded", `${TUNNELS_MAX} tunnels are open already`);
    handshakes.add(socket);
    try {
      const { credentials } = await o.contexts.material(o.identity);
      const accepted = await acceptTls(socket, { credentials, clock: o.clock, verify: (leaf) => verifyPeer(o, leaf) });
      const peer = { identity: accepted.peer.identity, certificateFingerprint: accepted.peer.fingerprint, ...ends };
      const session = serveTunnels(accepted.stream, peer, { clock: o.clock }, (request) => serveConnect(o, request));
      sessions.add(session);
      void session.closed.then(() => sessions.delete(session));
    } catch (error) {
      denied(socket, error instanceof MeshError ? error.code : "tls-handshake", errorText(error));
    } finally {
      handshakes.delete(socket);
    }
  };

  const listener = await listenTcp(o.at, (socket) => void accept(socket));
  return {
    port: listener.port,
    get sessions() { return sessions.size; },
    async drain(deadlineMs) {
      listener.close();
      for (const socket of handshakes) socket.destroy();
      const reason = new MeshError("drained", `the tunnel was drained, ${deadlineMs} ms deadline`);
      await Promise.all([...sessions].map((s) => s.drain(deadlineMs, reason)));
    },
  };
}

/** Anybody of this trust domain or one of its aliases; policy restricts further. */
function verifyPeer(o: TerminateOptions, leaf: Uint8Array): { ok: true; value: { identity: Identity; fingerprint: string } } | { ok: false; error: string } {
  const id = identityOfLeaf(leaf);
  if (!id.ok) return id;
  const domains = [o.identity.trustDomain, ...(o.state.config?.trustDomainAliases ?? [])];
  if (!domains.includes(id.value.trustDomain)) return { ok: false, error: `the peer ${formatIdentity(id.value)} is not of trust domain ${domains.join(" or ")}` };
  return { ok: true, value: { identity: id.value, fingerprint: createHash("sha256").update(leaf).digest("hex") } };
}

function serveConnect(o: TerminateOptions, request: TunnelRequest): void {
  const { peer } = request;
  const header = request.headers.get("traceparent");
  const trace = parseTraceparent(header ?? "");
  const plan = planConnect(o.state.view(), o.state.config, {
    id: trace.ok ? trace.value.traceId : randomHex(16), peer: peer.identity, source: peer.remote, target: request.target, network: o.network,
  });
  if (plan.kind === "serve") return o.serve(plan.facts, request, trace.ok ? header : undefined);
  o.log.warn("connection failed", {
    "src.addr": formatSocketAddress(peer.remote), "src.identity": formatIdentity(peer.identity), "dst.addr": request.authority, direction: "inbound", code: plan.code, error: plan.message,
  });
  request.refuse(faultRow(plan.code).hbone ?? 503);
}

function endsOf(socket: Socket): { readonly remote: SocketAddress; readonly local: SocketAddress } | undefined {
  const remote = parseIp(socket.remoteAddress ?? "");
  const local = parseIp(socket.localAddress ?? "");
  if (!remote.ok || !local.ok || socket.remotePort === undefined || socket.localPort === undefined) return undefined;
  return { remote: { ip: remote.value, port: socket.remotePort }, local: { ip: local.value, port: socket.localPort } };
}
