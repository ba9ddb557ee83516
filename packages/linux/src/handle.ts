// Owns the one look at Node's private `_handle.fd`.
import type { Socket } from "node:net";

/** Undefined when the socket is closed. */
export function fdOf(socket: Socket): number | undefined {
  const handle = (socket as { _handle?: { fd?: unknown } | null })._handle;
  return typeof handle?.fd === "number" && handle.fd >= 0 ? handle.fd : undefined;
}
