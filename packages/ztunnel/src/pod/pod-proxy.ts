// Owns the listeners that we run inside one pod's network namespace, and their end.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import type { Socket as DatagramSocket } from "node:dgram";
import type { Server, Socket } from "node:net";
import { UNSPECIFIED_V4, type Ip, type SocketAddress } from "@ambit/core";
import { insideNetns, SyscallError, type Kernel, type Netns } from "@ambit/linux";
import { errorText, nextTurn, type Logger } from "@ambit/runtime";
import { listenDescriptor, type TcpConnection } from "@ambit/transport";

export const OUTBOUND_PORT = 15001;
export const PLAINTEXT_PORT = 15006;
export const TUNNEL_PORT = 15008;

export interface Acceptors {
  outbound(client: TcpConnection): void;
  plaintext(client: TcpConnection): void;
  tunnel(peer: TcpConnection): void;
}

/** DNS is served where it was asked for: one UDP and one TCP socket at each address. */
export interface DnsAcceptors {
  /** The first has to work; further ones are for kernels that have their family. */
  readonly listen: readonly SocketAddress[];
  datagrams(socket: DatagramSocket): void;
  stream(socket: Socket): void;
  /** Every question that came in was answered. */
  settle(): Promise<void>;
  close(): void;
}

export interface ListenersOptions {
  readonly kernel: Pick<Kernel, "bindStream" | "listen" | "bindDatagram" | "retireDatagram" | "unread">;
  readonly netns: Netns;
  readonly mark: number;
  readonly reusePort: boolean;
  /** Listen dual-stack where the kernel can. */
  readonly ipv6: boolean;
  readonly accept: Acceptors;
  readonly dns: DnsAcceptors | undefined;
  /** False: other threads listen for connections. */
  readonly traffic: boolean;
  readonly log: Logger;
}

export interface Listeners {
  /** No new connections; those that were accepted go on. DNS ends at once. */
  close(): void;
  /** The same, but DNS questions that came in are answered first. */
  drain(): Promise<void>;
}

/** A socket's queue holds some hundred datagrams, and each turn of the event loop reads dozens. */
const READ_TURNS_MAX = 1_024;

/** All or none: resolves once the kernel accepts connections on every port. */
export async function startListeners(o: ListenersOptions): Promise<Listeners> {
  migrateBacklog(o);
  const open: { close(): void }[] = [];
  /** They carry the answers as well: closed after the last. */
  const datagrams: DatagramSocket[] = [];
  const closeAll = (sockets: { close(): void }[]): void => { for (const socket of sockets.splice(0)) socket.close(); };
  const close = (): void => { closeAll(open); closeAll(datagrams); o.dns?.close(); };
  const serve = async (server: Server, port: number, accept: (socket: Socket) => void): Promise<void> => {
    open.push(server);
    server.on("connection", (socket: Socket) => {
      // A peer may reset before anybody looks at the socket; that must not be an unheard error.
      socket.on("error", () => undefined);
      accept(socket);
    });
    if (!server.listening) await once(server, "listening");
    server.on("error", (error) => o.log.error("listener failed", { port, error: errorText(error) }));
  };
  try {
    // One by one: when a later one fails, the earlier ones are on the list of what is closed.
    if (o.traffic) {
      open.push(listen(o, OUTBOUND_PORT, (c) => o.accept.outbound(c)));
      open.push(listen(o, PLAINTEXT_PORT, (c) => o.accept.plaintext(c)));
      open.push(listen(o, TUNNEL_PORT, (c) => o.accept.tunnel(c)));
    }
    const { dns } = o;
    for (const [i, at] of dns?.listen.entries() ?? []) {
      const options = { reusePort: o.reusePort, mark: o.mark };
      try {
        const socket = o.kernel.bindDatagram(o.netns, at, options);
        datagrams.push(socket);
        dns?.datagrams(socket);
        await serve(o.kernel.listen(o.netns, at, options), at.port, (s) => dns?.stream(s));
      } catch (error) {
        if (i === 0 || !lacksIpv6(error)) throw error;
      }
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    close,
    async drain() {
      closeAll(open);
      // What came in before is ours: a question that nobody reads is asked again after seconds.
      for (const socket of datagrams) o.kernel.retireDatagram(socket);
      for (let turns = 0; turns < READ_TURNS_MAX && datagrams.some((socket) => o.kernel.unread(socket)); turns++) await nextTurn();
      await o.dns?.settle();
      closeAll(datagrams);
    },
  };
}

const UNSPECIFIED_V6 = "::" as Ip;

/** So many handshakes wait for us, and as many connections, while this thread is busy: at 200 a second a stall of 5 s. */
const BACKLOG = 1024;

function listen(o: ListenersOptions, port: number, accept: (connection: TcpConnection) => void): { close(): void } {
  return listenDescriptor(bind(o, port), BACKLOG, accept, (error) => o.log.error("listener failed", { port, error: errorText(error) }));
}

function bind(o: ListenersOptions, port: number): number {
  const options = { transparent: true, reusePort: o.reusePort, mark: o.mark };
  if (!o.ipv6) return o.kernel.bindStream(o.netns, { ip: UNSPECIFIED_V4, port }, options);
  try {
    return o.kernel.bindStream(o.netns, { ip: UNSPECIFIED_V6, port }, options);
  } catch (error) {
    if (!lacksIpv6(error)) throw error;
    return o.kernel.bindStream(o.netns, { ip: UNSPECIFIED_V4, port }, options);
  }
}

/** What a kernel without IPv6 says, or a namespace where it is switched off. */
const NO_IPV6: ReadonlySet<string> = new Set(["EAFNOSUPPORT", "EADDRNOTAVAIL", "EPROTONOSUPPORT", "ENOPROTOOPT"]);
const lacksIpv6 = (error: unknown): boolean => error instanceof SyscallError && NO_IPV6.has(error.code);

/**
 * When we close a listener for good, handshakes that nobody accepted yet move to the listener of our successor instead of being
 * reset. Best effort: older kernels and read-only /proc/sys do without.
 */
function migrateBacklog(o: ListenersOptions): void {
  if (!o.reusePort) return;
  try {
    insideNetns(o.netns, () => writeFileSync("/proc/sys/net/ipv4/tcp_migrate_req", "1"));
  } catch (error) {
    o.log.debug("connections that are being opened cannot move to a successor", { error: errorText(error) });
  }
}

/** The two ends of an accepted connection; undefined when the peer is gone already. */
export function endsOf(connection: TcpConnection): { readonly peer: SocketAddress; readonly local: SocketAddress } | undefined {
  const { peer, local } = connection;
  return peer === undefined || local === undefined ? undefined : { peer, local };
}

/** Where the client meant to connect: what the redirection replaced, else the listener itself. */
export function originalDestination(kernel: Pick<Kernel, "originalDestinationOf">, connection: TcpConnection): SocketAddress | undefined {
  const { fd } = connection;
  return (fd < 0 ? undefined : kernel.originalDestinationOf(fd)) ?? connection.local;
}
