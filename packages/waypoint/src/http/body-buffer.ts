// Owns the part of a request's body that must be kept: until it can be sent, or because it may have to be sent again.
import { CHECKED_BODY_MAX_OCTETS } from "@ambit/core";

/** A body up to this size can be sent again, octets: Envoy's default. */
export const RETRY_BODY_MAX_OCTETS = 1 << 20;
/** All bodies kept for retries of one process: beyond it requests go on, without retries. */
export const RETRY_BODIES_MAX_OCTETS = 64 << 20;
/** Of a body that nobody takes yet so much is read before the client must wait. */
export const WAITING_BODY_OCTETS = 64 << 10;

/** Of a body so much can be shown to a checker, or copied to a mirror before the plan; Istio's own examples ask for 4 KiB. */
export const BODY_PEEK_MAX_OCTETS = CHECKED_BODY_MAX_OCTETS;

/** Octets kept by all requests together. */
export class KeptOctets {
  now = 0;
}

export class BodyBuffer {
  readonly #all: KeptOctets;
  /** Most requests have no body. */
  #pieces: Uint8Array[] | undefined;
  /** The first piece that the current attempt has not got. */
  #next = 0;
  octets = 0;
  /** Pieces stay after they were sent. */
  #keep: boolean;

  constructor(all: KeptOctets, keep: boolean) {
    this.#all = all;
    this.#keep = keep;
  }

  /** Everything since the first octet is here: another attempt can begin. */
  get replayable(): boolean {
    return this.#keep;
  }

  get waiting(): boolean {
    return this.#pieces !== undefined && this.#next < this.#pieces.length;
  }

  push(bytes: Uint8Array): void {
    if (this.#keep && (this.octets + bytes.length > RETRY_BODY_MAX_OCTETS || this.#all.now + bytes.length > RETRY_BODIES_MAX_OCTETS)) this.dontKeep();
    (this.#pieces ??= []).push(bytes);
    this.octets += bytes.length;
    this.#all.now += bytes.length;
  }

  /** No more attempts: what was sent is let go. */
  dontKeep(): void {
    if (!this.#keep) return;
    this.#keep = false;
    this.#drop(this.#next);
  }

  /** The next piece for the current attempt. */
  take(): Uint8Array | undefined {
    const piece = this.#pieces?.[this.#next];
    if (piece === undefined) return undefined;
    if (this.#keep) this.#next++;
    else this.#drop(1);
    return piece;
  }

  /** Another attempt begins. */
  rewind(): void {
    this.#next = 0;
  }

  /** The first octets, up to `maxOctets`, without taking them. */
  peek(maxOctets: number): Uint8Array {
    const out = new Uint8Array(Math.min(maxOctets, this.octets));
    let at = 0;
    for (const piece of this.#pieces ?? []) {
      if (at === out.length) break;
      const part = piece.subarray(0, out.length - at);
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  clear(): void {
    this.#keep = false;
    this.#all.now -= this.octets;
    this.octets = 0;
    this.#pieces = undefined;
    this.#next = 0;
  }

  #drop(count: number): void {
    if (count === 0 || this.#pieces === undefined) return;
    if (count >= this.#pieces.length) return this.clear();
    for (const piece of this.#pieces.splice(0, count)) {
      this.octets -= piece.length;
      this.#all.now -= piece.length;
    }
    this.#next = Math.max(0, this.#next - count);
  }
}
