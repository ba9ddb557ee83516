// Owns the frames of SPDY/3.1: bytes to frames as they arrive, frames to bytes. Header blocks stay compressed here. Pure.

export const TYPE = { SYN_STREAM: 1, SYN_REPLY: 2, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, HEADERS: 8, WINDOW_UPDATE: 9 } as const;
export const FLAG_FIN = 1;
export const RST = { PROTOCOL_ERROR: 1, INVALID_STREAM: 2, REFUSED_STREAM: 3, CANCEL: 5, INTERNAL_ERROR: 6, FLOW_CONTROL_ERROR: 7, STREAM_IN_USE: 8 } as const;
const VERSION = 3;
const HEAD_BYTES = 8;
/** The length field has 24 bits; no peer of ours sends more than 32 KiB of data or 8 KiB of headers in one frame. */
export const FRAME_MAX_BYTES = 1024 * 1024;
const SETTINGS_MAX = 64;

export type Frame =
  | { readonly kind: "data"; readonly stream: number; readonly fin: boolean; readonly data: Uint8Array }
  | { readonly kind: "syn-stream"; readonly stream: number; readonly fin: boolean; readonly block: Uint8Array }
  | { readonly kind: "syn-reply"; readonly stream: number; readonly fin: boolean; readonly block: Uint8Array }
  | { readonly kind: "headers"; readonly stream: number; readonly fin: boolean; readonly block: Uint8Array }
  | { readonly kind: "rst-stream"; readonly stream: number; readonly status: number }
  | { readonly kind: "settings"; readonly values: ReadonlyMap<number, number> }
  | { readonly kind: "ping"; readonly id: number }
  | { readonly kind: "go-away"; readonly lastStream: number; readonly status: number }
  | { readonly kind: "window-update"; readonly stream: number; readonly delta: number }
  /** A control frame this version of the protocol does not define: it is skipped, as the draft asks. */
  | { readonly kind: "unknown"; readonly type: number };

/** The bytes are not SPDY/3.1; nothing after them can be trusted. */
export class SpdyError extends Error {}

/** Feed it bytes in any portions; it keeps at most one incomplete frame. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);

  /** Throws SpdyError. */
  read(chunk: Uint8Array): Frame[] {
    const bytes = this.#rest.length === 0 ? chunk : join(this.#rest, chunk);
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const length = (u32(bytes, at + 4) & 0xffffff);
      if (length > FRAME_MAX_BYTES) throw new SpdyError(`a frame of ${length} bytes exceeds ${FRAME_MAX_BYTES}`);
      if (bytes.length - at < HEAD_BYTES + length) break;
      frames.push(decode(u32(bytes, at), bytes[at + 4] ?? 0, bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length)));
      at += HEAD_BYTES + length;
    }
    // A copy: the caller's buffer must not be held by a few bytes of it.
    this.#rest = bytes.slice(at);
    return frames;
  }
}

function decode(word: number, flags: number, body: Uint8Array): Frame {
  const fin = (flags & FLAG_FIN) !== 0;
  if (word >>> 31 === 0) return { kind: "data", stream: streamId(word), fin, data: body };
  const version = (word >>> 16) & 0x7fff;
  if (version !== VERSION) throw new SpdyError(`SPDY version ${version} instead of ${VERSION}`);
  const type = word & 0xffff;
  const need = (bytes: number, exact = false): void => {
    if (body.length < bytes || (exact && body.length !== bytes)) throw new SpdyError(`control frame ${type} has ${body.length} bytes`);
  };
  const id = (at: number): number => u32(body, at) & 0x7fffffff;
  switch (type) {
    case TYPE.SYN_STREAM: need(10); return { kind: "syn-stream", stream: streamId(id(0)), fin, block: body.subarray(10) };
    case TYPE.SYN_REPLY: need(4); return { kind: "syn-reply", stream: streamId(id(0)), fin, block: body.subarray(4) };
    case TYPE.HEADERS: need(4); return { kind: "headers", stream: streamId(id(0)), fin, block: body.subarray(4) };
    case TYPE.RST_STREAM: need(8, true); return { kind: "rst-stream", stream: streamId(id(0)), status: u32(body, 4) };
    case TYPE.PING: need(4, true); return { kind: "ping", id: u32(body, 0) };
    case TYPE.GOAWAY: need(8, true); return { kind: "go-away", lastStream: id(0), status: u32(body, 4) };
    case TYPE.WINDOW_UPDATE: need(8, true); return { kind: "window-update", stream: id(0), delta: id(4) };
    case TYPE.SETTINGS: return { kind: "settings", values: settings(body, need) };
    default: return { kind: "unknown", type };
  }
}

function settings(body: Uint8Array, need: (bytes: number, exact: boolean) => void): ReadonlyMap<number, number> {
  need(4, false);
  const count = u32(body, 0);
  if (count > SETTINGS_MAX) throw new SpdyError(`${count} settings`);
  need(4 + 8 * count, true);
  return new Map(Array.from({ length: count }, (_, i) => [u32(body, 4 + 8 * i) & 0xffffff, u32(body, 8 + 8 * i)]));
}

function streamId(id: number): number {
  if (id === 0) throw new SpdyError("stream 0");
  return id;
}

/** The 8 bytes before `length` bytes of data: written apart, so that data is never copied. */
export function dataHead(stream: number, length: number, fin: boolean): Uint8Array {
  return words(stream, ((fin ? FLAG_FIN : 0) << 24) | length);
}

export function encode(frame: Exclude<Frame, { kind: "unknown" }>): Uint8Array {
  switch (frame.kind) {
    case "data": return join(dataHead(frame.stream, frame.data.length, frame.fin), frame.data);
    case "syn-stream": return control(TYPE.SYN_STREAM, frame.fin, join(words(frame.stream, 0), join(new Uint8Array(2), frame.block)));
    case "syn-reply": return control(TYPE.SYN_REPLY, frame.fin, join(words(frame.stream), frame.block));
    case "headers": return control(TYPE.HEADERS, frame.fin, join(words(frame.stream), frame.block));
    case "rst-stream": return control(TYPE.RST_STREAM, false, words(frame.stream, frame.status));
    case "ping": return control(TYPE.PING, false, words(frame.id));
    case "go-away": return control(TYPE.GOAWAY, false, words(frame.lastStream, frame.status));
    case "window-update": return control(TYPE.WINDOW_UPDATE, false, words(frame.stream, frame.delta));
    case "settings": return control(TYPE.SETTINGS, false, words(frame.values.size, ...[...frame.values].flat()));
  }
}

function control(type: number, fin: boolean, body: Uint8Array): Uint8Array {
  return join(words(0x80000000 | (VERSION << 16) | type, ((fin ? FLAG_FIN : 0) << 24) | body.length), body);
}

export type Headers = ReadonlyMap<string, string>;
/** kubectl sends five headers of a few bytes. */
const HEADERS_MAX = 128;

/** The uncompressed block: count, then name and value with 32-bit lengths; names are lower case. Throws SpdyError. */
export function decodeHeaders(block: Uint8Array): Headers {
  let at = 0;
  const number = (): number => {
    if (at + 4 > block.length) throw new SpdyError("a header block is cut short");
    at += 4;
    return u32(block, at - 4);
  };
  const text = (): string => {
    const length = number();
    if (length > block.length - at) throw new SpdyError("a header is longer than its block");
    at += length;
    return new TextDecoder().decode(block.subarray(at - length, at));
  };
  const count = number();
  if (count > HEADERS_MAX) throw new SpdyError(`${count} headers`);
  const headers = new Map<string, string>();
  for (let i = 0; i < count; i++) {
    const name = text().toLowerCase();
    if (name === "" || headers.has(name)) throw new SpdyError(`header ${JSON.stringify(name)} is empty or repeated`);
    headers.set(name, text());
  }
  if (at !== block.length) throw new SpdyError("bytes after the last header");
  return headers;
}

export function encodeHeaders(headers: Headers): Uint8Array {
  const parts: Uint8Array[] = [words(headers.size)];
  for (const pair of headers) {
    for (const text of pair) {
      const bytes = new TextEncoder().encode(text);
      parts.push(words(bytes.length), bytes);
    }
  }
  return parts.reduce(join);
}

function u32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

function words(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((v) => [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, v & 255]));
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a, 0);
  out.set(b, a.length);
  return out;
}
