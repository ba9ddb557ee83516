// Owns a peer of the tests' own: frames written by hand, our connection's output read back as frames.
import { HpackEncoder } from "../hpack/encoder.ts";
import { H2Connection } from "./connection.ts";
import { errorCodeName, type ConnectionError } from "./error-code.ts";
import type { ConnectionEvents } from "./events.ts";
import { FrameType, PREFACE, readUint32 } from "./frame.ts";
import type { Limits } from "./limits.ts";
import type { H2Stream } from "./stream.ts";

export interface RawFrame { readonly type: number; readonly flags: number; readonly id: number; readonly payload: Uint8Array }

export const u32 = (...values: number[]): Uint8Array => { const b = Buffer.alloc(4 * values.length); values.forEach((v, i) => b.writeUInt32BE(v >>> 0, 4 * i)); return b; };
export const setting = (id: number, value: number): Uint8Array => { const b = Buffer.alloc(6); b.writeUInt16BE(id); b.writeUInt32BE(value >>> 0, 2); return b; };
export const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

export function frame(type: number, flags: number, id: number, ...payload: Uint8Array[]): Uint8Array {
  const body = Buffer.concat(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id >>> 0, 5);
  return Buffer.concat([head, body]);
}

export const CONNECT = [":method", "CONNECT", ":authority", "10.0.0.1:80"];
export const GET = [":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a"];

/** Our connection under test with a hand-made peer; every event as a short line. */
export class RawPeer {
  readonly log: string[] = [];
  readonly streams = new Map<number, H2Stream<undefined>>();
  readonly connection: H2Connection<undefined>;
  readonly hpack = new HpackEncoder();
  failed: ConnectionError | undefined;
  now = 0;
  data = 0;
  onData: ((stream: H2Stream<undefined>, piece: Uint8Array) => void) | undefined;

  constructor(role: "client" | "server", limits: Partial<Limits> = {}, more: Partial<ConnectionEvents<undefined>> = {}, preface = true) {
    const note = (line: string): void => void this.log.push(line);
    this.connection = new H2Connection<undefined>({ role, limits }, {
      onRequest: (s, fields) => { this.streams.set(s.id, s); note(`request ${s.id} ${fields.join(" ")}`); },
      onResponse: (s, status) => note(`response ${s.id} ${status}`),
      onTrailers: (s, fields) => note(`trailers ${s.id} ${fields.join(" ")}`),
      onData: (s, piece) => { this.data += piece.length; if (this.onData) this.onData(s, piece); else note(`data ${s.id} ${Buffer.from(piece).toString("latin1")}`); },
      onEnd: (s) => note(`end ${s.id}`),
      onReset: (s, code, processed) => note(`reset ${s.id} ${errorCodeName(code)}${processed ? "" : " unprocessed"}`),
      onWritable: (s) => note(`writable ${s.id}`),
      onGoaway: (last, code, debug) => note(`goaway ${last} ${errorCodeName(code)} ${debug}`.trim()),
      onPong: () => note("pong"),
      onFailed: (e) => { this.failed = e; note(`failed ${errorCodeName(e.code)}`); },
      ...more,
    });
    if (role === "server" && preface) this.send(PREFACE);
  }

  /** Preface (already sent by the constructor) and empty SETTINGS. */
  settle(...settings: Uint8Array[]): this {
    this.send(frame(FrameType.SETTINGS, 0, 0, ...settings));
    this.connection.takeOutput();
    return this;
  }

  send(...pieces: Uint8Array[]): this {
    for (const piece of pieces) this.connection.receive(Uint8Array.from(piece), this.now);
    return this;
  }

  headers(id: number, fields: readonly string[], flags = 0x4): Uint8Array {
    return frame(FrameType.HEADERS, flags, id, Uint8Array.from(this.hpack.encode(fields)));
  }

  /** What our side sent since the last look, the preface left out. */
  sent(): RawFrame[] {
    const all = Buffer.concat(this.connection.takeOutput());
    const out: RawFrame[] = [];
    let at = all.subarray(0, PREFACE.length).equals(PREFACE) ? PREFACE.length : 0;
    while (at < all.length) {
      const length = all.readUIntBE(at, 3);
      out.push({ type: all[at + 3] ?? 0, flags: all[at + 4] ?? 0, id: readUint32(all, at + 5), payload: all.subarray(at + 9, at + 9 + length) });
      at += 9 + length;
    }
    return out;
  }

  /** RST_STREAM and GOAWAY that our side sent, as text. */
  verdicts(): string[] {
    return this.sent().flatMap((f) => f.type === FrameType.RST_STREAM ? [`rst ${f.id} ${errorCodeName(readUint32(f.payload, 0))}`]
      : f.type === FrameType.GOAWAY ? [`goaway ${errorCodeName(readUint32(f.payload, 4))}`] : []);
  }
}
