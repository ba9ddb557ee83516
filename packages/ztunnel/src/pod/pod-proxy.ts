// Owns the listeners that we run inside one pod's network namespace, and their end.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import type { Server, Socket } from "node:net";
import { parseIp, UNSPECIFIED_V4, type Ip } from "@ambit/core";
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

export interface ListenersOptions {
  readonly kernel: Pick<Kernel, "listen">;
  readonly netns: Netns;
  readonly mark: number;
  readonly reusePort: boolean;
  /** Listen dual-stack where the kernel can. */
  readonly ipv6: boolean;
  readonly accept: Acceptors;
  readonly log: Logger;
}

export interface Listeners {
  /** No new connections; those that were accepted go on. */
  close(): void;
}

/** All three or none: resolves once the kernel accepts connections on every port. */
export async function startListeners(o: ListenersOptions): Promise<Listeners> {
  migrateBacklog(o);
  const servers: Server[] = [];
  const close = (): void => { for (const server of servers) server.close(); };
  try {
    for (const [port, accept] of [[OUTBOUND_PORT, o.accept.outbound], [PLAINTEXT_PORT, o.accept.plaintext], [TUNNEL_PORT, o.accept.tunnel]] as const) {
      const server = listen(o, port);
      servers.push(server);
      server.on("connection", (socket: Socket) => {
        // A peer may reset before anybody looks at the socket; that must not be an unheard error.
        socket.on("error", () => undefined);
        accept(socket);
      });
      if (!server.listening) await once(server, "listening");
      server.on("error", (error) => o.log.error("listener failed", { port, error: errorText(error) }));
    }
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

const UNSPECIFIED_V6 = "::" as Ip;

function listen(o: ListenersOptions, port: number): Server {
  const options = { transparent: true, reusePort: o.reusePort, mark: o.mark };
  if (!o.ipv6) return o.kernel.listen(o.netns, { ip: UNSPECIFIED_V4, port }, options);
  try {
    return o.kernel.listen(o.netns, { ip: UNSPECIFIED_V6, port }, options);
  } catch (error) {
    if (!(error instanceof SyscallError) || !NO_IPV6.has(error.code)) throw error;
    return o.kernel.listen(o.netns, { ip: UNSPECIFIED_V4, port }, options);
  }
}

/** What a kernel without IPv6 says. */
const NO_IPV6: ReadonlySet<string> = new Set(["EAFNOSUPPORT", "EADDRNOTAVAIL", "EPROTONOSUPPORT", "ENOPROTOOPT"]);

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
