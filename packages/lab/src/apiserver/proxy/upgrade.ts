// Owns exec, attach and port-forward: the client's upgrade is authorized, then spliced byte for byte to the kubelet.
import { STATUS_CODES, ServerResponse, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Api } from "../context.ts";
import { ANONYMOUS } from "../auth/user.ts";
import { admitUser, asApiError, findRow } from "../http/dispatch.ts";
import { Exchange } from "../http/exchange.ts";
import { readTarget, splitUrl, type ResourceRequest } from "../http/route.ts";
import type { JsonObject } from "../json.ts";
import { badRequest, methodNotAllowed, type ApiError } from "../status.ts";
import { requireEntry } from "../verbs/read.ts";
import { join } from "./join.ts";
import { chooseContainer, kubeletOf } from "./kubelet.ts";

/** Headers that describe this hop or our caller and must not reach the kubelet. */
const DROPPED = /^(?:authorization|host|impersonate-.*|x-remote-.*|content-length|transfer-encoding)$/i;
const UPGRADED = ["exec", "attach", "portforward"];

export async function handleUpgrade(api: Api, request: IncomingMessage, client: Socket, head: Buffer): Promise<void> {
  client.on("error", () => client.destroy());
  let exchange = new Exchange(request, new ServerResponse(request), { kind: "path", verb: "get", path: "" }, new URLSearchParams(), ANONYMOUS);
  try {
    const { path, query } = splitUrl(request.url ?? "/");
    // A WebSocket's handshake is a GET; what it does is still the create of exec and its like.
    const target = readTarget(request.method ?? "GET", path, query);
    exchange = new Exchange(request, exchange.response, target, query, ANONYMOUS);
    admitUser(api, exchange);
    if (target.kind !== "resource" || !UPGRADED.includes(target.subresource)) throw badRequest(`${path} cannot be upgraded`);
    await splice(api, exchange, target, client, head);
  } catch (error) {
    refuse(client, asApiError(api, exchange, error));
  }
}

async function splice(api: Api, exchange: Exchange, target: ResourceRequest, client: Socket, head: Buffer): Promise<void> {
  const row = findRow(api, target);
  if (row.bucket !== "/pods" || target.name === "") throw badRequest(`${target.path} cannot be upgraded`);
  if (target.verb !== "create" && target.verb !== "get") throw methodNotAllowed();
  const pod = requireEntry(api, row, target.namespace, target.name).object;
  const path = kubeletPath(exchange, target, pod);
  const address = kubeletOf(api, pod);
  const kubelet = await api.kubelet.dial(address);
  if (client.destroyed) {
    kubelet.destroy();
    return;
  }
  const request = exchange.request as IncomingMessage;
  const lines = [`${request.method ?? "GET"} ${path} HTTP/1.1`, `Host: ${address.host}:${address.port}`];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string;
    if (!DROPPED.test(name)) lines.push(`${name}: ${request.rawHeaders[i + 1] as string}`);
  }
  kubelet.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (head.length > 0) kubelet.write(head);
  join(client, kubelet);
  const end = () => {
    client.destroy();
    kubelet.destroy();
  };
  api.closing.addEventListener("abort", end);
  client.on("close", () => api.closing.removeEventListener("abort", end));
}

function kubeletPath(exchange: Exchange, target: ResourceRequest, pod: JsonObject): string {
  const names = [target.namespace, target.name].map(encodeURIComponent).join("/");
  const given = exchange.query;
  if (target.subresource === "portforward") {
    // As upstream has it: one parameter with all ports, which only WebSocket clients send.
    const ports = given.getAll("ports").join(",");
    return `/portForward/${names}${ports === "" ? "" : `?port=${encodeURIComponent(ports)}`}`;
  }
  const container = chooseContainer(pod, given.get("container") ?? "");
  const query = new URLSearchParams();
  for (const [from, to] of [["stdin", "input"], ["stdout", "output"], ["stderr", "error"], ["tty", "tty"]] as const) {
    const value = given.get(from);
    if (value === "true" || value === "1") query.set(to, "1");
  }
  for (const part of given.getAll("command")) query.append("command", part);
  return `/${target.subresource}/${names}/${encodeURIComponent(container)}?${query.toString()}`;
}

/** A plain HTTP answer on the socket of a refused upgrade. */
function refuse(client: Socket, error: ApiError): void {
  if (client.destroyed) return;
  const body = JSON.stringify(error.toStatus());
  const head = [
    `HTTP/1.1 ${error.code} ${STATUS_CODES[error.code] ?? "Error"}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ];
  client.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
