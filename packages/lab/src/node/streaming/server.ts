// Owns the kubelet's streaming endpoints: an upgrade request becomes exec or port-forward over SPDY or WebSocket.
import type { IncomingMessage, Server } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { errorText, systemClock, type Clock, type Logger } from "@ambit/runtime";
import { WebSocketServer, type WebSocket } from "ws";
import type { Runtime } from "../runtime.ts";
import { negotiate, readTarget, type StreamTarget } from "./request.ts";
import { EXEC_PROTOCOLS, FORWARD_PROTOCOL, IDLE_TIMEOUT_MS, serveExecOverSpdy, serveForwardOverSpdy } from "./spdy-server.ts";
import { serveExecOverWebSocket, serveForwardOverWebSocket, tunnel, WS_EXEC_PROTOCOLS, WS_FORWARD_PROTOCOL, WS_TUNNEL_PROTOCOL } from "./websocket-server.ts";

export interface StreamingOptions {
  readonly runtime: Runtime;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Whether the peer may stream at all; others get 401. */
  authorize(request: IncomingMessage): boolean;
}

const SPDY = "SPDY/3.1";
/** A message of ours is 32 KiB; a tunnelled SPDY frame a little more. */
const MESSAGE_MAX_BYTES = 2 * 1024 * 1024;

interface ListensForUpgrades {
  on(event: "upgrade", listener: (request: IncomingMessage, socket: Duplex, head: Buffer) => void): unknown;
}

/** Takes over every upgrade request of the server. Connections end when the server's sockets do: see `close`. */
export function serveStreaming(server: Server | ListensForUpgrades, options: StreamingOptions): { close(): void } {
  const { log, clock = systemClock } = options;
  const open = new Set<Duplex>();
  const websockets = new WebSocketServer({
    noServer: true, maxPayload: MESSAGE_MAX_BYTES, perMessageDeflate: false,
  });
  websockets.on("headers", (headers, request) => { headers.push(`Sec-WebSocket-Protocol: ${chosen.get(request) ?? ""}`); });
  (server as ListensForUpgrades).on("upgrade", (request, socket, head) => {
    open.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
    try {
      if (!options.authorize(request)) return refuse(socket, 401, "Unauthorized");
      (socket as Partial<{ setTimeout(ms: number, f: () => void): void }>).setTimeout?.(IDLE_TIMEOUT_MS, () => socket.destroy());
      const target = readTarget(request.url ?? "/");
      if ("problem" in target) return refuse(socket, target.status, target.problem);
      const protocol = (request.headers.upgrade ?? "").toLowerCase();
      const parts = { runtime: options.runtime, clock, log };
      if (protocol === "websocket") return upgradeWebSocket(parts, websockets, request, socket, head, target);
      if (protocol === SPDY.toLowerCase()) return upgradeSpdy(parts, request, socket, head, target);
      refuse(socket, 400, `unable to upgrade: unexpected protocol "${request.headers.upgrade ?? ""}"; use websocket or ${SPDY}`);
    } catch (error) {
      log.warn("a streaming request failed", { url: request.url, error: errorText(error) });
      refuse(socket, 500, errorText(error));
    }
  });
  return { close: () => { for (const socket of open) socket.destroy(); websockets.close(); } };
}

interface Parts { readonly runtime: Runtime; readonly clock: Clock; readonly log: Logger }

/** Subprotocol agreed for a request whose handshake is under way: the library would refuse the slash in the tunnel's name. */
const chosen = new WeakMap<IncomingMessage, string>();

function upgradeSpdy(parts: Parts, request: IncomingMessage, socket: Duplex, head: Buffer, target: StreamTarget): void {
  const offered = request.headers["x-stream-protocol-version"];
  const spoken = target.kind === "portforward" ? [FORWARD_PROTOCOL] : [...EXEC_PROTOCOLS];
  // Upstream: no offer means the first protocol there ever was.
  const protocol = negotiate(offered, spoken, target.kind === "portforward" ? FORWARD_PROTOCOL : "channel.k8s.io");
  if (protocol === undefined) {
    return refuse(socket, 403, `unable to upgrade: unable to negotiate protocol: client supports ${String(offered)}, server supports ${spoken.join(", ")}`,
      spoken.map((p) => `X-Accepted-Stream-Protocol-Versions: ${p}`));
  }
  const lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", `Upgrade: ${SPDY}`, ...(offered === undefined ? [] : [`X-Stream-Protocol-Version: ${protocol}`])];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (head.length > 0) socket.unshift(head);
  if (target.kind === "portforward") serveForwardOverSpdy(parts, socket, target);
  else serveExecOverSpdy(parts, socket, target, EXEC_PROTOCOLS.find((p) => p === protocol) ?? "channel.k8s.io");
}

function upgradeWebSocket(parts: Parts, server: WebSocketServer, request: IncomingMessage, socket: Duplex, head: Buffer, target: StreamTarget): void {
  const spoken = target.kind === "portforward" ? [WS_TUNNEL_PROTOCOL, WS_FORWARD_PROTOCOL] : [...WS_EXEC_PROTOCOLS];
  const offered = request.headers["sec-websocket-protocol"];
  const protocol = negotiate(offered, spoken, undefined);
  if (protocol === undefined) return refuse(socket, 400, `unable to upgrade: client offers subprotocols "${offered ?? ""}", server speaks ${spoken.join(", ")}`);
  if (protocol === WS_FORWARD_PROTOCOL && target.kind === "portforward" && target.ports.length === 0) return refuse(socket, 400, "query parameter \"port\" is required");
  chosen.set(request, protocol);
  delete request.headers["sec-websocket-protocol"];
  server.handleUpgrade(request, socket, head, (ws: WebSocket) => {
    if (target.kind !== "portforward") serveExecOverWebSocket(parts.runtime, parts.clock, ws, target, protocol);
    else if (protocol === WS_TUNNEL_PROTOCOL) serveForwardOverSpdy(parts, tunnel(ws, parts.clock), target);
    else serveForwardOverWebSocket(parts.runtime, parts.clock, ws, target);
  });
}

function refuse(socket: Duplex, status: number, text: string, headers: readonly string[] = []): void {
  const body = `${text}\n`;
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}`, ...headers, "Content-Type: text/plain; charset=utf-8", `Content-Length: ${Buffer.byteLength(body)}`, "Connection: close"];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
