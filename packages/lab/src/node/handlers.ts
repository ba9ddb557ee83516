// Owns running one probe or hook once: a command, an HTTP request, a connection, or a gRPC health check, from the node.
import { connect as connectTcp } from "node:net";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectHttp2 } from "node:http2";
import type { ContainerSpec, Handler, HttpGet } from "./plan/pod-spec.ts";

export interface HandlerTarget {
  readonly podIP: string;
  readonly container: ContainerSpec;
  /** Runs a command in the container; output is bounded by the runner. */
  exec(command: readonly string[], timeoutMs: number): Promise<{ readonly exitCode: number; readonly output: string }>;
}
export interface HandlerResult { readonly ok: boolean; readonly output: string }

/** As upstream: more of an answer is not read. */
const BODY_MAX_BYTES = 10 * 1024;
const OUTPUT_MAX_CHARS = 1_024;

/** Never rejects: a failure is a result with its words. */
export async function runHandler(handler: Handler, target: HandlerTarget, timeoutMs: number): Promise<HandlerResult> {
  try {
    if (handler.exec !== undefined) {
      const { exitCode, output } = await target.exec(handler.exec.command ?? [], timeoutMs);
      return { ok: exitCode === 0, output: output.slice(0, OUTPUT_MAX_CHARS) };
    }
    if (handler.httpGet !== undefined) return await probeHttp(handler.httpGet, target, timeoutMs);
    if (handler.tcpSocket !== undefined) return await probeTcp(handler.tcpSocket.host ?? target.podIP, portNumber(handler.tcpSocket.port, target.container), timeoutMs);
    if (handler.grpc !== undefined) return await probeGrpc(target.podIP, handler.grpc.port, handler.grpc.service ?? "", timeoutMs);
    if (handler.sleep !== undefined) return { ok: true, output: "" };
    return { ok: false, output: "the handler names no action that the lab's nodes support" };
  } catch (error) {
    return { ok: false, output: error instanceof Error ? error.message : String(error) };
  }
}

/** A number, or the name of one of the container's ports. */
export function portNumber(port: number | string, container: ContainerSpec): number {
  const named = typeof port === "string" ? container.ports?.find((p) => p.name === port)?.containerPort : undefined;
  const n = named ?? Number(port);
  if (!Number.isInteger(n) || n < 1 || n > 65535) throw new Error(`"${port}" is neither a port nor the name of one of the container's ports`);
  return n;
}

function probeHttp(get: HttpGet, target: HandlerTarget, timeoutMs: number): Promise<HandlerResult> {
  const port = portNumber(get.port, target.container);
  const host = get.host !== undefined && get.host !== "" ? get.host : target.podIP;
  const https = get.scheme?.toUpperCase() === "HTTPS";
  const path = get.path === undefined || get.path === "" ? "/" : get.path.startsWith("/") ? get.path : `/${get.path}`;
  const headers: Record<string, string> = { "user-agent": "kube-probe/1.35", accept: "*/*", connection: "close" };
  for (const h of get.httpHeaders ?? []) headers[h.name.toLowerCase()] = h.value;
  return new Promise((resolve) => {
    const url = `${https ? "https" : "http"}://${host}:${port}${path}`;
    const send = https ? httpsRequest : httpRequest;
    let done = false;
    const finish = (result: HandlerResult) => { if (done) return; done = true; clearTimeout(timer); req.destroy(); resolve(result); };
    // Kubelets do not verify a probed server's certificate: it is the pod's own.
    const req = send({ host, port, path, method: "GET", headers, agent: false, ...(https ? { rejectUnauthorized: false } : {}) }, (res) => {
      let body = "";
      res.on("data", (b: Buffer) => { if (body.length < BODY_MAX_BYTES) body += b.toString("latin1"); else finish(verdict()); });
      res.on("end", () => finish(verdict()));
      res.on("error", () => finish(verdict()));
      const code = res.statusCode ?? 0;
      const verdict = (): HandlerResult => (code >= 200 && code < 400 ? { ok: true, output: body } : { ok: false, output: `HTTP probe failed with statuscode: ${code}` });
    });
    const timer = setTimeout(() => finish({ ok: false, output: `Get "${url}": context deadline exceeded (no answer within ${timeoutMs} ms)` }), timeoutMs);
    req.on("error", (error) => finish({ ok: false, output: `Get "${url}": ${error.message}` }));
    req.end();
  });
}

function probeTcp(host: string, port: number, timeoutMs: number): Promise<HandlerResult> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port });
    const finish = (result: HandlerResult) => { clearTimeout(timer); socket.destroy(); resolve(result); };
    const timer = setTimeout(() => finish({ ok: false, output: `dial tcp ${host}:${port}: i/o timeout` }), timeoutMs);
    socket.on("connect", () => finish({ ok: true, output: "" }));
    socket.on("error", (error) => finish({ ok: false, output: `dial tcp ${host}:${port}: ${error.message}` }));
  });
}

/** grpc.health.v1.Health/Check: request field 1 is the service, answer field 1 is the status, 1 = SERVING. */
function probeGrpc(host: string, port: number, service: string, timeoutMs: number): Promise<HandlerResult> {
  const name = Buffer.from(service, "utf8");
  if (name.length > 127) return Promise.resolve({ ok: false, output: "the gRPC service's name is longer than 127 bytes" });
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x0a, name.length), name]);
  const frame = Buffer.concat([Buffer.of(0, 0, 0, 0, message.length), message]);
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${host}:${port}`);
    const finish = (result: HandlerResult) => { clearTimeout(timer); session.destroy(); resolve(result); };
    const timer = setTimeout(() => finish({ ok: false, output: `timeout: failed to connect service "${host}:${port}" within ${timeoutMs} ms` }), timeoutMs);
    session.on("error", (error) => finish({ ok: false, output: `error: failed to connect: ${error.message}` }));
    const stream = session.request({ ":method": "POST", ":path": "/grpc.health.v1.Health/Check", "content-type": "application/grpc", te: "trailers" });
    const chunks: Buffer[] = [];
    let grpcStatus = "";
    const note = (h: Record<string, unknown>) => { if (h["grpc-status"] !== undefined) grpcStatus = String(h["grpc-status"]); };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (b: Buffer) => { if (chunks.length < 64) chunks.push(b); });
    stream.on("error", (error) => finish({ ok: false, output: `error: health rpc failed: ${error.message}` }));
    stream.on("end", () => {
      const body = Buffer.concat(chunks).subarray(5);
      const status = body[0] === 0x08 ? (body[1] ?? 0) : 0;
      if (grpcStatus !== "" && grpcStatus !== "0") finish({ ok: false, output: `error: health rpc failed: status ${grpcStatus}` });
      else finish(status === 1 ? { ok: true, output: "" } : { ok: false, output: `service unhealthy (responded with status ${status})` });
    });
    stream.end(frame);
  });
}
