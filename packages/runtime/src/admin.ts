// Owns the small HTTP servers every binary has: admin (localhost only), metrics and readiness.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { LogLevels } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Readiness } from "./readiness.ts";

export interface Reply { readonly status?: number; readonly type?: string; readonly body: string }
export interface Caller {
  /** The `authorization` header as it came; undefined when absent. */
  readonly authorization: string | undefined;
}
/** Query parameters as URLSearchParams, the body as text (at most BODY_MAX_BYTES). */
export type Handler = (query: URLSearchParams, body: string, caller: Caller) => Reply | Promise<Reply>;
/** Key: `GET /path` or `POST /path`. A known path with another method is 405. */
export type Routes = Readonly<Record<string, Handler>>;

export interface BoundServer { readonly host: string; readonly port: number; close(): Promise<void> }

const BODY_MAX_BYTES = 64 * 1024;
/** A peer that dribbles its head must not hold a socket for ever. */
const HEADERS_TIMEOUT_MS = 10_000;

export const json = (value: unknown, status = 200): Reply => ({ status, type: "application/json", body: `${JSON.stringify(value, null, 2)}\n` });
export const text = (body: string, status = 200): Reply => ({ status, type: "text/plain; charset=utf-8", body });

/** A certificate that may be replaced while the server runs; connections that are open keep theirs. */
export interface ServerCertificate {
  current(): { readonly keyPem: string; readonly certPem: string };
  /** Returns the unsubscribe function. */
  onRotate(listener: (next: { readonly keyPem: string; readonly certPem: string }) => void): () => void;
}

export interface ServeOptions {
  /** HTTPS. Default: plain HTTP. */
  readonly tls?: ServerCertificate;
  /** Default: BODY_MAX_BYTES. */
  readonly bodyMaxBytes?: number;
}

export async function serveHttp(host: string, port: number, routes: Routes, options: ServeOptions = {}): Promise<BoundServer> {
  const bodyMax = options.bodyMaxBytes ?? BODY_MAX_BYTES;
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    answer(req, res, routes, bodyMax).catch((error: unknown) => {
      if (!res.headersSent) res.writeHead(500, { "content-type": "text/plain" });
      res.end(`internal error: ${error instanceof Error ? error.message : String(error)}\n`);
    });
  };
  const { tls } = options;
  const server: Server | TlsServer = tls === undefined ? createServer({ headersTimeout: HEADERS_TIMEOUT_MS }, onRequest)
    : createTlsServer({ headersTimeout: HEADERS_TIMEOUT_MS, key: tls.current().keyPem, cert: tls.current().certPem }, onRequest);
  const stopRotating = tls?.onRotate((next) => { if ("setSecureContext" in server) server.setSecureContext({ key: next.keyPem, cert: next.certPem }); });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => { server.off("error", reject); resolve(); });
  });
  const address = server.address() as AddressInfo;
  return {
    host: address.address, port: address.port,
    close: () => new Promise((resolve) => { stopRotating?.(); server.close(() => resolve()); server.closeAllConnections(); }),
  };
}

async function answer(req: IncomingMessage, res: ServerResponse, routes: Routes, bodyMax: number): Promise<void> {
  // Tools write `//version`, which would be a host by the rules of URLs.
  const url = new URL((req.url ?? "/").replace(/^\/+/, "/"), "http://localhost");
  const method = req.method === "HEAD" ? "GET" : (req.method ?? "GET");
  const handler = routes[`${method} ${url.pathname}`];
  if (handler === undefined) {
    const known = Object.keys(routes).some((r) => r.endsWith(` ${url.pathname}`));
    res.writeHead(known ? 405 : 404, { "content-type": "text/plain" });
    res.end(known ? `${method} is not allowed on ${url.pathname}\n` : `no such path: ${url.pathname}\n`);
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > bodyMax) { res.writeHead(413).end("body too large\n"); return; }
  }
  const reply = await handler(url.searchParams, Buffer.concat(chunks).toString("utf8"), { authorization: req.headers.authorization });
  res.writeHead(reply.status ?? 200, { "content-type": reply.type ?? "text/plain; charset=utf-8" });
  res.end(reply.body);
}

/** `/healthz`, `/ready`, `/metrics`, `/logging`: the part of the admin surface that is the same everywhere. */
export function commonRoutes(ports: { readiness: Readiness; metrics: Metrics; levels: LogLevels }): Routes {
  const ready: Handler = () =>
    ports.readiness.ready ? text("ready\n") : text(`not ready, pending: ${ports.readiness.pending.join(", ")}\n`, 500);
  const metrics: Handler = () => ({ type: "text/plain; version=0.0.4; charset=utf-8", body: ports.metrics.expose() });
  return {
    "GET /healthz": () => text("ok\n"),
    "GET /ready": ready,
    "GET /healthz/ready": ready,
    "GET /metrics": metrics,
    "GET /stats/prometheus": metrics,
    "POST /logging": (query) => setLevels(ports.levels, query),
  };
}

/** `?level=FILTER` or `?reset`; answers with what holds now. */
export function setLevels(levels: LogLevels, query: URLSearchParams): Reply {
  if (query.has("reset")) levels.reset();
  const filter = query.get("level");
  const problem = filter === null ? undefined : levels.set(filter);
  return problem === undefined ? text(`${levels.toString()}\n`) : text(`${problem}\n`, 400);
}
