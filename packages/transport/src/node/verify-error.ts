// Owns the one look into Node's private TLS handle: OpenSSL's verdict on the peer's chain, which node:tls only gives to its own server.
import type tls from "node:tls";
import { invariant } from "@ambit/core";

interface Handle {
  /** null: the chain leads to a trusted root, is in its validity and fits its purpose. */
  verifyError(): (Error & { code?: string }) | null | undefined;
}

/** Why OpenSSL does not trust the peer's chain; `undefined` when it does. Only after the handshake. */
export function verifyError(socket: tls.TLSSocket): string | undefined {
  const handle = "_handle" in socket ? (socket._handle as Handle | null) : null;
  if (handle === null) return "the connection is gone";
  invariant(typeof handle.verifyError === "function", "this Node has no TLSWrap.verifyError, so no chain could be checked");
  const error = handle.verifyError();
  return error === null || error === undefined ? undefined : (error.code ?? error.message);
}
