// Owns cutting the peer's octets into frames (RFC 9113 §4, §6): sizes, padding, CONTINUATION; keeps only what is partial.
import { ConnectionError, ErrorCode } from "./error-code.ts";
import { Flag, FRAME_HEADER_OCTETS, FrameType, PREFACE, readUint32, STREAM_ID_MAX } from "./frame.ts";
import { CONTINUATION_FRAMES_MAX, GOAWAY_OCTETS_MAX, SETTINGS_OCTETS_MAX } from "./limits.ts";

/** Where frames go. Payloads are `bytes[from, to)`, valid during the call only, except data, whose octets the receiver may keep. */
export interface FrameSink {
  /** A DATA frame begins: `length` octets count against flow control. */
  dataBegins(id: number, length: number, endStream: boolean): void;
  data(bytes: Uint8Array): void;
  /** So many octets of padding (with its length octet) went by. */
  padding(octets: number): void;
  dataEnds(endStream: boolean): void;
  /** A whole header block, however many frames it took. */
  headers(id: number, endStream: boolean, bytes: Uint8Array, from: number, to: number): void;
  control(type: number, flags: number, id: number, bytes: Uint8Array, from: number, to: number): void;
}

export interface FrameReaderOptions {
  readonly expectPreface: boolean;
  readonly maxFrameSize: number;
  /** Encoded octets of one header block. */
  readonly blockMax: number;
}

/** Padding (255), its length (1) and the priority fields (5) that may surround a fragment. */
const FRAGMENT_EXTRA = 261;
const EMPTY = new Uint8Array(0);

type Phase = "header" | "payload" | "skip" | "pad-length" | "data" | "padding";

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #options: FrameReaderOptions;
  readonly #head = new Uint8Array(FRAME_HEADER_OCTETS);
  #headOctets = 0;
  #prefaceAt: number;
  #phase: Phase = "header";
  #first = true;
  #stopped = false;
  #type = 0;
  #flags = 0;
  #id = 0;
  #length = 0;
  /** Octets of the current frame still to come (without trailing padding while in phase "data"). */
  #left = 0;
  #padding = 0;
  #partial: Uint8Array = EMPTY;
  #partialOctets = 0;
  /** Fragments of an unfinished header block, its stream and its END_STREAM flag. */
  #fragments: Uint8Array[] = [];
  #blockOctets = 0;
  #blockStream = 0;
  #blockEndsStream = false;

  constructor(options: FrameReaderOptions, sink: FrameSink) {
    this.#options = options;
    this.#sink = sink;
    this.#prefaceAt = options.expectPreface ? 0 : PREFACE.length;
  }

  /** Nothing more is read: the connection is over. */
  stop(): void {
    this.#stopped = true;
  }

  /** Throws ConnectionError. */
  read(bytes: Uint8Array): void {
    let at = this.#readPreface(bytes);
    while (at < bytes.length && !this.#stopped) {
      const available = bytes.length - at;
      switch (this.#phase) {
        case "header":
          at += this.#readHeader(bytes, at);
          break;
        case "payload":
          at += this.#readPayload(bytes, at);
          break;
        case "skip":
          at += this.#advance(available);
          if (this.#left === 0) this.#phase = "header";
          break;
        case "pad-length":
          this.#readPadLength(bytes[at++] ?? 0);
          break;
        case "data": {
          const n = this.#advance(available);
          const whole = this.#left === 0;
          this.#sink.data(at === 0 && n === bytes.length ? bytes : bytes.subarray(at, at + n));
          at += n;
          if (whole) this.#endData();
          break;
        }
        case "padding": {
          const n = Math.min(this.#padding, available);
          this.#padding -= n;
          at += n;
          this.#sink.padding(n);
          if (this.#padding === 0) this.#endData();
          break;
        }
      }
    }
  }

  #readPreface(bytes: Uint8Array): number {
    let at = 0;
    while (this.#prefaceAt < PREFACE.length && at < bytes.length)
      if (bytes[at++] !== PREFACE[this.#prefaceAt++]) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "the connection preface is not HTTP/2's");
    return at;
  }

  #advance(available: number): number {
    const n = Math.min(this.#left, available);
    this.#left -= n;
    return n;
  }

  #readHeader(bytes: Uint8Array, at: number): number {
    if (this.#headOctets === 0 && bytes.length - at >= FRAME_HEADER_OCTETS) {
      this.#begin(bytes, at);
      return FRAME_HEADER_OCTETS;
    }
    const n = Math.min(FRAME_HEADER_OCTETS - this.#headOctets, bytes.length - at);
    for (let i = 0; i < n; i++) this.#head[this.#headOctets++] = bytes[at + i] ?? 0;
    if (this.#headOctets === FRAME_HEADER_OCTETS) {
      this.#headOctets = 0;
      this.#begin(this.#head, 0);
    }
    return n;
  }

  #begin(b: Uint8Array, at: number): void {
    const length = ((b[at] ?? 0) << 16) | ((b[at + 1] ?? 0) << 8) | (b[at + 2] ?? 0);
    const type = b[at + 3] ?? 0;
    this.#type = type;
    this.#flags = b[at + 4] ?? 0;
    this.#id = readUint32(b, at + 5) & STREAM_ID_MAX;
    this.#length = length;
    this.#left = length;
    if (length > this.#options.maxFrameSize) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${length} octets`);
    if (this.#first && (type !== FrameType.SETTINGS || (this.#flags & Flag.ACK) !== 0))
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS");
    this.#first = false;
    if (this.#blockStream !== 0 ? type !== FrameType.CONTINUATION || this.#id !== this.#blockStream : type === FrameType.CONTINUATION)
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION is missing or out of place");
    if (type === FrameType.DATA) return this.#beginData();
    if (type > FrameType.CONTINUATION) {
      this.#phase = length === 0 ? "header" : "skip"; // §5.5: unknown types are ignored
      return;
    }
    this.#checkSize();
    if (length === 0) return this.#complete(EMPTY, 0, 0);
    this.#phase = "payload";
  }

  #beginData(): void {
    if (this.#id === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0");
    const padded = (this.#flags & Flag.PADDED) !== 0;
    if (padded && this.#length === 0) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "padded DATA without a pad length");
    this.#padding = 0;
    this.#sink.dataBegins(this.#id, this.#length, (this.#flags & Flag.END_STREAM) !== 0);
    this.#phase = padded ? "pad-length" : "data";
    if (this.#length === 0) this.#endData();
  }

  #readPadLength(octets: number): void {
    this.#left--;
    if (octets > this.#left) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "more padding than payload");
    this.#left -= octets;
    this.#padding = octets;
    this.#sink.padding(1);
    if (this.#left > 0) this.#phase = "data";
    else this.#endData();
  }

  /** All data went by: padding comes, or the frame is over. */
  #endData(): void {
    if (this.#padding > 0) {
      this.#phase = "padding";
      return;
    }
    this.#phase = "header";
    this.#sink.dataEnds((this.#flags & Flag.END_STREAM) !== 0);
  }

  /** Refuses sizes that RFC 9113 §6 fixes, and those beyond our bounds, before an octet is kept. */
  #checkSize(): void {
    const length = this.#length;
    const exact = EXACT_SIZES[this.#type] ?? -1;
    if (exact >= 0 && length !== exact) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `frame type ${this.#type} of ${length} octets`);
    const most = this.#type === FrameType.SETTINGS ? SETTINGS_OCTETS_MAX : this.#type === FrameType.GOAWAY ? GOAWAY_OCTETS_MAX
      : this.#options.blockMax - this.#blockOctets + FRAGMENT_EXTRA;
    if (length > most) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `frame type ${this.#type} of ${length} octets exceeds our bound`);
  }

  #readPayload(bytes: Uint8Array, at: number): number {
    if (this.#partialOctets === 0 && bytes.length - at >= this.#length) {
      this.#complete(bytes, at, at + this.#length);
      return this.#length;
    }
    if (this.#partialOctets === 0) this.#partial = new Uint8Array(this.#length);
    const n = this.#advance(bytes.length - at);
    this.#partial.set(bytes.subarray(at, at + n), this.#partialOctets);
    this.#partialOctets += n;
    if (this.#left === 0) {
      const whole = this.#partial;
      this.#partial = EMPTY;
      this.#partialOctets = 0;
      this.#complete(whole, 0, whole.length);
    }
    return n;
  }

  #complete(bytes: Uint8Array, from: number, to: number): void {
    this.#phase = "header";
    if (this.#type === FrameType.HEADERS) this.#headers(bytes, from, to);
    else if (this.#type === FrameType.CONTINUATION) this.#fragment(bytes, from, to);
    else this.#sink.control(this.#type, this.#flags, this.#id, bytes, from, to);
  }

  #headers(bytes: Uint8Array, from: number, to: number): void {
    if (this.#id === 0) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0");
    let start = from;
    let end = to;
    if ((this.#flags & Flag.PADDED) !== 0) end -= bytes[start++] ?? 0;
    if ((this.#flags & Flag.PRIORITY) !== 0) start += 5;
    if (from === to && start > from) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its flags");
    if (start > end) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "HEADERS with more padding than payload");
    this.#blockEndsStream = (this.#flags & Flag.END_STREAM) !== 0;
    this.#blockStream = this.#id;
    this.#fragment(bytes, start, end);
  }

  #fragment(bytes: Uint8Array, from: number, to: number): void {
    const last = (this.#flags & Flag.END_HEADERS) !== 0;
    if (!last || this.#fragments.length > 0) {
      if (this.#fragments.length >= CONTINUATION_FRAMES_MAX) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a header block in too many frames");
      this.#fragments.push(bytes.slice(from, to));
      this.#blockOctets += to - from;
    }
    if (!last) return;
    const id = this.#blockStream;
    const fragments = this.#fragments;
    const octets = this.#blockOctets;
    this.#blockStream = 0;
    this.#fragments = [];
    this.#blockOctets = 0;
    if (fragments.length === 0) return this.#sink.headers(id, this.#blockEndsStream, bytes, from, to);
    this.#sink.headers(id, this.#blockEndsStream, join(fragments, octets), 0, octets);
  }
}

/** By type; -1: any. */
const EXACT_SIZES = new Int8Array(FrameType.CONTINUATION + 1).fill(-1);
for (const [type, octets] of [[FrameType.PRIORITY, 5], [FrameType.RST_STREAM, 4], [FrameType.PING, 8], [FrameType.WINDOW_UPDATE, 4]] as const) EXACT_SIZES[type] = octets;

function join(parts: readonly Uint8Array[], octets: number): Uint8Array {
  const whole = new Uint8Array(octets);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
