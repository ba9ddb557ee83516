// Owns asking name servers over UDP: in turn, again, and only until a reply that belongs to the question is there.
import type { Socket as DatagramSocket } from "node:dgram";
import { familyOf, formatSocketAddress, MeshError, UNSPECIFIED_V4, type Ip, type SocketAddress } from "@ambit/core";
import { errorText } from "@ambit/runtime";
import { TRY_NEXT, unanswered, type ForwarderOptions } from "./forward-options.ts";
import { answers, rcodeOf } from "./protocol/relay.ts";

/** UDP is asked this often, at the name servers in turn: a lost packet or a server that restarts costs one attempt. */
export const UDP_ATTEMPTS = 3;
/** All attempts together stay below the 5 s after which resolvers ask again, so that our failure is still heard. */
export const UDP_ATTEMPT_MS = 1_500;

/** One socket per server, on a port that the kernel picks at random and connected, so that only that server is heard. */
export function askUdp(o: ForwarderOptions, servers: readonly SocketAddress[], query: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const sockets = new Map<SocketAddress, DatagramSocket>();
    let attempt = 0;
    let timer: { cancel(): void } | undefined;
    let over = false;
    let why = "";
    let negative: Uint8Array | undefined;
    const finish = (settle: () => void): void => {
      if (over) return;
      over = true;
      timer?.cancel();
      o.over.removeEventListener("abort", onAbort);
      for (const socket of sockets.values()) socket.close();
      settle();
    };
    const onAbort = (): void => finish(() => reject(new MeshError("drained", "the pod left")));
    /** The next server at once if there is one that was not asked; else patience until the attempt is over. */
    const failed = (what: string): void => { why = what; if (attempt < servers.length) next(); };
    const onReply = (server: SocketAddress, reply: Buffer): void => {
      if (over || !answers(query, reply)) return;
      if (!TRY_NEXT.has(rcodeOf(reply)) || servers.length === 1) return finish(() => resolve(reply));
      negative = reply;
      if (attempt >= servers.length) finish(() => resolve(reply));
      else failed(`${formatSocketAddress(server)} answered with code ${rcodeOf(reply)}`);
    };
    const next = (): void => {
      if (over) return;
      timer?.cancel();
      const refusal = negative;
      if (attempt >= UDP_ATTEMPTS) return finish(() => (refusal === undefined ? reject(unanswered(why)) : resolve(refusal)));
      const server = servers[attempt++ % servers.length];
      if (server === undefined) return;
      timer = o.clock.after(UDP_ATTEMPT_MS, () => { why = `${formatSocketAddress(server)} did not answer within ${UDP_ATTEMPT_MS} ms`; next(); }, { hold: true });
      const open = sockets.get(server);
      if (open !== undefined) return send(open, query, failed);
      try {
        const socket = o.kernel.bindDatagram(o.netns, { ip: familyOf(server.ip) === 6 ? UNSPECIFIED_V6 : UNSPECIFIED_V4, port: 0 }, { mark: o.mark });
        sockets.set(server, socket);
        socket.on("message", (reply) => onReply(server, reply));
        // Nobody listens there, for instance: the kernel was told by ICMP.
        socket.on("error", (error) => { if (!over) failed(errorText(error)); });
        socket.on("connect", () => { if (!over) send(socket, query, failed); });
        socket.connect(server.port, server.ip);
      } catch (error) {
        failed(errorText(error));
      }
    };
    if (o.over.aborted) return onAbort();
    o.over.addEventListener("abort", onAbort, { once: true });
    next();
  });
}

const UNSPECIFIED_V6 = "::" as Ip;

function send(socket: DatagramSocket, query: Uint8Array, failed: (what: string) => void): void {
  try {
    socket.send(query, (error) => { if (error !== null) failed(errorText(error)); });
  } catch (error) {
    failed(errorText(error)); // Not connected yet, or no more.
  }
}
