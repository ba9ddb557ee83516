// Owns DER (X.690), the part of it that certificates and requests are made of: written minimal, read strictly.

export const TAG = {
  boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, sequence: 0x30, set: 0x31, utcTime: 0x17, generalizedTime: 0x18,
} as const;

export interface Element {
  readonly tag: number;
  /** Without tag and length. */
  readonly content: Buffer;
  /** With them. */
  readonly whole: Buffer;
}

/** Throws on what DER forbids: indefinite or padded lengths, lengths beyond the end, tags of more than one byte. */
export function readElement(bytes: Buffer, at = 0): { element: Element; next: number } {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) throw new Error(`an element at ${at} is cut short`);
  if ((tag & 0x1f) === 0x1f) throw new Error(`a tag of several bytes at ${at}`);
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > LENGTH_BYTES_MAX || start + count > bytes.length) throw new Error(`a length of ${count} bytes at ${at}`);
    length = bytes.readUIntBE(start, count);
    start += count;
    if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) throw new Error(`a padded length at ${at}`);
  }
  const next = start + length;
  if (next > bytes.length) throw new Error(`an element at ${at} reaches past the end`);
  return { element: { tag, content: bytes.subarray(start, next), whole: bytes.subarray(at, next) }, next };
}

/** Four bytes of length are 4 GiB: more than any input that gets here. */
const LENGTH_BYTES_MAX = 4;

/** Exactly the elements inside `parent`, which must have this tag; nothing may follow them. */
export function readChildren(parent: Element, tag: number, what: string): Element[] {
  if (parent.tag !== tag) throw new Error(`${what} is not what it should be (tag ${parent.tag})`);
  const out: Element[] = [];
  for (let at = 0; at < parent.content.length; ) {
    const { element, next } = readElement(parent.content, at);
    out.push(element);
    at = next;
  }
  return out;
}

/** One element that is all of `bytes`. */
export function readWhole(bytes: Buffer, what: string): Element {
  const { element, next } = readElement(bytes);
  if (next !== bytes.length) throw new Error(`${what} is followed by ${bytes.length - next} bytes`);
  return element;
}

export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  const n = body.length;
  const head = n < 0x80 ? [tag, n] : n < 0x100 ? [tag, 0x81, n] : n < 0x10000 ? [tag, 0x82, n >> 8, n & 0xff] : [tag, 0x83, n >> 16, (n >> 8) & 0xff, n & 0xff];
  return Buffer.concat([Buffer.from(head), body]);
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(TAG.sequence, ...parts);
export const octets = (bytes: Uint8Array): Buffer => der(TAG.octets, bytes);
export const bits = (bytes: Uint8Array, unused = 0): Buffer => der(TAG.bits, Buffer.from([unused]), bytes);
export const TRUE = Buffer.from([TAG.boolean, 1, 0xff]);
/** `[n]`: constructed for nested content, else primitive. */
export const context = (n: number, constructed: boolean, ...parts: readonly Uint8Array[]): Buffer => der(0x80 | (constructed ? 0x20 : 0) | n, ...parts);

/** An unsigned big-endian number. */
export function integer(bytes: Uint8Array): Buffer {
  return (bytes[0] ?? 0) >= 0x80 ? der(TAG.integer, Buffer.from([0]), bytes) : der(TAG.integer, bytes);
}

export function oid(text: string): Buffer {
  const [a = 0, b = 0, ...rest] = text.split(".").map(Number);
  const out = [a * 40 + b];
  for (const value of rest) {
    const groups = [value & 0x7f];
    for (let v = value >>> 7; v > 0; v >>>= 7) groups.unshift((v & 0x7f) | 0x80);
    out.push(...groups);
  }
  return der(TAG.oid, Buffer.from(out));
}

/** Whole seconds; UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
export function time(epochMs: number): Buffer {
  const digits = new Date(epochMs).toISOString().replace(/[-:T]|\.\d+/g, "");
  return digits < "2050" ? der(TAG.utcTime, Buffer.from(digits.slice(2))) : der(TAG.generalizedTime, Buffer.from(digits));
}
