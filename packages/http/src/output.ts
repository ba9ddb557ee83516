// Owns the octets of a connection that wait to be sent: small pieces packed together, large payloads referenced, all taken once per turn.
import { FRAME_HEADER_OCTETS } from "./h2/frame.ts";

/** What a connection packs into is cut from a slab that all share: an idle connection holds nothing, a busy one allocates rarely. */
const SLAB_OCTETS = 32 << 10;
/** What is cut at a time; the rest goes back when the output is taken. A head with a small body fits. */
const CUT_OCTETS = 2048;
/** Payloads up to this size are copied behind their header: cheaper than one more piece for the system call. */
const COPY_MAX = 1024;

const EMPTY = new Uint8Array(0);
let slab: Uint8Array = EMPTY;
let slabUsed = 0;

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

  /** Always copies: the source may be reused at once. */
  copy(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#pack.set(bytes, this.#to);
    this.#advance(this.#to + bytes.length);
  }

  /** Latin-1. Control characters other than HTAB, and characters above U+00FF, become `?`: what was not checked breaks no framing. */
  text(text: string): void {
    const length = text.length;
    this.#room(length);
    const b = this.#pack;
    let at = this.#to;
    for (let i = 0; i < length; i++) {
      const c = text.charCodeAt(i);
      b[at++] = (c < 0x20 && c !== 9) || c === 0x7f || c > 0xff ? 0x3f : c;
    }
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
    if (this.#to + octets <= this.#end) return;
    // Nobody cut behind us: the piece grows where it is.
    if (this.#pack === slab && this.#end === slabUsed && this.#to + octets <= slab.length) {
      this.#end = slabUsed = Math.min(slab.length, this.#to + Math.max(octets, CUT_OCTETS));
      return;
    }
    this.#cut();
    if (octets > CUT_OCTETS) this.#own(new Uint8Array(octets), 0, octets);
    else {
      if (slabUsed + CUT_OCTETS > slab.length) {
        slab = new Uint8Array(SLAB_OCTETS);
        slabUsed = 0;
      }
      this.#own(slab, slabUsed, slabUsed + CUT_OCTETS);
      slabUsed += CUT_OCTETS;
    }
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
