// Owns what octets may be where in a head, and making text of them without a new string for what is well known.

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;

/** RFC 9110 §5.6.2 token characters, each with its lower-case form; 0: not one. */
export const NAME: Uint8Array = new Uint8Array(256);
/** Field content: SP, HTAB, VCHAR, obs-text. No control characters at all. */
export const VALUE: Uint8Array = new Uint8Array(256);
/** VCHAR without `#`: what a request target may be made of. */
export const TARGET: Uint8Array = new Uint8Array(256);

for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") NAME[c.charCodeAt(0)] = c.charCodeAt(0);
for (let c = 65; c <= 90; c++) NAME[c] = c + 32;
VALUE[HTAB] = 1;
for (let c = 0x20; c < 0x100; c++) VALUE[c] = c === 0x7f ? 0 : 1;
for (let c = 0x21; c < 0x7f; c++) TARGET[c] = c === 0x23 ? 0 : 1;

/** `String.fromCharCode` takes its octets as arguments: so many at a time. */
const APPLY_MAX = 4096;

/** What shells read into can make text by itself (node's Buffer): one call and no view, where the way below costs both. */
interface Latin1Source { latin1Slice(from: number, to: number): string }
const isLatin1Source = (bytes: Uint8Array): bytes is Uint8Array & Latin1Source => "latin1Slice" in bytes;

/** Latin-1. */
export function text(bytes: Uint8Array, from: number, to: number): string {
  if (isLatin1Source(bytes)) return bytes.latin1Slice(from, to);
  if (to - from <= APPLY_MAX) return String.fromCharCode.apply(null, bytes.subarray(from, to) as unknown as number[]);
  let all = "";
  for (let i = from; i < to; i += APPLY_MAX) all += String.fromCharCode.apply(null, bytes.subarray(i, Math.min(to, i + APPLY_MAX)) as unknown as number[]);
  return all;
}

/** Text that is a field name as HTTP/2 and we write it: a token in lower case. */
export function isFieldName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    if (c === 0 || NAME[c] !== c) return false;
  }
  return name !== "";
}

/** Text that is a field value: no control characters but HTAB, no blank at either end, latin-1. */
export function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (VALUE[value.charCodeAt(i)] !== 1) return false;
  const first = value.charCodeAt(0);
  const end = value.charCodeAt(value.length - 1);
  return first !== SP && first !== HTAB && end !== SP && end !== HTAB;
}
