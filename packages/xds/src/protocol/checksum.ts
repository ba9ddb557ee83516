// Owns the checksum over what a whole set of resources is: names with versions, in any order, kept up to date entry by entry.
// It finds losses, not forgeries: both ends belong to one mesh and speak over TLS.

/** FNV-1a's offset and prime, and a second start so that two halves make 64 bits. */
const OFFSET = 0x811c9dc5;
const OTHER_OFFSET = 0x3ade68b1;
const PRIME = 0x01000193;

export class SetChecksum {
  #high = 0;
  #low = 0;

  /** Puts an entry in, or takes out one that is in: twice is as if never. */
  toggle(name: string, version: string): void {
    this.#high ^= fold(fold(OFFSET, name), version);
    this.#low ^= fold(fold(OTHER_OFFSET, version), name);
  }

  /** 16 hex digits. */
  get text(): string {
    return hex(this.#high) + hex(this.#low);
  }
}

/** With the length at the end, so that "ab","c" and "a","bc" differ. */
function fold(start: number, text: string): number {
  let h = start;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), PRIME);
  h = Math.imul(h ^ text.length, PRIME);
  // A last stir: XOR of many plain FNV values would keep their pattern.
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return h ^ (h >>> 13);
}

const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, "0");
