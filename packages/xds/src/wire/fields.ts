// Owns stepping over the fields of a protobuf message by hand: only the plain form that every encoder writes for texts and messages, anything else is the library's.

/** What stands for bytes that are not UTF-8: the library decides about those. */
export const REPLACEMENT = "\ufffd";

/** Where the last varint that was read ends. */
let end = 0;
export const varintEnd = (): number => end;

/** Up to 28 bits, which is more than any message here has bytes; -1 for anything longer or cut short. */
export function varint(bytes: Buffer, at: number): number {
  let value = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined) return -1;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      end = at;
      return value;
    }
  }
  return -1;
}

/** The end of the field that begins at `at`; only length-delimited fields with tags of one byte are stepped over. */
export function fieldEnd(bytes: Buffer, at: number): number | undefined {
  const tag = bytes[at] ?? 0;
  if ((tag & 7) !== 2 || tag >= 0x80) return undefined;
  const length = varint(bytes, at + 1);
  const next = end + length;
  return length < 0 || next > bytes.length ? undefined : next;
}

/**
 * The message without its fields of one tag octet; `take` gets the place of each, from its tag to its end. undefined: `take` refused one, or the
 * message cannot be read.
 */
export function cutFields(bytes: Buffer, tag: number, take: (at: number, end: number) => boolean): Uint8Array | undefined {
  const rest: Uint8Array[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length; ) {
    const next = fieldEnd(bytes, at);
    if (next === undefined) return undefined;
    if (bytes[at] === tag) {
      if (!take(at, next)) return undefined;
      if (at > from) rest.push(bytes.subarray(from, at));
      from = next;
    }
    at = next;
  }
  if (from < bytes.length) rest.push(bytes.subarray(from));
  const [only] = rest;
  return only !== undefined && rest.length === 1 ? only : Buffer.concat(rest);
}
