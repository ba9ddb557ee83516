// Owns the listeners that we run inside one pod's network namespace, and their end.
import { writeFileSync } from "node:fs";
import type { Socket as DatagramSocket } from "node:dgram";
import type { Socket } from "node:net";
import { formatSocketAddress, UNSPECIFIED_V4, type Ip, type SocketAddress } from "@ambit/core";
import { closeDescriptor, insideNetns, SyscallError, type KeepAlive, type Kernel, type ListenOptions, type Netns } from "@ambit/linux";
import { errorText, nextTurn, type Logger } from "@ambit/runtime";
import { listenDescriptor, type DescriptorListener, type TcpConnection } from "@ambit/transport";
import type { ListeningSocket } from "./handover-server.ts";

export const OUTBOUND_PORT = 15001;
export const PLAINTEXT_PORT = 15006;
export const TUNNEL_PORT = 15008;
export const TRAFFIC_PORTS: ReadonlySet<number> = new Set([OUTBOUND_PORT, PLAINTEXT_PORT, TUNNEL_PORT]);

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
  readonly kernel: Pick<Kernel, "bindStream" | "keepAlive" | "streamListener" | "bindDatagram" | "retireDatagram" | "unread">;
  readonly netns: Netns;
  readonly mark: number;
  readonly reusePort: boolean;
  readonly keepAlive: KeepAlive;
  /** Listen dual-stack where the kernel can. */
  readonly ipv6: boolean;
  readonly accept: Acceptors;
  readonly dns: DnsAcceptors | undefined;
  /** False: other threads listen for connections. */
  readonly traffic: boolean;
  /** Listening sockets of a predecessor, ours to use or to close. */
  readonly inherited?: readonly ListeningSocket[] | undefined;
  readonly log: Logger;
}

export interface Listeners {
  /** What listens now: a successor may take these over. */
  sockets(): readonly ListeningSocket[];
  /** No new connections; those that were accepted go on. DNS ends at once. */
  close(): void;
  /** The same, but DNS questions that came in are answered first. */
  drain(): Promise<void>;
}

/** A socket's queue holds some hundred datagrams, and each turn of the event loop reads dozens. */
const READ_TURNS_MAX = 1_024;

/** All or none: resolves once the kernel accepts connections on every port. What was inherited is ours, or closed. */
export async function startListeners(o: ListenersOptions): Promise<Listeners> {
  migrateBacklog(o);
  const open: DescriptorListener[] = [];
  /** They carry the answers as well: closed after the last. */
  const datagrams: DatagramSocket[] = [];
  const inherited = [...(o.inherited ?? [])];
  const closeAll = (sockets: { close(): void }[]): void => { for (const socket of sockets.splice(0)) socket.close(); };
  const close = (): void => { closeAll(open); closeAll(datagrams); o.dns?.close(); };
  const options = { reusePort: o.reusePort, mark: o.mark };
  const listen = (at: SocketAddress, transparent: boolean, accept: (connection: TcpConnection) => void): void => {
    // One by one: when a later one fails, the earlier ones are on the list of what is closed.
    for (const fd of takeOrBind(o, inherited, at, { ...options, transparent })) {
      o.kernel.keepAlive(fd, o.keepAlive);
      open.push(listenDescriptor(fd, BACKLOG, accept, (error) => o.log.error("listener failed", { port: at.port, error: errorText(error) })));
    }
  };
  try {
    if (o.traffic) for (const [port, accept] of [[OUTBOUND_PORT, o.accept.outbound], [PLAINTEXT_PORT, o.accept.plaintext], [TUNNEL_PORT, o.accept.tunnel]] as const)
      onBothFamilies(o.ipv6, (ip) => listen({ ip, port }, true, accept));
    const { dns } = o;
    for (const [i, at] of dns?.listen.entries() ?? []) {
      try {
        const socket = o.kernel.bindDatagram(o.netns, at, options);
        datagrams.push(socket);
        dns?.datagrams(socket);
        listen(at, false, (connection) => dns?.stream(connection.toSocket()));
      } catch (error) {
        if (i === 0 || !lacksIpv6(error)) throw error;
      }
    }
  } catch (error) {
    close();
    throw error;
  } finally {
    for (const { fd } of inherited) closeDescriptor(fd);
  }
  return {
    close,
    sockets: () => open.flatMap((l) => (l.local === undefined || l.fd < 0 ? [] : [{ at: l.local, fd: l.fd }])),
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

/** So many handshakes wait for us, and as many connections, while this thread is busy: at 200 a second a stall of 5 s. */
const BACKLOG = 1024;

/** A predecessor's sockets at this address, taken off the list, if they are as we would make them; else one of our own. */
function takeOrBind(o: ListenersOptions, inherited: ListeningSocket[], at: SocketAddress, options: ListenOptions): readonly number[] {
  const found = inherited.filter((s) => formatSocketAddress(s.at) === formatSocketAddress(at)).filter(({ fd }) => {
    const is = o.kernel.streamListener(fd);
    return is !== undefined && is.mark === options.mark && is.reusePort === options.reusePort && is.transparent === options.transparent;
  });
  for (const socket of found) inherited.splice(inherited.indexOf(socket), 1);
  return found.length > 0 ? found.map((s) => s.fd) : [o.kernel.bindStream(o.netns, at, options)];
}

const UNSPECIFIED_V6 = "::" as Ip;

/** One socket serves both; where there is no IPv6, or shall be none, one of IPv4. */
function onBothFamilies(ipv6: boolean, listen: (ip: Ip) => void): void {
  if (!ipv6) return listen(UNSPECIFIED_V4);
  try {
    listen(UNSPECIFIED_V6);
  } catch (error) {
    if (!lacksIpv6(error)) throw error;
    listen(UNSPECIFIED_V4);
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
