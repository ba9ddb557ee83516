// Owns connecting: a connection in a pod's namespace with our mark, bounded in time, its failures named.
import { formatSocketAddress, MeshError, type Ip, type SocketAddress } from "@ambit/core";
import type { Kernel, Netns } from "@ambit/linux";
import { connectFault, connectDescriptor, type ConnectSignal, type TcpConnection } from "@ambit/transport";
import type { Clock, StopSignal } from "@ambit/runtime";
import { HBONE_PORT } from "../plan/outbound.ts";

/** To the application, to an upstream, to a waypoint. */
export const CONNECT_TIMEOUT_MS = 10_000;

export interface DialTo {
  readonly to: SocketAddress;
  /** The source address to keep; undefined: the namespace's own. */
  readonly source?: Ip | undefined;
  readonly signal?: StopSignal | undefined;
}

export type Dial = (o: DialTo) => Promise<TcpConnection>;

/** Rejects with MeshError; the descriptor is closed then. */
export function createDial(kernel: Pick<Kernel, "openStream">, netns: Netns, mark: number, clock: Clock, connect = connectDescriptor): Dial {
  return async ({ to, source, signal }) => {
    if (signal?.aborted === true) throw givenUp(to, signal);
    let fd: number;
    try {
      fd = kernel.openStream(netns, to, source === undefined ? { mark } : { mark, source, transparent: true });
    } catch (cause) {
      throw new MeshError("connect-refused", `cannot open a socket to ${formatSocketAddress(to)}: ${textOf(cause)}`, { cause });
    }
    const attempt: ConnectSignal = { giveUp: undefined };
    const onAbort = (): void => attempt.giveUp?.(givenUp(to, signal));
    const connecting = connect(fd, to, attempt);
    const timer = clock.after(CONNECT_TIMEOUT_MS, () => attempt.giveUp?.(timedOut(to)), { hold: true });
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await connecting;
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      throw connectFault(cause, formatSocketAddress(to)) ?? new MeshError("connect-refused", `${formatSocketAddress(to)}: ${textOf(cause)}`, { cause });
    } finally {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  };
}

const givenUp = (to: SocketAddress, signal: StopSignal | undefined): MeshError =>
  new MeshError("downstream-reset", `given up while connecting to ${formatSocketAddress(to)}`, { cause: signal?.reason });

function timedOut(to: SocketAddress): MeshError {
  const where = `${formatSocketAddress(to)} did not answer within ${CONNECT_TIMEOUT_MS} ms`;
  return to.port === HBONE_PORT
    ? new MeshError("tunnel-timeout", `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${HBONE_PORT}: ${where}`)
    : new MeshError("connect-timeout", `connection timed out: ${where}`);
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
