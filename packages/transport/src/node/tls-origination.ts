// Owns TLS towards a server that is no member of the mesh, over any stream: names and public roots, as a browser checks them.
import tls from "node:tls";
import { MeshError } from "@ambit/core";
import { systemClock, type Clock, type StopSignal } from "@ambit/runtime";
import type { ByteStream } from "../byte-stream.ts";
import { fromSocket } from "./socket-stream.ts";
import { toDuplex } from "./stream-duplex.ts";
import { TLS_HANDSHAKE_MS } from "./tls-handshake.ts";

export interface OriginationOptions {
  /** Server name that is sent; undefined: none. */
  readonly sni: string | undefined;
  /** One of them must be in the certificate, as DNS name or URI; empty: any name of a trusted chain. */
  readonly names: readonly string[];
  /** PEM; undefined: the system's. */
  readonly rootsPem: string | undefined;
  readonly insecureSkipVerify: boolean;
  readonly alpn: readonly string[];
  readonly clock?: Clock;
  readonly signal?: StopSignal | undefined;
}

/** Rejects with MeshError `tls-handshake`; the stream is destroyed then. */
export function originateTls(stream: ByteStream, o: OriginationOptions): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    let socket: tls.TLSSocket;
    try {
      socket = tls.connect({
        socket: toDuplex(stream), ALPNProtocols: [...o.alpn], minVersion: "TLSv1.2", rejectUnauthorized: !o.insecureSkipVerify,
        ...(o.sni === undefined ? {} : { servername: o.sni }), ...(o.rootsPem === undefined ? {} : { ca: o.rootsPem }),
        checkServerIdentity: (_host, certificate) => misnamed(certificate, o.names),
      });
    } catch (cause) {
      stream.destroy();
      return reject(new MeshError("tls-handshake", `unusable roots: ${cause instanceof Error ? cause.message : String(cause)}`, { cause }));
    }
    const settle = (): void => {
      timer.cancel();
      o.signal?.removeEventListener("abort", onAbort);
      socket.off("error", onError).off("close", onClose).off("secureConnect", onSecure);
    };
    const fail = (why: string, cause?: unknown): void => {
      settle();
      socket.on("error", () => undefined); // what breaks from here on has its fault already
      socket.destroy();
      reject(new MeshError("tls-handshake", `TLS to ${o.sni ?? "the server"} failed: ${why}`, { cause }));
    };
    const onError = (error: Error): void => fail(error.message, error);
    const onClose = (): void => fail("it closed the connection during the handshake");
    const onAbort = (): void => fail("given up");
    const onSecure = (): void => {
      settle();
      resolve(fromSocket(socket));
    };
    const timer = (o.clock ?? systemClock).after(TLS_HANDSHAKE_MS, () => fail(`no handshake within ${TLS_HANDSHAKE_MS} ms`), { hold: true });
    socket.on("error", onError).on("close", onClose).on("secureConnect", onSecure);
    o.signal?.addEventListener("abort", onAbort, { once: true });
    if (o.signal?.aborted === true) onAbort();
  });
}

function misnamed(certificate: tls.PeerCertificate, names: readonly string[]): Error | undefined {
  if (names.length === 0) return undefined;
  const uris = (certificate.subjectaltname ?? "").split(", ").flatMap((n) => (n.startsWith("URI:") ? [n.slice(4)] : []));
  if (names.some((name) => uris.includes(name) || tls.checkServerIdentity(name, certificate) === undefined)) return undefined;
  return new Error(`its certificate names ${(certificate.subjectaltname ?? "nobody").slice(0, 500)}, not ${names.join(" or ")}`);
}
