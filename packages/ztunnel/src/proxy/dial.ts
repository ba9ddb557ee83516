// Owns connecting: a socket in a pod's namespace with our mark, bounded in time, its failures named.
import type { Socket } from "node:net";
import { formatSocketAddress, MeshError, type Ip, type SocketAddress } from "@ambit/core";
import type { Kernel, Netns } from "@ambit/linux";
import { connectFault } from "@ambit/transport";
import type { Clock } from "@ambit/runtime";
import { HBONE_PORT } from "../plan/outbound.ts";

/** To the application, to an upstream, to a waypoint. */
export const CONNECT_TIMEOUT_MS = 10_000;

export interface DialTo {
  readonly to: SocketAddress;
  /** The source address to keep; undefined: the namespace's own. */
  readonly source?: Ip | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type Dial = (o: DialTo) => Promise<Socket>;

/** Rejects with MeshError; the socket is destroyed then. */
export function createDial(kernel: Pick<Kernel, "dial">, netns: Netns, mark: number, clock: Clock): Dial {
  return ({ to, source, signal }) => new Promise((resolve, reject) => {
    let socket: Socket;
    try {
      socket = kernel.dial(netns, to, { mark, ...(source === undefined ? {} : { source, transparent: true }) });
    } catch (cause) {
      return reject(new MeshError("connect-refused", `cannot open a socket to ${formatSocketAddress(to)}: ${textOf(cause)}`, { cause }));
    }
    const settle = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
      socket.off("connect", onConnect).off("error", onError);
    };
    const fail = (error: MeshError): void => {
      settle();
      socket.on("error", () => undefined); // it is being thrown away: what else goes wrong with it is no news
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => { settle(); resolve(socket); };
    const onError = (cause: Error): void => fail(connectFault(cause, formatSocketAddress(to)) ?? new MeshError("connect-refused", `${formatSocketAddress(to)}: ${textOf(cause)}`, { cause }));
    const onAbort = (): void => fail(new MeshError("downstream-reset", `given up while connecting to ${formatSocketAddress(to)}`, { cause: signal?.reason }));
    const timer = clock.after(CONNECT_TIMEOUT_MS, () => fail(timedOut(to)), { hold: true });
    socket.on("connect", onConnect).on("error", onError);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
  });
}

function timedOut(to: SocketAddress): MeshError {
  const where = `${formatSocketAddress(to)} did not answer within ${CONNECT_TIMEOUT_MS} ms`;
  return to.port === HBONE_PORT
    ? new MeshError("tunnel-timeout", `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${HBONE_PORT}: ${where}`)
    : new MeshError("connect-timeout", `connection timed out: ${where}`);
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
