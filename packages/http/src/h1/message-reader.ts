// Owns cutting octets into messages (RFC 9112): where a head ends, where a body ends; keeps only what is partial.
import { readFieldLines } from "./field-lines.ts";
import { CHUNKED, neverInTrailers, TUNNEL, UNTIL_CLOSE } from "./framing.ts";
import { CHUNK_DIGITS_MAX, CHUNK_LINE_MAX, EMPTY_LINES_MAX, H1Error, type H1Limits } from "./limits.ts";
import { CR, LF, NAME } from "../octets.ts";

/** Where the parts of messages go. It must not throw but H1Error. */
export interface MessageSink {
  /** A whole head, its empty line included; valid during the call. Returns the body's framing, or undefined when another head follows (1xx). */
  head(bytes: Uint8Array, from: number, to: number): number | undefined;
  /** The octets may be kept. */
  data(bytes: Uint8Array): void;
  trailers(fields: readonly string[]): void;
  /** The message is over; nothing more is read until `next`. */
  end(): void;
}

type Phase = "head" | "length" | "chunk-line" | "chunk-data" | "chunk-end" | "trailers" | "until-close" | "tunnel" | "ended" | "stopped";

const EMPTY = new Uint8Array(0);
/** What a partial head's buffer begins with, octets. */
const CARRY_OCTETS = 1024;

export class MessageReader {
  readonly #limits: H1Limits;
  readonly #sink: MessageSink;
  #phase: Phase = "head";
  /** Octets of the body, or of its current chunk, still to come. */
  #left = 0;
  /** A partial head or trailers: `#carry[0, #carried)`. */
  #carry: Uint8Array = EMPTY;
  #carried = 0;
  /** Within the block being read: where its unfinished line begins, and how many lines are whole. */
  #lineAt = 0;
  #lines = 0;
  /** Where the block begins: after empty lines. */
  #blockFrom = 0;
  #emptyLines = 0;
  /** Of a chunk's line. */
  #size = 0;
  #digits = 0;
  #lineOctets = 0;
  #sawCr = false;
  /** What of an extension comes next, or is being read. */
  #extension: "none" | "name" | "in-name" | "value" | "in-value" = "none";

  constructor(limits: H1Limits, sink: MessageSink) {
    this.#limits = limits;
    this.#sink = sink;
  }

  get ended(): boolean {
    return this.#phase === "ended";
  }

  /** Between messages, with nothing of the next one read. */
  get idle(): boolean {
    return this.#phase === "ended" || (this.#phase === "head" && this.#carried === 0);
  }

  next(): void {
    if (this.#phase === "ended") this.#phase = "head";
  }

  stop(): void {
    this.#phase = "stopped";
    this.#carry = EMPTY;
  }

  /** The rest is another protocol's: `data` until the end. */
  tunnel(): void {
    this.#phase = "tunnel";
  }

  /** The peer's half is over. False: in the middle of a message. */
  close(): boolean {
    const phase = this.#phase;
    if (phase === "until-close" || phase === "tunnel") {
      this.#phase = "ended";
      this.#sink.end();
      return true;
    }
    return this.idle || phase === "stopped";
  }

  /** Returns how many octets were read: fewer than given when the message ended, or on `stop`. Throws H1Error. */
  read(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#phase) {
        case "head":
        case "trailers":
          at = this.#readBlock(bytes, at);
          break;
        case "length":
        case "chunk-data":
          at = this.#readData(bytes, at);
          break;
        case "chunk-line":
          at = this.#readChunkLine(bytes, at);
          break;
        case "chunk-end":
          if (bytes[at] !== (this.#sawCr ? LF : CR)) throw new H1Error(400, "a chunk does not end with CRLF");
          at++;
          if (this.#sawCr) this.#beginChunkLine();
          else this.#sawCr = true;
          break;
        case "until-close":
        case "tunnel":
          this.#sink.data(at === 0 ? bytes : bytes.subarray(at));
          return bytes.length;
        case "ended":
        case "stopped":
          return at;
      }
    }
    return at;
  }

  /** A head or trailers. */
  #readBlock(bytes: Uint8Array, at: number): number {
    if (this.#carried === 0) {
      // Nearly always a head comes whole: its lines are judged where they are read.
      const whole = this.#phase === "head" && (bytes[at] ?? 0) > CR ? emptyLineEnd(bytes, at) : -1;
      if (whole >= 0 && whole - at <= this.#limits.headMax) {
        this.#block(bytes, at, whole);
        return whole;
      }
      const end = this.#scan(bytes, at, at, bytes.length);
      if (end >= 0) {
        this.#block(bytes, this.#blockFrom, end);
        return end;
      }
      this.#keep(bytes, this.#blockFrom, bytes.length);
      return bytes.length;
    }
    const before = this.#carried;
    this.#keep(bytes, at, bytes.length);
    const end = this.#scan(this.#carry, 0, before, this.#carried);
    if (end < 0) return bytes.length;
    const whole = this.#carry;
    const from = this.#blockFrom;
    this.#carried = 0;
    this.#carry = EMPTY;
    this.#block(whole, from, end);
    return at + (end - before);
  }

  /** Looks for the empty line in `b[start, to)`, of which `[start, from)` was looked at. Returns the end of the block, or -1. */
  #scan(b: Uint8Array, start: number, from: number, to: number): number {
    if (from === start) {
      this.#lineAt = start;
      this.#blockFrom = start;
      this.#lines = 0;
    }
    for (let seek = from; ; ) {
      let lf = seek;
      while (lf < to && b[lf] !== LF) lf++;
      if (lf === to) break;
      if (lf === this.#lineAt || b[lf - 1] !== CR) throw new H1Error(400, "a line ends with LF alone");
      seek = lf + 1;
      this.#checkSize(seek - this.#blockFrom);
      if (lf - 1 === this.#lineAt) {
        if (this.#lines > 0 || this.#phase === "trailers") return seek;
        if (++this.#emptyLines > EMPTY_LINES_MAX) throw new H1Error(400, "empty lines instead of a message");
        this.#blockFrom = seek;
      } else if (++this.#lines > this.#limits.fieldsMax + (this.#phase === "head" ? 1 : 0)) throw new H1Error(431, `more than ${this.#limits.fieldsMax} fields`);
      this.#lineAt = seek;
    }
    this.#checkSize(to - this.#blockFrom);
    return -1;
  }

  #checkSize(octets: number): void {
    if (octets > this.#limits.headMax) throw new H1Error(431, `a head of more than ${this.#limits.headMax} octets`);
  }

  /** Keeps `bytes[from, to)` behind what is carried; positions become those of the carry. */
  #keep(bytes: Uint8Array, from: number, to: number): void {
    if (this.#carried === 0) {
      this.#lineAt -= from;
      this.#blockFrom -= from;
    }
    // One read may hold more than a head may have: what is beyond is not needed to see that.
    const end = Math.min(to, from + this.#limits.headMax + CARRY_OCTETS - this.#carried);
    const needed = this.#carried + (end - from);
    if (needed > this.#carry.length) {
      const larger = new Uint8Array(Math.max(CARRY_OCTETS, needed, this.#carry.length * 2));
      larger.set(this.#carry.subarray(0, this.#carried));
      this.#carry = larger;
    }
    this.#carry.set(bytes.subarray(from, end), this.#carried);
    this.#carried = needed;
  }

  #block(b: Uint8Array, from: number, to: number): void {
    if (this.#phase === "trailers") {
      const fields: string[] = [];
      readFieldLines(b, from, to - 2, fields, this.#limits.fieldsMax);
      for (let i = 0; i < fields.length; i += 2) if (neverInTrailers(fields[i] ?? "")) throw new H1Error(400, `${fields[i] ?? ""} in trailers`);
      if (fields.length > 0) this.#sink.trailers(fields);
      return this.#end();
    }
    this.#emptyLines = 0;
    const framing = this.#sink.head(b, from, to);
    if (framing === undefined || this.#phase !== "head") return; // another head, or stopped meanwhile
    if (framing === CHUNKED) return this.#beginChunkLine();
    if (framing === UNTIL_CLOSE) this.#phase = "until-close";
    else if (framing === TUNNEL) this.#phase = "tunnel";
    else if (framing === 0) this.#end();
    else {
      this.#phase = "length";
      this.#left = framing;
    }
  }

  #readData(bytes: Uint8Array, at: number): number {
    const n = Math.min(this.#left, bytes.length - at);
    this.#left -= n;
    this.#sink.data(at === 0 && n === bytes.length ? bytes : bytes.subarray(at, at + n));
    if (this.#left > 0) return at + n;
    if (this.#phase === "length") this.#end();
    else if (this.#phase === "chunk-data") {
      this.#phase = "chunk-end";
      this.#sawCr = false;
    }
    return at + n;
  }

  #beginChunkLine(): void {
    this.#phase = "chunk-line";
    this.#size = 0;
    this.#digits = 0;
    this.#lineOctets = 0;
    this.#sawCr = false;
    this.#extension = "none";
  }

  /** Digits, extensions that are passed over, CRLF. */
  #readChunkLine(bytes: Uint8Array, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const c = bytes[at] ?? 0;
      if (++this.#lineOctets > CHUNK_LINE_MAX) throw new H1Error(400, "a chunk's size line is too long");
      if (this.#sawCr) {
        if (c !== LF || this.#digits === 0) throw new H1Error(400, "a chunk's size line is broken");
        this.#chunk();
        return at + 1;
      }
      if (c === CR) {
        if (this.#extension === "name" || this.#extension === "value") throw new H1Error(400, "a chunk extension is not complete");
        this.#sawCr = true;
      } else if (this.#extension !== "none" || (c === SEMICOLON && this.#digits > 0)) this.#readExtension(c);
      else {
        const digit = hexDigit(c);
        if (digit < 0 || ++this.#digits > CHUNK_DIGITS_MAX) throw new H1Error(400, "a chunk size is not a hexadecimal number");
        this.#size = this.#size * 16 + digit;
      }
    }
    return bytes.length;
  }

  /** Tokens only: `;name` and `;name=value`, as others read them too. Nobody uses them. */
  #readExtension(c: number): void {
    const token = NAME[c] !== 0;
    if (token) {
      if (this.#extension === "name") this.#extension = "in-name";
      else if (this.#extension === "value") this.#extension = "in-value";
    } else if (c === SEMICOLON && this.#extension !== "name" && this.#extension !== "value") this.#extension = "name";
    else if (c === EQUALS && this.#extension === "in-name") this.#extension = "value";
    else throw new H1Error(400, "a chunk extension has an octet that is not allowed");
  }

  #chunk(): void {
    this.#left = this.#size;
    this.#phase = this.#size === 0 ? "trailers" : "chunk-data";
  }

  #end(): void {
    this.#phase = "ended";
    this.#sink.end();
  }
}

/** The offset behind the first CR LF CR LF of `b[from, …)`, or -1. Of four octets in a row one is looked at. */
function emptyLineEnd(b: Uint8Array, from: number): number {
  for (let at = from + 3; at < b.length; at += 4) {
    if ((b[at] ?? 0) > CR) continue;
    for (let start = at - 3; start <= at; start++) if (b[start] === CR && b[start + 1] === LF && b[start + 2] === CR && b[start + 3] === LF) return start + 4;
  }
  return -1;
}

const SEMICOLON = 59;
const EQUALS = 61;

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
