// Owns the octets of lines on their way out: each part is written where it will be read from, so that no line is ever a text of its own.

/** Lines that wait when they are more than so many octets go out before the turn's end. */
const FULL_OCTETS = 64 << 10;
/** What one line may add to that. A part that does not fit goes out by itself, behind what came before it. */
const LINE_OCTETS = 192 << 10;
/** A UTF-16 unit is at most so many octets of UTF-8. */
const OCTETS_OF_UNIT = 3;
/** Longer texts are quicker written by the buffer itself than one character after the other. */
const BY_HAND_MAX = 32;

export class LineBuffer {
  readonly #bytes = Buffer.allocUnsafeSlow(FULL_OCTETS + LINE_OCTETS);
  readonly #out: (lines: Uint8Array) => void;
  #used = 0;

  /** `out` may not keep what it gets. */
  constructor(out: (lines: Uint8Array) => void) {
    this.#out = out;
  }

  /** In UTF-8. */
  text(text: string): void {
    if (!this.#fits(text.length * OCTETS_OF_UNIT)) return this.#out(Buffer.from(text));
    if (text.length > BY_HAND_MAX || !this.#ascii(text)) this.#used += this.#bytes.write(text, this.#used);
  }

  octets(octets: Uint8Array): void {
    if (!this.#fits(octets.length)) return this.#out(octets);
    this.#bytes.set(octets, this.#used);
    this.#used += octets.length;
  }

  /** A line ends here. */
  end(): void {
    if (this.#used > FULL_OCTETS) this.flush();
  }

  flush(): void {
    const used = this.#used;
    this.#used = 0;
    if (used > 0) this.#out(this.#bytes.subarray(0, used));
  }

  /** There is room, if need be after what waits went out; false: there never is. */
  #fits(octets: number): boolean {
    if (this.#used + octets <= this.#bytes.length) return true;
    this.flush();
    return octets <= this.#bytes.length;
  }

  /** False: it is not, and nothing was written. */
  #ascii(text: string): boolean {
    const bytes = this.#bytes;
    let at = this.#used;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[at++] = code;
    }
    this.#used = at;
    return true;
  }
}
