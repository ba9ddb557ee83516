// What a request costs in our own code: the waypoint's composition between two ends in memory, without sockets, TLS or a second program. For profiles, and for
// before and after on a busy machine: `node --cpu-prof test/bench/l7/path.ts h1|grpc [requests] [streams]`.
import { HpackEncoder } from "@ambit/http";
import { PerformanceObserver } from "node:perf_hooks";
import type { ByteStream, ByteStreamHandler } from "@ambit/transport";
import { ANSWER, BODY_OCTETS, FIELDS, GRPC_PATH, grpcMessage, HOST, REQUEST, type Pem } from "./messages.ts";
import { fakeCa } from "@ambit/testkit";
import { startWaypoint } from "./waypoint.ts";

const [kind = "h1", count = "200000", streams = "64"] = process.argv.slice(2);
const END = Buffer.from("\r\n\r\n");

/** The end in the proxy's hands; `peer` gets what it writes. */
class End implements ByteStream {
  closed = false;
  handler: ByteStreamHandler | undefined;
  readonly #peer: (bytes: Uint8Array, end: End) => void;
  constructor(peer: (bytes: Uint8Array, end: End) => void) { this.#peer = peer; }
  attach(handler: ByteStreamHandler): void { this.handler = handler; }
  write(bytes: Uint8Array): boolean { this.#peer(bytes, this); return true; }
  writeMany(pieces: readonly Uint8Array[]): boolean { for (const p of pieces) this.#peer(p, this); return true; }
  pause(): void { /* both ends are quick */ }
  resume(): void { /* likewise */ }
  end(): void { this.closed = true; }
  destroy(): void { this.closed = true; this.handler?.onClose(); }
}

/** Octets for one end come in one piece at the start of its turn, as from a socket. */
const due = new Map<End, Uint8Array[]>();
function send(end: End, bytes: Uint8Array): void {
  if (due.size === 0) setImmediate(deliver);
  const list = due.get(end);
  if (list === undefined) due.set(end, [bytes]);
  else list.push(bytes);
}
function deliver(): void {
  const all = [...due];
  due.clear();
  for (const [end, list] of all) end.handler?.onData(Buffer.concat(list));
}

let left = Number(count);
let under = 0;
let finished: () => void = () => undefined;
const next = (ask: () => void): void => {
  under--;
  if (left > 0) { left--; under++; ask(); }
  else if (under === 0) finished();
};

// ---- HTTP/1.1: an answer is as long as the last one, heads come whole ---------------------------------------------------------------------------------

function h1Client(): End {
  let missing = -1;
  return new End((bytes, end) => {
    let n = bytes.length;
    if (missing < 0) {
      const at = Buffer.from(bytes.buffer, bytes.byteOffset, n).indexOf(END);
      if (at < 0) throw new Error("half a head");
      missing = BODY_OCTETS;
      n -= at + 4;
    }
    missing -= n;
    if (missing > 0) return;
    missing = -1;
    next(() => send(end, REQUEST));
  });
}
const h1Server = (): End => new End((_, end) => send(end, ANSWER));

// ---- HTTP/2: frames cut by their headers; blocks are encoded once, and only the stream's number differs ------------------------------------------------

const frame = (type: number, flags: number, id: number, payload: Uint8Array): Buffer => {
  const out = Buffer.alloc(9 + payload.length);
  out.writeUIntBE(payload.length, 0, 3);
  out[3] = type;
  out[4] = flags;
  out.writeUInt32BE(id, 5);
  out.set(payload, 9);
  return out;
};
const numbered = (frames: readonly Buffer[], id: number): Buffer => {
  const out = Buffer.concat(frames);
  for (let at = 0; at < out.length; at += 9 + out.readUIntBE(at, 3)) out.writeUInt32BE(id, at + 5);
  return out;
};
const WINDOW = Buffer.from([0, 4, 0x3f, 0xff, 0xff, 0xff, 0, 3, 0, 0, 3, 0xe8]); // initial window, streams at once
const hello = [frame(4, 0, 0, WINDOW), frame(8, 0, 0, Buffer.from([0x3f, 0, 0, 0]))];
/** Calls `of` for every frame that the proxy wrote. */
function frames(preface: number, of: (type: number, flags: number, id: number, end: End) => void): (bytes: Uint8Array, end: End) => void {
  let rest: Buffer = Buffer.alloc(0);
  let at = preface;
  return (bytes, end) => {
    rest = rest.length === 0 ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.concat([rest, bytes]);
    while (rest.length - at >= 9 && rest.length - at >= 9 + rest.readUIntBE(at, 3)) {
      of(rest[at + 3] ?? 0, rest[at + 4] ?? 0, rest.readUInt32BE(at + 5), end);
      at += 9 + rest.readUIntBE(at, 3);
    }
    rest = rest.subarray(at);
    at = 0;
  };
}
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const END_STREAM = 1;
const [HEADERS, END_HEADERS] = [1, 4];

function h2Client(): { readonly end: End; readonly ask: () => void } {
  const encoder = new HpackEncoder();
  let id = 1;
  const head = [":method", "POST", ":scheme", "http", ":authority", HOST, ":path", GRPC_PATH, "content-type", "application/grpc", "te", "trailers", ...FIELDS];
  const body = frame(0, END_STREAM, 0, grpcMessage(100));
  const ask = (): void => {
    send(end, numbered([frame(HEADERS, END_HEADERS, 0, encoder.encode(head)), body], id));
    id += 2;
  };
  const end = new End(frames(0, (type, flags, stream) => {
    if (type === 4 && flags === 0) send(end, frame(4, 1, 0, Buffer.alloc(0)));
    if ((flags & END_STREAM) !== 0 && type <= 1 && stream > 0) next(ask);
  }));
  send(end, Buffer.concat([PREFACE, ...hello]));
  return { end, ask };
}

function h2Server(): End {
  const encoder = new HpackEncoder();
  const message = frame(0, 0, 0, grpcMessage(BODY_OCTETS));
  const end = new End(frames(PREFACE.length, (type, flags, id) => {
    if (type === 4 && flags === 0) send(end, frame(4, 1, 0, Buffer.alloc(0)));
    if (type !== 0 || (flags & END_STREAM) === 0) return;
    send(end, numbered([frame(HEADERS, END_HEADERS, 0, encoder.encode([":status", "200", "content-type", "application/grpc"])), message, frame(HEADERS, END_HEADERS | END_STREAM, 0, encoder.encode(["grpc-status", "0"]))], id));
  }));
  queueMicrotask(() => send(end, Buffer.concat(hello)));
  return end;
}

const ca = fakeCa("bench");
const leaf = ca.leaf("shop", "waypoint");
const own: Pem = { chain: leaf.chainPem, key: leaf.keyPem, roots: ca.rootPem };
const proxy = await startWaypoint({ own, h1: 1, grpc: 1 }, { upstreams: { open: () => Promise.resolve(kind === "h1" ? h1Server() : h2Server()), drain: () => Promise.resolve() } });
const asks: (() => void)[] = [];
if (kind === "h1") for (let i = 0; i < Number(streams); i++) {
  const end = h1Client();
  proxy.serve("plain.shop.svc", end, 40_000 + i);
  asks.push(() => send(end, REQUEST));
}
else for (let i = 0; i < 4; i++) {
  const client = h2Client();
  proxy.serve("grpc.shop.svc", client.end, 40_000 + i);
  for (let j = 0; j < Number(streams) / 4; j++) asks.push(client.ask);
}

/** Many short windows: the quickest says what the code costs, on a machine that does other things meanwhile too. */
const WINDOW_REQUESTS = 5_000;

async function round(requests: number): Promise<number> {
  left = requests - asks.length;
  under = asks.length;
  const from = process.cpuUsage();
  const done = new Promise<void>((resolve) => (finished = resolve));
  for (const ask of asks) ask();
  await done;
  const { user, system } = process.cpuUsage(from);
  return (user + system) / requests;
}
let collections = 0;
const observer = new PerformanceObserver((list) => { collections += list.getEntries().length; });
await round(30_000);
observer.observe({ entryTypes: ["gc"] });
const windows: number[] = [];
for (let done = 0; done < Number(count); done += WINDOW_REQUESTS) windows.push(await round(WINDOW_REQUESTS));
windows.sort((a, b) => a - b);
const at = (part: number): string => (windows[Math.floor(part * (windows.length - 1))] ?? 0).toFixed(2);
process.stderr.write(`${kind} µs of CPU a request, both ends in memory included: least ${at(0)}, quarter ${at(0.25)}, median ${at(0.5)}; ${((collections * 1000) / Number(count)).toFixed(2)} collections in 1,000 requests; ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB\n`);
process.exit();
