// The lab's sample application: a small web service, a client that talks all the time, a collector of traces; what they see they say, one JSON line each.
import { createServer, request, type IncomingHttpHeaders } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { parseArgs } from "node:util";
import { spansIn } from "./otlp.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: "string", default: "sample" },
    port: { type: "string", default: "8080" },
    /** serve: ask this URL too and put its answer in ours. */
    call: { type: "string" },
    /** client: request this URL again and again, each time on a new connection. */
    url: { type: "string" },
    /** client: keep one connection open to host:port. */
    hold: { type: "string" },
    every: { type: "string", default: "100" },
    marker: { type: "string", default: "" },
    /** get: so many requests, one after the other, one JSON line each. */
    count: { type: "string", default: "1" },
    method: { type: "string", default: "GET" },
  },
});
const REQUEST_TIMEOUT_MS = 5_000;
const HOLD_REOPEN_MS = 200;
/** A client that was stopped for longer does not make up for all of it. */
const BEHIND_MAX_MS = 1_000;
/** Characters of an answer that are said. */
const ANSWER_SHOWN = 500;
const say = (record: Record<string, unknown>) => void process.stdout.write(`${JSON.stringify({ t: Date.now(), ...record })}\n`);
const codeOf = (e: unknown) => (e as { code?: string }).code ?? (e instanceof Error ? e.message : String(e));

interface Answer { readonly status: number; readonly body: string }
function get(url: string, more: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request(url, { method: values.method, agent: false, timeout: REQUEST_TIMEOUT_MS, headers: { ...(values.marker === "" ? {} : { "x-marker": values.marker }), ...more } }, (res) => {
      let body = "";
      res.setEncoding("utf8");
      res.on("data", (chunk: string) => { body += chunk; });
      res.on("end", () => resolve({ status: res.statusCode ?? 0, body }));
      res.on("error", reject);
    });
    req.on("timeout", () => req.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
    req.on("error", reject);
    req.end();
  });
}

/** What an application has to pass on, so that its own requests belong to the trace of the one it serves. */
const traceOf = (headers: IncomingHttpHeaders): Record<string, string> =>
  Object.fromEntries(["traceparent", "tracestate", "b3", "x-request-id"].flatMap((name) => (typeof headers[name] === "string" ? [[name, headers[name]]] : [])));

/** Answers who it is and whom it sees; on port+1000 it echoes, for connections that stay open. */
function serve(): void {
  const server = createServer((req, res) => {
    const own = { service: values.name, pod: process.env["HOSTNAME"] ?? "", client: req.socket.remoteAddress?.replace("::ffff:", ""), marker: req.headers["x-marker"] };
    const answer = (extra: Record<string, unknown>) => res.writeHead(200, { "content-type": "application/json" }).end(`${JSON.stringify({ ...own, ...extra })}\n`);
    if (values.call === undefined) return void answer({});
    get(values.call, traceOf(req.headers)).then((r) => answer({ called: JSON.parse(r.body) as unknown }), (e: unknown) => res.writeHead(502).end(`${values.call}: ${codeOf(e)}\n`));
  });
  server.listen(Number(values.port), () => say({ listening: Number(values.port), name: values.name }));
  const echo = createTcpServer({ noDelay: true }, (socket) => { socket.on("error", () => undefined); socket.pipe(socket); });
  echo.listen(Number(values.port) + 1000);
  process.on("SIGTERM", () => { server.close(); echo.close(); server.closeAllConnections(); process.exit(0); });
}

/** Requests at a rate of their own, however late a timer comes and however slowly they are answered; each is numbered, so that a reader of the log knows that it has them all. */
function client(): void {
  const { url, hold: held } = values;
  const every = Number(values.every);
  if (url !== undefined) {
    let due = performance.now();
    let n = 0;
    setInterval(() => {
      const now = performance.now();
      due = Math.max(due, now - BEHIND_MAX_MS);
      for (; due <= now; due += every) again(url, n++);
    }, every);
  }
  if (held !== undefined) hold(held);
  process.on("SIGTERM", () => process.exit(0));
}

/** One request on a connection of its own, and what became of it. */
function again(url: string, n: number): void {
  const start = performance.now();
  const ms = () => Math.round((performance.now() - start) * 10) / 10;
  get(url).then(
    (r) => {
      let client: unknown;
      try { client = (JSON.parse(r.body) as { client?: unknown }).client; } catch { /* not one of ours */ }
      say({ kind: "request", n, ok: r.status === 200, status: r.status, client, ms: ms() });
    },
    (e: unknown) => say({ kind: "request", n, ok: false, error: codeOf(e), ms: ms() }),
  );
}

/** One connection, used every tick; opened again when it ends, and every end is said. */
function hold(target: string): void {
  const at = target.lastIndexOf(":");
  const socket = connect({ host: target.slice(0, at), port: Number(target.slice(at + 1)), noDelay: true });
  let error: string | undefined;
  let echoed = 0;
  const tick = setInterval(() => socket.write("tick "), Number(values.every));
  socket.on("connect", () => say({ kind: "hold", event: "open", local: `${socket.localAddress}:${socket.localPort}` }));
  socket.on("data", (d) => { if (echoed === 0) say({ kind: "hold", event: "echo" }); echoed += d.length; });
  socket.on("error", (e) => { error = codeOf(e); });
  socket.on("close", () => {
    clearInterval(tick);
    say({ kind: "hold", event: "closed", echoed, error });
    setTimeout(() => hold(target), HOLD_REOPEN_MS);
  });
}

/** One request says what it was answered; several say it as JSON lines, and how long each took. */
async function ask(url: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    try {
      const r = await get(url);
      if (count === 1) process.stdout.write(r.body);
      else say({ kind: "answer", status: r.status, body: r.body.slice(0, ANSWER_SHOWN), ms: Math.round(performance.now() - start) });
      process.exitCode = r.status === 200 ? 0 : 22;
    } catch (e) {
      if (count === 1) process.stdout.write(`${codeOf(e)}\n`);
      else say({ kind: "answer", error: codeOf(e), ms: Math.round(performance.now() - start) });
      process.exitCode = 7;
    }
  }
}

/** Takes spans as OTLP/HTTP sends them and says each: its trace, its name, its attributes. */
function collect(): void {
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      try {
        for (const span of spansIn(Buffer.concat(chunks))) say({ kind: "span", ...span });
        res.writeHead(200, { "content-type": "application/x-protobuf" }).end();
      } catch (e) {
        res.writeHead(400).end(`${codeOf(e)}\n`);
      }
    });
  });
  server.listen(Number(values.port), () => say({ listening: Number(values.port), name: values.name }));
  process.on("SIGTERM", () => { server.close(); server.closeAllConnections(); process.exit(0); });
}

const mode = positionals[0] ?? "serve";
if (mode === "serve") serve();
else if (mode === "client") client();
else if (mode === "collect") collect();
else if (mode === "get") await ask(positionals[1] ?? values.url ?? "", Number(values.count));
else {
  process.stderr.write(`sample: unknown mode "${mode}": use serve, client, collect or get\n`);
  process.exitCode = 2;
}
