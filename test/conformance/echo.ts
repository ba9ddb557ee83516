// The application of the conformance cases, both ends of it: `serve NAME` answers with what it was asked, on HTTP/1.1 and h2c (8080, 8090), gRPC (7070)
// TCP (9090) and, with a certificate in TLS_CERT and its key in TLS_KEY, either HTTP in TLS (8443); `ask URL [--method M] [-H name:value] [--count N] [--h2]` prints one JSON line per answer.
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { hostname } from "node:os";
import { parseArgs } from "node:util";

const GRPC_METHOD = "/proto.EchoTestService/Echo";
/** Answers a message every half second, so many seconds as the header x-seconds says. */
const GRPC_STREAM = "/proto.EchoTestService/Stream";
const MESSAGE_EVERY_MS = 500;
const ASK_TIMEOUT_MS = 10_000;
/** Requests under way at once. */
const AT_ONCE = 16;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { method: { type: "string", default: "GET" }, header: { type: "string", short: "H", multiple: true, default: [] }, count: { type: "string", default: "1" }, seconds: { type: "string", default: "10" }, length: { type: "string", default: "5" }, h2: { type: "boolean", default: false }, body: { type: "string" } },
});
const [mode = "", subject = ""] = positionals;

interface Seen { readonly server: string; readonly pod: string; readonly protocol: string; readonly method: string; readonly path: string; readonly host: string; readonly headers: Record<string, string>; readonly client: string; readonly sni: string | undefined }

/** Answers: what came. `?status=N`, `?delay=MS`, `?fail-first=N` (of a key) and `?size=N` change it. */
function serve(name: string): void {
  const failures = new Map<string, number>();
  const pod = hostname();
  /** What clients of TLS asked for, by their port. */
  const names = new Map<number, string>();
  const seen = (protocol: string, method: string, path: string, host: string, headers: http.IncomingHttpHeaders, socket: net.Socket | undefined): Seen => ({
    server: name, pod, protocol, method, path, host, client: socket?.remoteAddress?.replace("::ffff:", "") ?? "", sni: socket === undefined ? undefined : names.get(socket.remotePort ?? 0),
    headers: Object.fromEntries(Object.entries(headers).filter(([k]) => !k.startsWith(":")).map(([k, v]) => [k, Array.isArray(v) ? v.join(",") : (v ?? "")])),
  });
  const statusFor = (query: URLSearchParams): number => {
    const [key, times] = (query.get("fail-first") ?? "").split(":");
    if (key === undefined || key === "" || times === undefined) return Number(query.get("status") ?? 200);
    const failed = failures.get(key) ?? 0;
    if (failed >= Number(times)) return 200;
    failures.set(key, failed + 1);
    return Number(query.get("status") ?? 503);
  };
  const respond = (what: Seen, end: (status: number, body: string) => void): void => {
    // For cases that look at who was asked, not at what was answered.
    if (what.headers["x-log"] !== undefined) process.stdout.write(`${JSON.stringify({ asked: what.headers["x-log"], host: what.host })}\n`);
    const query = new URL(what.path, "http://x").searchParams;
    const status = statusFor(query);
    setTimeout(() => end(status, `${JSON.stringify(what)}${"x".repeat(Number(query.get("size") ?? 0))}\n`), Number(query.get("delay") ?? 0));
  };
  const h1 = http.createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (c: Buffer) => chunks.push(c));
    req.on("end", () => respond(seen("HTTP/1.1", req.method ?? "", req.url ?? "", req.headers.host ?? "", req.headers, req.socket), (status, body) => {
      res.writeHead(status, { "content-type": "application/json", "x-echo-server": name, "x-request-octets": String(Buffer.concat(chunks).length) }).end(body);
    }));
  });
  const h2 = http2.createServer();
  h2.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    const path = String(headers[":path"]);
    const what = seen("HTTP/2", String(headers[":method"]), path, String(headers[":authority"] ?? headers.host ?? ""), headers, stream.session?.socket);
    const chunks: Buffer[] = [];
    stream.on("data", (c: Buffer) => chunks.push(c));
    stream.on("end", () => {
      if (String(headers["content-type"] ?? "").startsWith("application/grpc")) return grpcAnswer(stream, what, Buffer.concat(chunks));
      respond(what, (status, body) => { stream.respond({ ":status": status, "content-type": "application/json", "x-echo-server": name }); stream.end(body); });
    });
  });
  const either = (socket: net.Socket): void => {
    socket.on("error", () => undefined);
    socket.once("readable", () => {
      const first: Buffer | null = socket.read();
      if (first === null) return void socket.destroy();
      socket.unshift(first);
      (first.subarray(0, 3).toString() === "PRI" ? h2 : h1).emit("connection", socket);
    });
  };
  for (const port of [8080, 8090]) net.createServer(either).listen({ port, host: "::" });
  const grpc = net.createServer((socket) => { socket.on("error", () => undefined); h2.emit("connection", socket); });
  grpc.listen({ port: 7070, host: "::" });
  // Speaks first, as mail servers and databases do.
  const tcp = net.createServer({ noDelay: true }, (socket) => { socket.on("error", () => undefined); socket.write(`hello from ${name}\n`); socket.pipe(socket); });
  tcp.listen({ port: 9090, host: "::" });
  const { TLS_CERT: cert, TLS_KEY: key } = process.env;
  if (cert !== undefined && key !== undefined)
    tls.createServer({ cert, key, ALPNProtocols: ["h2", "http/1.1"] }, (socket) => {
      socket.on("error", () => undefined);
      names.set(socket.remotePort ?? 0, String((socket as tls.TLSSocket & { servername?: string | false }).servername));
      (socket.alpnProtocol === "h2" ? h2 : h1).emit("connection", socket);
    }).on("tlsClientError", () => undefined).listen({ port: 8443, host: "::" });
  process.on("SIGTERM", () => process.exit(0));
  process.stdout.write(`${JSON.stringify({ serving: name })}\n`);
}

/** A message whose one field (1, string) is what was seen. */
function grpcAnswer(stream: http2.ServerHttp2Stream, what: Seen, request: Buffer): void {
  if (what.path === GRPC_STREAM) return grpcStream(stream, Number(what.headers["x-seconds"] ?? 1));
  const text = Buffer.from(JSON.stringify({ ...what, octets: request.length }));
  const field = Buffer.concat([Buffer.from([0x0a]), varint(text.length), text]);
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), field]);
  frame.writeUInt32BE(field.length, 1);
  const known = what.path === GRPC_METHOD;
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": known ? "0" : "12" }));
  if (known) stream.write(frame);
  stream.end();
}

function grpcStream(stream: http2.ServerHttp2Stream, seconds: number): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  let left = Math.round((seconds * 1000) / MESSAGE_EVERY_MS);
  const tick = setInterval(() => {
    stream.write(Buffer.from([0, 0, 0, 0, 2, 0x0a, 0]));
    if (--left > 0) return;
    clearInterval(tick);
    stream.end();
  }, MESSAGE_EVERY_MS);
  stream.on("close", () => clearInterval(tick));
}

/**
 * So many connections, each with one stream after the other; a connection that is asked to go is replaced between two streams. A stream that crosses
 * with that request comes back refused, unseen by any server: it goes again on the next connection, as gRPC clients do it (RFC 9113 §8.7).
 */
async function streams(text: string): Promise<void> {
  const url = new URL(text);
  const begin = Date.now();
  const end = begin + Number(values.seconds) * 1000;
  const length = Number(values.length);
  const wanted = Math.round((length * 1000) / MESSAGE_EVERY_MS);
  let done = 0;
  let refused = 0;
  const errors: string[] = [];
  const worker = async (): Promise<void> => {
    let session: http2.ClientHttp2Session | undefined;
    while (Date.now() < end) {
      if (session === undefined || session.closed || session.destroyed) {
        const fresh = http2.connect(`http://${url.hostname}:${url.port || 80}`);
        fresh.on("error", () => undefined);
        fresh.on("goaway", () => fresh.close());
        session = fresh;
      }
      const why = await oneStream(session, url.host, length, wanted).catch((e: unknown) => String(e));
      if (why?.includes("NGHTTP2_REFUSED_STREAM, answered false, after 0 messages") === true) { refused++; session.destroy(); continue; }
      if (why !== undefined) { errors.push(`${Math.round((Date.now() - begin) / 1000)} s: ${why}`); session.destroy(); }
      done++;
    }
    session?.close();
  };
  await Promise.all(Array.from({ length: Number(values.count) }, worker));
  process.stdout.write(`${JSON.stringify({ streams: done, refused, failed: errors.length, errors: errors.slice(0, 5) })}\n`);
}

/** Resolves with what was wrong, if anything. */
const oneStream = (session: http2.ClientHttp2Session, authority: string, seconds: number, wanted: number): Promise<string | undefined> => new Promise((resolve, reject) => {
  const stream = session.request({ ":method": "POST", ":path": GRPC_STREAM, ":authority": authority, "content-type": "application/grpc", te: "trailers", "x-seconds": String(seconds) }, { endStream: false });
  let octets = 0;
  let status: string | undefined;
  stream.on("response", (h) => { status = h["grpc-status"]?.toString(); });
  stream.on("trailers", (h) => { status = h["grpc-status"]?.toString(); });
  stream.on("data", (c: Buffer) => { octets += c.length; });
  stream.on("error", (e) => reject(new Error(`${e.message}, answered ${stream.sentHeaders !== undefined && status !== undefined}, after ${octets / 7} messages`)));
  stream.on("close", () => resolve(status === "0" && octets === wanted * 7 ? undefined : `status ${status ?? "none"}, ${octets / 7} of ${wanted} messages`));
  stream.end(Buffer.from([0, 0, 0, 0, 0]));
});

function varint(n: number): Buffer {
  const out: number[] = [];
  for (let rest = n; ; rest >>>= 7) {
    if (rest < 0x80) { out.push(rest); return Buffer.from(out); }
    out.push((rest & 0x7f) | 0x80);
  }
}

async function ask(text: string): Promise<void> {
  const url = new URL(text);
  const headers = Object.fromEntries(values.header.map((h) => [h.slice(0, h.indexOf(":")).trim(), h.slice(h.indexOf(":") + 1).trim()]));
  const count = Number(values.count);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next++ < count) {
      const answer = await (url.protocol === "grpc:" ? askGrpc(url, headers) : values.h2 ? askH2(url, headers) : askH1(url, headers)).catch((e: unknown) => ({ error: (e as { code?: string }).code ?? String(e) }));
      process.stdout.write(`${JSON.stringify(answer)}\n`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
}

interface Answer { readonly status: number; readonly headers: Record<string, string>; readonly body: string; readonly seen?: Seen }
const answerOf = (status: number, headers: http.IncomingHttpHeaders, body: string): Answer => {
  let parsed: Seen | undefined;
  try { parsed = JSON.parse(body.replace(/x*\n$/, "")) as Seen; } catch { /* not our server's */ }
  return { status, headers: Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)])), body: parsed === undefined ? body.slice(0, 500) : "", ...(parsed === undefined ? {} : { seen: parsed }) };
};

const askH1 = (url: URL, headers: Record<string, string>): Promise<Answer> => new Promise((resolve, reject) => {
  const req = http.request({ host: url.hostname, port: url.port || 80, path: `${url.pathname}${url.search}`, method: values.method, headers, agent: false, timeout: ASK_TIMEOUT_MS }, (res) => {
    let body = "";
    res.setEncoding("utf8");
    res.on("data", (c: string) => (body += c));
    res.on("end", () => resolve(answerOf(res.statusCode ?? 0, res.headers, body)));
    res.on("error", reject);
  });
  req.on("timeout", () => req.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
  req.on("error", reject);
  req.end(values.body);
});

function askStream(url: URL, request: http2.OutgoingHttpHeaders, body: Buffer | undefined): Promise<{ status: number; headers: http2.IncomingHttpHeaders; trailers: http2.IncomingHttpHeaders; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`http://${url.hostname}:${url.port || 80}`);
    const fail = (e: Error): void => { session.destroy(); reject(e); };
    session.on("error", fail);
    session.setTimeout(ASK_TIMEOUT_MS, () => fail(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
    const stream = session.request(request, { endStream: body === undefined });
    let head: http2.IncomingHttpHeaders = {};
    let trailers: http2.IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on("response", (h) => { head = h; });
    stream.on("trailers", (t) => { trailers = t; });
    stream.on("data", (c: Buffer) => chunks.push(c));
    stream.on("error", fail);
    stream.on("end", () => { session.close(); resolve({ status: Number(head[":status"] ?? 0), headers: head, trailers, body: Buffer.concat(chunks) }); });
    if (body !== undefined) stream.end(body);
  });
}

async function askH2(url: URL, headers: Record<string, string>): Promise<Answer> {
  const got = await askStream(url, { ":method": values.method, ":path": `${url.pathname}${url.search}`, ":authority": headers["host"] ?? headers["Host"] ?? url.host, ...headers }, undefined);
  return answerOf(got.status, got.headers as http.IncomingHttpHeaders, got.body.toString());
}

/** As the suite's own client: OK counts as 200. */
async function askGrpc(url: URL, headers: Record<string, string>): Promise<Answer & { readonly grpcStatus: number }> {
  const got = await askStream(url, { ":method": "POST", ":path": url.pathname === "/" || url.pathname === "" ? GRPC_METHOD : url.pathname, ":authority": url.host, "content-type": "application/grpc", te: "trailers", ...headers }, Buffer.from([0, 0, 0, 0, 0]));
  const grpcStatus = Number(got.trailers["grpc-status"] ?? got.headers["grpc-status"] ?? 2);
  const text = got.body.length > 5 ? stringField(got.body.subarray(5)) : "";
  const answer = answerOf(got.status, { ...got.headers, ...got.trailers } as http.IncomingHttpHeaders, text);
  return { ...answer, status: grpcStatus === 0 ? 200 : answer.status, grpcStatus };
}

function stringField(message: Buffer): string {
  let length = 0;
  let at = 1;
  for (let shift = 0; ; shift += 7) {
    const octet = message[at++] ?? 0;
    length |= (octet & 0x7f) << shift;
    if (octet < 0x80) break;
  }
  return message.subarray(at, at + length).toString();
}

if (mode === "serve") serve(subject);
else if (mode === "stream") await streams(subject);
else await ask(subject);
