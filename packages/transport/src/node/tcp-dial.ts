// Owns plain TCP of the process's own network namespace as byte streams: dialled and accepted on handles where this Node has them, else on net.Socket.
import { familyOf, formatSocketAddress, MeshError, type SocketAddress } from "@ambit/core";
import { systemClock, type Clock } from "@ambit/runtime";
import type { ByteStream } from "../byte-stream.ts";
import { connectFault } from "../fault.ts";
import { fromSocket } from "./socket-stream.ts";
import { CONNECT_MS, dialTcp, listenTcp, type TcpListener } from "./tcp.ts";
import { tcpBinding, type TcpBinding } from "./tcp-binding.ts";
import { systemError, TcpStream } from "./tcp-stream.ts";

/** Connections that the kernel completes before they are accepted. */
const BACKLOG = 4_096;

export interface DialOptions { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number; readonly clock?: Clock }

/** Nothing is read before `attach`. Rejects as `dialTcp` does, and nothing stays open then. */
export function dialStream(to: SocketAddress, o: DialOptions = {}): Promise<ByteStream> {
  return tcpBinding === undefined ? dialTcp(to, o).then((socket) => fromSocket(socket)) : dialHandle(tcpBinding, to, o);
}

function dialHandle(binding: TcpBinding, to: SocketAddress, o: DialOptions): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const where = formatSocketAddress(to);
    const limit = o.timeoutMs ?? CONNECT_MS;
    const handle = new binding.TCP(binding.SOCKET);
    const stream = new TcpStream(binding, handle);
    let over = false;
    const settle = (error: MeshError | undefined): void => {
      if (over) return;
      over = true;
      timer.cancel();
      o.signal?.removeEventListener("abort", onAbort);
      if (error === undefined) {
        stream.noDelay();
        return resolve(stream);
      }
      stream.destroy();
      reject(error);
    };
    const fail = (cause: Error): void => settle(connectFault(cause, where) ?? new MeshError("connect-refused", `${where}: ${cause.message}`, { cause }));
    const onAbort = (): void => settle(new MeshError("downstream-reset", `given up while connecting to ${where}`, { cause: o.signal?.reason }));
    const timer = (o.clock ?? systemClock).after(limit, () => settle(new MeshError("connect-timeout", `${where} did not answer within ${limit} ms`)), { hold: true });
    o.signal?.addEventListener("abort", onAbort, { once: true });
    if (o.signal?.aborted === true) return onAbort();
    const request = new binding.ConnectRequest();
    request.oncomplete = (status) => { if (status < 0) fail(systemError(status, "connect")); else settle(undefined); };
    const status = familyOf(to.ip) === 6 ? handle.connect6(request, to.ip, to.port) : handle.connect(request, to.ip, to.port);
    if (status < 0) fail(systemError(status, "connect"));
  });
}

/** `peerPort`: 0 when the peer is gone already. Rejects when the port is taken. */
export async function listenStream(at: SocketAddress, accept: (stream: ByteStream, peerPort: number) => void): Promise<TcpListener> {
  if (tcpBinding === undefined) return listenTcp(at, (socket) => accept(fromSocket(socket), socket.remotePort ?? 0));
  const binding = tcpBinding;
  const handle = new binding.TCP(binding.SERVER);
  const out: { port?: number } = {};
  handle.onconnection = (_status, client) => {
    if (client === undefined) return; // accept(2) failed: the kernel keeps the connection, and asks again
    const stream = new TcpStream(binding, client);
    stream.noDelay();
    accept(stream, stream.peer?.port ?? 0);
  };
  const steps: [string, number][] = [["bind", familyOf(at.ip) === 6 ? handle.bind6(at.ip, at.port, 0) : handle.bind(at.ip, at.port)], ["listen", handle.listen(BACKLOG)], ["getsockname", handle.getsockname(out)]];
  for (const [call, status] of steps) {
    if (status >= 0) continue;
    handle.close(() => undefined);
    throw systemError(status, call);
  }
  return { port: out.port ?? at.port, close: () => handle.close(() => undefined) };
}
