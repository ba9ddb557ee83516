// Owns the listeners that we run inside one pod's network namespace, and their end.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import type { Socket as DatagramSocket } from "node:dgram";
import type { Server, Socket } from "node:net";
import { parseIp, UNSPECIFIED_V4, type Ip, type SocketAddress } from "@ambit/core";
import { insideNetns, SyscallError, type Kernel, type Netns } from "@ambit/linux";
import { errorText, type Logger } from "@ambit/runtime";

export const OUTBOUND_PORT = 15001;
export const PLAINTEXT_PORT = 15006;
export const TUNNEL_PORT = 15008;

export interface Acceptors {
  outbound(socket: Socket): void;
  plaintext(socket: Socket): void;
  tunnel(socket: Socket): void;
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
  readonly kernel: Pick<Kernel, "listen" | "bindDatagram">;
  readonly netns: Netns;
  readonly mark: number;
  readonly reusePort: boolean;
  /** Listen dual-stack where the kernel can. */
  readonly ipv6: boolean;
  readonly accept: Acceptors;
  readonly dns: DnsAcceptors | undefined;
  readonly log: Logger;
}

export interface Listeners {
  /** No new connections; those that were accepted go on. DNS ends at once. */
  close(): void;
  /** The same, but DNS questions that came in are answered first. */
  drain(): Promise<void>;
}

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
    await serve(listen(o, OUTBOUND_PORT), OUTBOUND_PORT, (s) => o.accept.outbound(s));
    await serve(listen(o, PLAINTEXT_PORT), PLAINTEXT_PORT, (s) => o.accept.plaintext(s));
    await serve(listen(o, TUNNEL_PORT), TUNNEL_PORT, (s) => o.accept.tunnel(s));
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
      await o.dns?.settle();
      closeAll(datagrams);
    },
  };
}

const UNSPECIFIED_V6 = "::" as Ip;

function listen(o: ListenersOptions, port: number): Server {
  const options = { transparent: true, reusePort: o.reusePort, mark: o.mark };
  if (!o.ipv6) return o.kernel.listen(o.netns, { ip: UNSPECIFIED_V4, port }, options);
  try {
    return o.kernel.listen(o.netns, { ip: UNSPECIFIED_V6, port }, options);
  } catch (error) {
    if (!lacksIpv6(error)) throw error;
    return o.kernel.listen(o.netns, { ip: UNSPECIFIED_V4, port }, options);
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

/** The two ends of an accepted socket; undefined when the peer is gone already. */
export function endsOf(socket: Socket): { readonly peer: { ip: Ip; port: number }; readonly local: { ip: Ip; port: number } } | undefined {
  const peer = parseIp(socket.remoteAddress ?? "");
  const local = parseIp(socket.localAddress ?? "");
  if (!peer.ok || !local.ok || socket.remotePort === undefined || socket.localPort === undefined) return undefined;
  return { peer: { ip: peer.value, port: socket.remotePort }, local: { ip: local.value, port: socket.localPort } };
}
