// Owns the listening sockets: TLS with h2 and HTTP/1.1 on each address, and every connection that must end with them.
import { createSecureServer, type Http2SecureServer, type Http2Session } from "node:http2";
import type { IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { unlinkSync } from "node:fs";
import type { ApiRequest } from "./body.ts";
import type { ApiResponse } from "./exchange.ts";

/** Time for a client to send its request head, against connections that only sit there. */
const HEADERS_TIMEOUT_MS = 30_000;
/** Time for a whole request with its body; answers may take as long as they like. */
const REQUEST_TIMEOUT_MS = 60_000;
/** Idle HTTP/1.1 connections are kept as long as Go's clients keep theirs. */
const KEEP_ALIVE_MS = 90_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Watches of an informer-heavy client share one connection; Go's server default is 250. */
const MAX_STREAMS = 1000;
/** Megabytes a session may hold: a list of thousands of objects is one answer. */
const MAX_SESSION_MB = 256;
const MAX_HEADER_BYTES = 64 * 1024;

interface ListenerOptions {
  readonly key: string;
  readonly cert: string;
  readonly clientCa: string;
  readonly onRequest: (request: ApiRequest, response: ApiResponse) => void;
  readonly onUpgrade: (request: IncomingMessage, socket: Socket, head: Buffer) => void;
}

export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

export interface Listening {
  /** The bound port, 0 for a unix socket. */
  readonly port: number;
  /** Ends all connections at once. */
  close(): Promise<void>;
}

export async function listen(options: ListenerOptions, address: Address): Promise<Listening> {
  const server = createServer(options);
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  });
  if ("path" in address) removeStale(address.path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? (bound satisfies AddressInfo).port : 0,
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
    },
  };
}

function createServer(options: ListenerOptions): Http2SecureServer {
  const server = createSecureServer({
    key: options.key,
    cert: options.cert,
    ca: options.clientCa,
    requestCert: true,
    rejectUnauthorized: false,
    allowHTTP1: true,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    minVersion: "TLSv1.2",
    maxSessionMemory: MAX_SESSION_MB,
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES },
    http1Options: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
  } as Parameters<typeof createSecureServer>[0]); // http1Options' types lag behind Node
  server.on("request", (request, response) => options.onRequest(request, response as unknown as ApiResponse)); // same methods, see ApiResponse
  server.on("upgrade", (request, socket, head) => options.onUpgrade(request, socket as Socket, head)); // a server that listens has no other streams
  server.on("clientError", (_error: Error, socket: Socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  server.on("sessionError", (_error: Error, session: Http2Session | undefined) => session?.destroy());
  server.on("error", () => undefined);
  return server;
}

/** A socket file left by a killed server would keep us from binding. */
function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
