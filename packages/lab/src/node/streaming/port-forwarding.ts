// Owns one forwarded connection: a client's data stream spliced to a port inside the pod, failures told on its error stream.
import type { Duplex, Writable } from "node:stream";
import { errorText } from "@ambit/runtime";
import type { Runtime } from "../runtime.ts";

export interface ForwardRef { readonly namespace: string; readonly pod: string; readonly port: number }

/** A pod's own port on its own loopback answers at once or not at all. */
const CONNECT_TIMEOUT_MS = 30_000;

/** Resolves when both directions are over; never throws. */
export function forwardPort(runtime: Runtime, ref: ForwardRef, data: Duplex, error: Writable): Promise<void> {
  return new Promise((resolve) => {
    const fail = (why: string): void => {
      error.end(`error forwarding port ${ref.port} to pod ${ref.namespace}/${ref.pod}: ${why}`);
      data.destroy();
      resolve();
    };
    let socket: Duplex & { setTimeout(ms: number, onTimeout?: () => void): unknown; setNoDelay?(on: boolean): unknown };
    try {
      socket = runtime.connectInPod({ namespace: ref.namespace, pod: ref.pod }, ref.port);
    } catch (cause) {
      return fail(errorText(cause));
    }
    let connected = false;
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`)));
    socket.on("connect", () => {
      connected = true;
      socket.setTimeout(0);
      socket.setNoDelay?.(true);
      // Each end passes on by itself: pipe ends the other side's writing half only.
      data.pipe(socket);
      socket.pipe(data);
    });
    socket.on("error", (cause: Error) => { if (!connected) fail(errorText(cause)); });
    socket.on("close", () => {
      if (!connected) return resolve();
      // A reset in the pod must not look like a clean end to the client.
      if (!socket.readableEnded) data.destroy();
      if (!error.writableEnded) error.end();
      resolve();
    });
    data.on("close", () => socket.destroy());
  });
}
