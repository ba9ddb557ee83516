// Owns the Kubernetes protocols over WebSocket: channels in the first byte of each message, or SPDY tunnelled through it.
import { Duplex, PassThrough, Writable, type Readable } from "node:stream";
import type { Clock } from "@ambit/runtime";
import type { RawData, WebSocket } from "ws";
import type { Runtime } from "../runtime.ts";
import { runExec, type ClientStreams } from "./exec-session.ts";
import { forwardPort } from "./port-forwarding.ts";
import type { ExecTarget, ForwardTarget } from "./request.ts";

/** Channels of remotecommand, and v5's "this channel ends". */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
/** kubectl's own messages carry 32 KiB. */
const MESSAGE_BYTES = 32 * 1024;
/** Proxies in between drop connections that say nothing; Go's client expects no more than a minute of silence. */
const PING_MS = 15_000;
const NORMAL_CLOSURE = 1000;

export const WS_EXEC_PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"] as const;
export const WS_TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io";
export const WS_FORWARD_PROTOCOL = "v4.channel.k8s.io";

export function serveExecOverWebSocket(runtime: Runtime, clock: Clock, ws: WebSocket, target: ExecTarget, protocol: string): void {
  const gone = new AbortController();
  const input = new Map<number, PassThrough>();
  if (target.stdin) input.set(CHANNEL.stdin, new PassThrough());
  if (target.tty) input.set(CHANNEL.resize, new PassThrough());
  for (const stream of input.values()) for (const event of ["drain", "close"]) stream.on(event, () => ws.resume());
  keepAlive(ws, clock);
  ws.on("close", () => { gone.abort(); for (const stream of input.values()) stream.destroy(); });
  ws.on("message", (raw, binary) => {
    const message = toBuffer(raw);
    const channel = message[0];
    if (!binary || channel === undefined) return;
    if (channel === CHANNEL.close && protocol === "v5.channel.k8s.io") return void input.get(message[1] ?? -1)?.end();
    const stream = input.get(channel);
    if (stream === undefined || stream.writableEnded || message.length === 1) return;
    if (!stream.write(message.subarray(1))) ws.pause();
  });
  const streams: ClientStreams = {
    ...(input.has(CHANNEL.stdin) ? { stdin: input.get(CHANNEL.stdin) as Readable } : {}),
    ...(input.has(CHANNEL.resize) ? { resize: input.get(CHANNEL.resize) as Readable } : {}),
    ...(target.stdout ? { stdout: channelWriter(ws, CHANNEL.stdout) } : {}),
    ...(target.stderr ? { stderr: channelWriter(ws, CHANNEL.stderr) } : {}),
    error: channelWriter(ws, CHANNEL.error),
  };
  // An empty message on the first channel tells the client that it is connected.
  ws.send(Uint8Array.of(target.stdout ? CHANNEL.stdout : target.stderr ? CHANNEL.stderr : CHANNEL.error));
  void runExec(runtime, target, streams, true, gone.signal).then(() => ws.close(NORMAL_CLOSURE));
}

/** Channels 2n and 2n+1 carry data and errors of the n-th port; each begins with the port, little endian. */
export function serveForwardOverWebSocket(runtime: Runtime, clock: Clock, ws: WebSocket, target: ForwardTarget): void {
  const data = new Map<number, Duplex>();
  keepAlive(ws, clock);
  let open = target.ports.length;
  for (const [index, port] of target.ports.entries()) {
    for (const channel of [2 * index, 2 * index + 1]) ws.send(Uint8Array.of(channel, port & 255, port >> 8));
    const duplex = channelDuplex(ws, 2 * index);
    data.set(2 * index, duplex);
    void forwardPort(runtime, { namespace: target.namespace, pod: target.pod, port }, duplex, channelWriter(ws, 2 * index + 1))
      .then(() => { open -= 1; if (open === 0) ws.close(NORMAL_CLOSURE); });
  }
  ws.on("message", (raw) => {
    const message = toBuffer(raw);
    const stream = data.get(message[0] ?? -1);
    if (stream !== undefined && !stream.destroyed && message.length > 1 && !stream.push(message.subarray(1))) ws.pause();
  });
}

/** One channel both ways. It has no half-close: the connection's end is the end of all. */
function channelDuplex(ws: WebSocket, channel: number): Duplex {
  const duplex = new Duplex({
    read() { ws.resume(); },
    write(chunk: Buffer, _encoding, done) { sendParts(ws, channel, chunk, done); },
    destroy(error, done) { ws.resume(); done(error); },
  });
  duplex.on("error", () => undefined);
  ws.on("close", () => duplex.destroy());
  return duplex;
}

/** The bytes of all binary messages as one stream, for SPDY to run on. */
export function tunnel(ws: WebSocket, clock: Clock): Duplex {
  keepAlive(ws, clock);
  const duplex = new Duplex({
    allowHalfOpen: true,
    read() { ws.resume(); },
    write(chunk: Buffer, _encoding, done) { send(ws, chunk, done); },
    final(done) { ws.close(NORMAL_CLOSURE); done(); },
    destroy(error, done) { ws.terminate(); done(error); },
  });
  ws.on("message", (raw) => { if (!duplex.push(toBuffer(raw))) ws.pause(); });
  ws.on("close", () => { if (!duplex.readableEnded) duplex.push(null); });
  ws.on("error", (error) => duplex.destroy(error));
  return duplex;
}

/** Ends are not told: clients take the connection's close for the end of every channel. */
function channelWriter(ws: WebSocket, channel: number): Writable {
  const writer = new Writable({
    highWaterMark: MESSAGE_BYTES,
    write(chunk: Buffer, _encoding, done) { sendParts(ws, channel, chunk, done); },
  });
  writer.on("error", () => undefined);
  ws.on("close", () => writer.destroy());
  return writer;
}

function sendParts(ws: WebSocket, channel: number, chunk: Buffer, done: (error?: Error | null) => void): void {
  const part = chunk.subarray(0, MESSAGE_BYTES);
  const rest = chunk.subarray(MESSAGE_BYTES);
  send(ws, Buffer.concat([Buffer.of(channel), part]), (error) => {
    if (error !== undefined || rest.length === 0) done(error ?? null);
    else sendParts(ws, channel, rest, done);
  });
}

function send(ws: WebSocket, bytes: Uint8Array, done: (error?: Error) => void): void {
  if (ws.readyState !== ws.OPEN) return done(new Error("the client is gone"));
  ws.send(bytes, (error) => done(error ?? undefined));
}

function keepAlive(ws: WebSocket, clock: Clock): void {
  ws.on("error", () => ws.terminate());
  const timer = clock.every(PING_MS, () => { if (ws.readyState === ws.OPEN) ws.ping(); });
  ws.on("close", () => timer.cancel());
}

function toBuffer(raw: RawData): Buffer {
  if (Array.isArray(raw)) return Buffer.concat(raw);
  return Buffer.isBuffer(raw) ? raw : Buffer.from(raw);
}
