// Owns the octets of a connection that wait to be sent: small pieces packed together, large payloads referenced, all taken once per turn.
import { FRAME_HEADER_OCTETS } from "./h2/frame.ts";
import { knownLine, rememberLine } from "./known-lines.ts";
import { memory } from "./memory.ts";

/** What a connection packs into is cut from a slab that all share: an idle connection holds nothing, a busy one allocates rarely. */
const SLAB_OCTETS = 32 << 10;
/** What is cut at a time; the rest goes back when the output is taken. A head with a small body fits. */
const CUT_OCTETS = 2048;
/** A connection on which much waits cuts as much again as it has, up to this: many streams leave in few pieces. */
const CUT_MAX_OCTETS = 8 << 10;
/** Payloads up to this size are copied behind their header: cheaper than one more piece for the system call. */
const COPY_MAX = 2048;
/** Copies up to this size octet by octet: a view and a call of the engine cost more. */
const LOOP_MAX = 48;

const EMPTY = new Uint8Array(0);
let slab: Uint8Array = EMPTY;
let slabUsed = 0;

/** Octets of text as they are sent: control characters other than HTAB become `?`. */
const SENT = new Uint8Array(256);
for (let c = 0; c < 256; c++) SENT[c] = (c < 0x20 && c !== 9) || c === 0x7f ? 0x3f : c;

/** Latin-1 text to `b[at]`; returns the offset behind it. */
function put(b: Uint8Array, at: number, text: string): number {
  let to = at;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    b[to++] = c > 0xff ? 0x3f : (SENT[c] ?? 0);
  }
  return to;
}

export class Output {
  #pieces: Uint8Array[] = [];
  /** `#pack[#from, #to)` waits; up to `#end` is ours. */
  #pack: Uint8Array = EMPTY;
  #from = 0;
  #to = 0;
  #end = 0;
  #octets = 0;

  /** Octets waiting. */
  get octets(): number {
    return this.#octets;
  }

  header(length: number, type: number, flags: number, id: number): void {
    this.#room(FRAME_HEADER_OCTETS);
    const b = this.#pack;
    let at = this.#to;
    b[at++] = length >>> 16;
    b[at++] = length >>> 8;
    b[at++] = length;
    b[at++] = type;
    b[at++] = flags;
    b[at++] = id >>> 24;
    b[at++] = id >>> 16;
    b[at++] = id >>> 8;
    b[at++] = id;
    this.#advance(at);
  }

  uint16(value: number): void {
    this.#room(2);
    this.#pack[this.#to] = value >>> 8;
    this.#pack[this.#to + 1] = value;
    this.#advance(this.#to + 2);
  }

  uint32(value: number): void {
    this.uint16(value >>> 16);
    this.uint16(value & 0xffff);
  }

  /** `bytes[from, to)`, always copied: the source may be reused at once. */
  copy(bytes: Uint8Array, from = 0, to = bytes.length): void {
    const length = to - from;
    this.#room(length);
    const b = this.#pack;
    if (length <= LOOP_MAX) for (let i = 0, at = this.#to; i < length; i++) b[at + i] = bytes[from + i] ?? 0;
    else b.set(length === bytes.length ? bytes : bytes.subarray(from, to), this.#to);
    this.#advance(this.#to + length);
  }

  /** Latin-1. Control characters other than HTAB, and characters above U+00FF, become `?`: what was not checked breaks no framing. */
  text(text: string): void {
    this.#room(text.length);
    this.#advance(put(this.#pack, this.#to, text));
  }

  /** `name: value` CR LF, as `text`. */
  line(name: string, value: string): void {
    this.#room(name.length + value.length + 4);
    const b = this.#pack;
    const from = this.#to;
    const known = knownLine(name, value);
    if (known !== undefined) {
      b.set(known, from);
      return this.#advance(from + known.length);
    }
    let at = put(b, from, name);
    b[at++] = 0x3a;
    b[at++] = 0x20;
    at = put(b, at, value);
    b[at++] = 0x0d;
    b[at++] = 0x0a;
    rememberLine(name, value, b, from, at);
    this.#advance(at);
  }

  /** CR LF. */
  newLine(): void {
    this.uint16(0x0d0a);
  }

  /** May keep a reference: the source must not change any more. */
  payload(bytes: Uint8Array): void {
    if (bytes.length <= COPY_MAX) return this.copy(bytes);
    this.#cut();
    this.#pieces.push(bytes);
    this.#octets += bytes.length;
  }

  /** Everything that waits, in order. What was taken is never written to again. */
  take(): Uint8Array[] {
    this.#cut();
    if (this.#pack === slab && this.#end === slabUsed) slabUsed = this.#to;
    this.#pack = EMPTY;
    this.#from = this.#to = this.#end = 0;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#octets = 0;
    return pieces;
  }

  #room(octets: number): void {
    if (this.#to + octets > this.#end) this.#enlarge(octets);
  }

  #enlarge(octets: number): void {
    const wanted = Math.max(octets, CUT_OCTETS, Math.min(this.#octets, CUT_MAX_OCTETS));
    // Nobody cut behind us: the piece grows where it is.
    if (this.#pack === slab && this.#end === slabUsed && this.#to + octets <= slab.length) {
      this.#end = slabUsed = Math.min(slab.length, this.#to + wanted);
      return;
    }
    this.#cut();
    if (octets > CUT_MAX_OCTETS) return this.#own(new Uint8Array(octets), 0, octets);
    if (slabUsed + octets > slab.length) {
      const { buffer, byteOffset } = memory(SLAB_OCTETS);
      slab = new Uint8Array(buffer, byteOffset, SLAB_OCTETS); // a plain array: its parts are cheaper than those of the shell's kind
      slabUsed = 0;
    }
    const from = slabUsed;
    slabUsed = Math.min(slab.length, from + wanted);
    this.#own(slab, from, slabUsed);
  }

  #own(pack: Uint8Array, from: number, end: number): void {
    this.#pack = pack;
    this.#from = this.#to = from;
    this.#end = end;
  }

  #advance(to: number): void {
    this.#octets += to - this.#to;
    this.#to = to;
  }

  #cut(): void {
    if (this.#to === this.#from) return;
    this.#pieces.push(this.#pack.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }
}
