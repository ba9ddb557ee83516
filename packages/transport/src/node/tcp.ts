// Owns plain TCP in the process's own network namespace: listening, and connecting within a time.
import { once } from "node:events";
import net from "node:net";
import { formatSocketAddress, MeshError, type SocketAddress } from "@ambit/core";
import { systemClock, type Clock } from "@ambit/runtime";
import { connectFault } from "../fault.ts";

/** To a pod, to a tunnel: as ambient peers wait. */
export const CONNECT_MS = 10_000;

export interface TcpListener {
  readonly port: number;
  /** No new connections; those that were accepted go on. */
  close(): void;
}

/** Dual-stack when `ip` is `::` and the kernel has IPv6. Rejects when the port is taken. */
export async function listenTcp(at: SocketAddress, accept: (socket: net.Socket) => void): Promise<TcpListener> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    // A peer may reset before anybody looks at the socket; that must not be an unheard error.
    socket.on("error", () => undefined);
    accept(socket);
  });
  server.listen({ host: at.ip, port: at.port });
  await once(server, "listening");
  const bound = server.address();
  return { port: typeof bound === "object" && bound !== null ? bound.port : at.port, close: () => void server.close() };
}

/** Rejects with MeshError (`connect-refused`, `connect-timeout`, `downstream-reset` when the signal ends it); the socket is destroyed then. */
export function dialTcp(to: SocketAddress, o: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number; readonly clock?: Clock } = {}): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const where = formatSocketAddress(to);
    const limit = o.timeoutMs ?? CONNECT_MS;
    const socket = net.connect({ host: to.ip, port: to.port, allowHalfOpen: true, noDelay: true });
    const settle = (): void => {
      timer.cancel();
      o.signal?.removeEventListener("abort", onAbort);
      socket.off("connect", onConnect).off("error", onError);
    };
    const fail = (error: MeshError): void => {
      settle();
      socket.on("error", () => undefined); // it is being thrown away: what else goes wrong with it is no news
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => { settle(); resolve(socket); };
    const onError = (cause: Error): void => fail(connectFault(cause, where) ?? new MeshError("connect-refused", `${where}: ${cause.message}`, { cause }));
    const onAbort = (): void => fail(new MeshError("downstream-reset", `given up while connecting to ${where}`, { cause: o.signal?.reason }));
    const timer = (o.clock ?? systemClock).after(limit, () => fail(new MeshError("connect-timeout", `${where} did not answer within ${limit} ms`)), { hold: true });
    socket.on("connect", onConnect).on("error", onError);
    o.signal?.addEventListener("abort", onAbort, { once: true });
    if (o.signal?.aborted === true) onAbort();
  });
}
