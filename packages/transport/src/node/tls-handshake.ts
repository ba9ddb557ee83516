// Owns mutual TLS for tunnels: TLS 1.3, ALPN, no names; OpenSSL checks the chain, the caller's function the identity.
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { MeshError, type Result } from "@ambit/core";
import { systemClock, type Clock, type StopSignal } from "@ambit/runtime";
import type { ByteStream } from "../byte-stream.ts";
import { connectFault } from "../fault.ts";
import { tunnelGroups } from "./key-exchange.ts";
import { fromSocket } from "./socket-stream.ts";
import { validityText } from "./validity-text.ts";
import { verifyError } from "./verify-error.ts";

/** A peer that does not finish its handshake in this time is dropped. */
export const TLS_HANDSHAKE_MS = 10_000;
/** AES-128 first: the fastest on hardware that has AES, and strong enough; AES-256 for peers that insist. */
const SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
/** SSL_OP_NO_TICKET: a session that outlives its trust bundle must not be resumed. */
const NO_TICKET = 0x4000;

/** One per identity and certificate: making it costs far more than a connection. */
export interface TlsCredentials {
  readonly context: tls.SecureContext;
}

/** PEM texts: the chain leaf first, its key, the trusted roots (one or several certificates). Throws MeshError `tls-handshake`. */
export function createTlsCredentials(pem: { readonly chain: string; readonly key: string; readonly roots: string }): TlsCredentials {
  try {
    return { context: tls.createSecureContext({ cert: pem.chain, key: pem.key, ca: pem.roots, minVersion: "TLSv1.3", maxVersion: "TLSv1.3", ciphers: SUITES,
      ecdhCurve: tunnelGroups(), secureOptions: NO_TICKET, honorCipherOrder: true }) };
  } catch (cause) {
    throw new MeshError("tls-handshake", `unusable certificate, key or roots: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

export interface TlsOptions<T> {
  readonly credentials: TlsCredentials;
  /** Judges the peer's leaf (DER), whose chain OpenSSL accepted already; its value is handed back as `peer`. An error text (or fault) refuses the peer. */
  readonly verify: (leaf: Uint8Array) => Result<T, string | MeshError>;
  /** Default `h2`, and the peer must agree. */
  readonly alpn?: string;
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly signal?: StopSignal;
}

/** What both ends agreed on, in OpenSSL's words. */
export interface Negotiated { readonly protocol: string; readonly cipher: string }

export interface TlsConnection<T> {
  readonly stream: ByteStream;
  readonly peer: T;
  readonly negotiated: Negotiated;
}

/** The server's half, on an accepted socket: a client certificate is demanded. Rejects with MeshError; the socket is destroyed then. */
export function acceptTls<T>(socket: Duplex, options: TlsOptions<T>): Promise<TlsConnection<T>> {
  const wrapped = new tls.TLSSocket(socket, { isServer: true, secureContext: options.credentials.context, requestCert: true, rejectUnauthorized: true,
    ALPNProtocols: [options.alpn ?? "h2"] });
  return handshake(wrapped, "secure", options);
}

/** The client's half, also inside another stream (`toDuplex`); no server name is sent. Rejects with MeshError; the socket is destroyed then. */
export function connectTls<T>(socket: Duplex, options: TlsOptions<T>): Promise<TlsConnection<T>> {
  // rejectUnauthorized is off because node:tls would compare host names; `handshake` refuses what OpenSSL did not verify.
  const wrapped = tls.connect({ socket, secureContext: options.credentials.context, rejectUnauthorized: false, ALPNProtocols: [options.alpn ?? "h2"],
    checkServerIdentity: () => undefined });
  return handshake(wrapped, "secureConnect", options);
}

function handshake<T>(socket: tls.TLSSocket, event: "secure" | "secureConnect", options: TlsOptions<T>): Promise<TlsConnection<T>> {
  return new Promise((resolve, reject) => {
    const limit = options.timeoutMs ?? TLS_HANDSHAKE_MS;
    const timer = (options.clock ?? systemClock).after(limit, () => fail(new MeshError("tls-handshake", `no TLS handshake within ${limit} ms`)), { hold: true });
    const onError = (error: Error): void => fail(handshakeFault(error));
    const onClose = (): void => fail(new MeshError("tls-handshake", "the peer closed the connection during the TLS handshake"));
    const onAbort = (): void => fail(new MeshError("tls-handshake", "aborted during the TLS handshake", { cause: options.signal?.reason }));
    const settle = (): void => {
      timer.cancel();
      options.signal?.removeEventListener("abort", onAbort);
      socket.off("error", onError).off("end", onClose).off("close", onClose).off(event, onSecure);
    };
    const fail = (fault: MeshError): void => {
      settle();
      socket.on("error", () => {}); // what breaks from here on has its fault already
      socket.destroy();
      reject(fault);
    };
    const onSecure = (): void => {
      const verdict = judge(socket, options);
      if (!verdict.ok) return fail(verdict.error);
      settle();
      resolve({ stream: fromSocket(socket), peer: verdict.value, negotiated: { protocol: socket.getProtocol() ?? "none", cipher: socket.getCipher().name } });
    };
    socket.on("error", onError).on("end", onClose).on("close", onClose).on(event, onSecure);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    if (options.signal?.aborted === true) onAbort();
  });
}

/** In this order: chain, presence, protocol, identity. Nothing is accepted because a check could not be made. */
function judge<T>(socket: tls.TLSSocket, options: TlsOptions<T>): Result<T, MeshError> {
  const chain = verifyError(socket);
  const leaf = socket.getPeerX509Certificate();
  // OpenSSL went by this machine's clock.
  if (chain !== undefined) return { ok: false, error: new MeshError("tls-handshake", `the peer's certificate is not trusted: ${chain}${validityText(chain, leaf, systemClock.now())}`) };
  if (leaf === undefined) return { ok: false, error: new MeshError("tls-handshake", "the peer has no certificate") };
  const alpn = options.alpn ?? "h2";
  if (socket.alpnProtocol !== alpn) return { ok: false, error: new MeshError("tls-handshake", `the peer does not speak ${alpn} (ALPN)`) };
  const verdict = options.verify(leaf.raw);
  if (verdict.ok) return verdict;
  return { ok: false, error: verdict.error instanceof MeshError ? verdict.error : new MeshError("identity-mismatch", verdict.error) };
}

function handshakeFault(error: Error): MeshError {
  return connectFault(error, "TLS handshake") ?? new MeshError("tls-handshake", `TLS handshake failed: ${error.message}`, { cause: error });
}
