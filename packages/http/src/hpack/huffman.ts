// Owns Huffman coding of HPACK strings (RFC 7541 §5.2): decoding by nibble table, encoding by code.
import { codeLengths, codes, EOS } from "./huffman-code.ts";

/** Padding is a prefix of EOS (all ones) shorter than this many bits. */
const PADDING_BITS_MAX = 7;

/*
 * A decoder state is an inner node of the code tree. `next[state * 16 + nibble]` holds the state after the nibble in its low bits, the symbol
 * completed on the way (plus one) above; the shortest code has 5 bits, so a nibble completes one symbol at most. Negative: refused.
 */
const STATE_BITS = 9;
const STATE_MASK = (1 << STATE_BITS) - 1;
const REFUSED = -1;
const { next, mayEnd } = buildTables();

function buildTables(): { next: Int32Array; mayEnd: Uint8Array } {
  const children: (number | undefined)[] = [undefined, undefined]; // node n: [2n] and [2n+1]; a leaf is -1 - symbol
  for (let symbol = 0; symbol <= EOS; symbol++) {
    const length = codeLengths[symbol] ?? 0;
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit--) {
      const slot = node * 2 + (((codes[symbol] ?? 0) >>> bit) & 1);
      if (bit === 0) children[slot] = -1 - symbol;
      else {
        if (children[slot] === undefined) {
          children[slot] = children.length / 2;
          children.push(undefined, undefined);
        }
        node = children[slot];
      }
    }
  }
  const states = children.length / 2;
  const table = new Int32Array(states * 16);
  for (let state = 0; state < states; state++) for (let nibble = 0; nibble < 16; nibble++) table[state * 16 + nibble] = walk(children, state, nibble);
  const ends = new Uint8Array(states);
  for (let bits = 0, node = 0; bits <= PADDING_BITS_MAX; bits++, node = children[node * 2 + 1] ?? 0) ends[node] = 1;
  return { next: table, mayEnd: ends };
}

function walk(children: readonly (number | undefined)[], state: number, nibble: number): number {
  let node = state;
  let symbol = REFUSED;
  for (let bit = 3; bit >= 0; bit--) {
    const child = children[node * 2 + ((nibble >> bit) & 1)] ?? 0;
    if (child === -1 - EOS) return REFUSED;
    if (child < 0) symbol = -1 - child;
    node = child < 0 ? 0 : child;
  }
  return node | ((symbol + 1) << STATE_BITS);
}

/**
 * Decodes `bytes[from, to)` into `out` (which must have room for `outMax` octets). Returns the number of octets, `TOO_LONG` when there are more than
 * `outMax`, or `INVALID` for an EOS symbol or wrong padding.
 */
export function decodeHuffman(bytes: Uint8Array, from: number, to: number, out: Uint8Array, outMax: number): number {
  let state = 0;
  let length = 0;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] ?? 0;
    for (let half = 4; half >= 0; half -= 4) {
      const step = next[state * 16 + ((byte >> half) & 15)] ?? REFUSED;
      if (step < 0) return INVALID;
      state = step & STATE_MASK;
      const symbol = step >> STATE_BITS;
      if (symbol > 0) {
        if (length >= outMax) return TOO_LONG;
        out[length++] = symbol - 1;
      }
    }
  }
  return mayEnd[state] === 1 ? length : INVALID;
}
export const INVALID = -1;
export const TOO_LONG = -2;

/** Octets that the Huffman form of latin-1 `text` takes. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += codeLengths[text.charCodeAt(i)] ?? 0;
  return (bits + 7) >> 3;
}

/** Writes the Huffman form of latin-1 `text` at `out[at]`; returns the offset behind it. */
export function encodeHuffman(text: string, out: Uint8Array, at: number): number {
  let pending = 0; // fewer than 8 bits
  let count = 0;
  let offset = at;
  const put = (code: number, length: number): void => {
    pending = (pending << length) | code;
    count += length;
    while (count >= 8) {
      count -= 8;
      out[offset++] = pending >>> count;
    }
    pending &= (1 << count) - 1;
  };
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i);
    const code = codes[symbol] ?? 0;
    const length = codeLengths[symbol] ?? 0;
    if (length > 16) put(code >>> 16, length - 16); // 32-bit arithmetic: never more than 7 + 16 bits at once
    put(length > 16 ? code & 0xffff : code, Math.min(length, 16));
  }
  if (count > 0) put((1 << (8 - count)) - 1, 8 - count);
  return offset;
}
