// The client: so many requests at once, or so many a second, over HTTP/1.1, gRPC or HTTP/1.1 in tunnels; counts in windows as it is told.
import { connect } from "node:net";
import { TunnelClient } from "@ambit/hbone";
import { identityOfLeaf } from "@ambit/proxy/identity";
import { systemClock } from "@ambit/runtime";
import { connectTls, createTlsCredentials, fromSocket, type ByteStream } from "@ambit/transport";
import { H2 } from "./h2.ts";
import { AT, FIELDS, GRPC_PATH, grpcMessage, HOST, REQUEST, type LoadResult, type LoadSetup } from "./messages.ts";

const CALL_OCTETS = 100;
let done = 0;
let failed = 0;
let times: number[] = [];

/** So late is nobody who runs: this program was halted, and need not make up for it. */
const HALTED_MS = 400;

/** Sends again at the end of each request, or by the clock. */
class Turns {
  readonly #send: () => void;
  readonly #everyMs: number;
  readonly #quiet: boolean;
  #due: number;

  constructor(setup: LoadSetup, send: () => void) {
    this.#send = send;
    this.#quiet = setup.rate < 0;
    this.#everyMs = setup.rate <= 0 ? 0 : (1000 * setup.connections * setup.streams) / setup.rate;
    this.#due = performance.now() + Math.random() * this.#everyMs;
  }

  next(first = false): void {
    if (this.#everyMs === 0) {
      if (first || !this.#quiet) this.#send();
      return;
    }
    const now = performance.now();
    if (now - this.#due > HALTED_MS) this.#due = now + Math.random() * this.#everyMs;
    const wait = this.#due - now;
    this.#due += this.#everyMs;
    if (wait <= 0) this.#send();
    else setTimeout(this.#send, wait);
  }
}

function over(began: number, ok: boolean): void {
  done++;
  if (!ok) failed++;
  times.push((performance.now() - began) * 1000);
}

function askH1(stream: ByteStream, setup: LoadSetup): void {
  let began = 0;
  let head: Buffer = Buffer.alloc(0);
  let missing = -1;
  let ok = true;
  const turns = new Turns(setup, () => { began = performance.now(); stream.write(REQUEST); });
  stream.attach({
    onData(bytes) {
      if (missing < 0) {
        head = head.length === 0 ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.concat([head, bytes]);
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return;
        const text = head.toString("latin1", 0, end);
        ok = text.startsWith("HTTP/1.1 200");
        missing = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? "NaN") - (head.length - end - 4);
        head = Buffer.alloc(0);
        if (Number.isNaN(missing)) throw new Error(`an answer without length: ${text}`);
      } else missing -= bytes.length;
      if (missing > 0) return;
      missing = -1;
      over(began, ok);
      turns.next();
    },
    onEnd: () => undefined, onDrain: () => undefined, onClose: () => void failed++,
  });
  turns.next(true);
}

interface Call { began: number; turns: Turns; ok: boolean }
const CALL = grpcMessage(CALL_OCTETS);
const CALL_FIELDS = [":method", "POST", ":scheme", "http", ":path", GRPC_PATH, ":authority", HOST, "content-type", "application/grpc", "te", "trailers", ...FIELDS];

function askGrpc(stream: ByteStream, setup: LoadSetup): void {
  const shell: H2<Call> = new H2<Call>("client", stream, {
    onData: (s, bytes) => shell.took(s, bytes.length),
    onTrailers: (s, fields) => { if (s.context !== undefined) s.context.ok = fields[0] === "grpc-status" && fields[1] === "0"; },
    onEnd: (s) => {
      if (s.context === undefined) return;
      over(s.context.began, s.context.ok);
      s.context.turns.next();
    },
  }, () => void failed++);
  for (let i = 0; i < setup.streams; i++) {
    const call: Call = { began: 0, ok: false, turns: new Turns(setup, () => {
      call.began = performance.now();
      call.ok = false;
      const s = shell.h2.request(CALL_FIELDS, false, call);
      if (s === undefined || shell.h2.data(s, CALL, true) < CALL.length) throw new Error("no room for a call");
      shell.touch();
    }) };
    call.turns.next(true);
  }
}

const dial = (setup: LoadSetup): Promise<ByteStream> => new Promise((resolve, reject) => {
  const socket = connect({ host: setup.host, port: setup.port, allowHalfOpen: true, noDelay: true }, () => resolve(fromSocket(socket)));
  socket.once("error", reject);
});

async function open(setup: LoadSetup): Promise<void> {
  if (setup.kind === "h1") return askH1(await dial(setup), setup);
  if (setup.kind === "grpc") return askGrpc(await dial(setup), setup);
  const socket = connect({ host: setup.host, port: setup.port, allowHalfOpen: true, noDelay: true });
  const { stream } = await connectTls(socket, { credentials: createTlsCredentials(setup.client), verify: identityOfLeaf });
  const tunnel = new TunnelClient(stream, { clock: systemClock, maxStreams: 1_000 });
  for (let i = 0; i < setup.streams; i++) askH1((await tunnel.open({ authority: `${AT.vip}:${AT.port}`, headers: {} })).stream, setup);
}

process.on("message", (message: LoadSetup | "begin" | "end") => {
  if (message === "begin") {
    [done, failed, times] = [0, 0, []];
  } else if (message === "end") {
    times.sort((a, b) => a - b);
    const result: LoadResult = { requests: done, failed, p50: times[times.length >> 1] ?? 0, p99: times[Math.floor(times.length * 0.99)] ?? 0 };
    process.send?.(result);
  } else void start(message);
});
process.once("disconnect", () => process.exit());

async function start(setup: LoadSetup): Promise<void> {
  for (let i = 0; i < setup.connections; i++) await open(setup);
  process.send?.("open");
}
