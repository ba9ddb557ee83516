// Owns connecting plain TCP in the process's own network namespace to a byte stream: on a handle where this Node has them, else on net.Socket.
import { familyOf, formatSocketAddress, MeshError, type SocketAddress } from "@ambit/core";
import { systemClock, type Clock } from "@ambit/runtime";
import type { ByteStream } from "../byte-stream.ts";
import { connectFault } from "../fault.ts";
import { fromSocket } from "./socket-stream.ts";
import { CONNECT_MS, dialTcp } from "./tcp.ts";
import { tcpBinding, type TcpBinding } from "./tcp-binding.ts";
import { systemError, TcpStream } from "./tcp-stream.ts";

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
