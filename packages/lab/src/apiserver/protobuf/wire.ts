// Owns the reading of protobuf's wire format: bounded, and refusing what is malformed.

/** Thrown for bytes that are not a message of the expected shape; names the byte offset. */
export class WireError extends Error {}

export type WireValue = { readonly kind: "varint" | "fixed64" | "fixed32"; readonly bits: bigint } | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** Calls `field` with every field of a message, in order. */
export function readFields(message: Uint8Array, field: (number: number, value: WireValue) => void): void {
  let at = 0;
  while (at < message.length) {
    const tag = readVarint(message, at);
    at = tag.next;
    const number = Number(tag.value >> 3n);
    const wireType = Number(tag.value & 7n);
    if (number === 0) throw new WireError(`byte ${at}: field number 0`);
    if (wireType === 0) {
      const { value, next } = readVarint(message, at);
      at = next;
      field(number, { kind: "varint", bits: value });
    } else if (wireType === 1 || wireType === 5) {
      const width = wireType === 1 ? 8 : 4;
      const bytes = take(message, at, width);
      at += width;
      const view = new DataView(bytes.buffer, bytes.byteOffset, width);
      if (width === 8) field(number, { kind: "fixed64", bits: view.getBigUint64(0, true) });
      else field(number, { kind: "fixed32", bits: BigInt(view.getUint32(0, true)) });
    } else if (wireType === 2) {
      const { value, next } = readVarint(message, at);
      const length = Number(value);
      const bytes = take(message, next, length);
      at = next + length;
      field(number, { kind: "bytes", bytes });
    } else throw new WireError(`byte ${at}: wire type ${wireType}`);
  }
}

function take(message: Uint8Array, at: number, length: number): Uint8Array {
  if (at + length > message.length) throw new WireError(`byte ${at}: ${length} bytes announced, ${message.length - at} left`);
  return message.subarray(at, at + length);
}

const MAX_VARINT_BYTES = 10;

function readVarint(message: Uint8Array, start: number): { value: bigint; next: number } {
  // Lengths and tags are nearly always one or two bytes: plain numbers for those.
  const first = message[start];
  if (first !== undefined && first < 0x80) return { value: BigInt(first), next: start + 1 };
  let value = 0n;
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const byte = message[start + i];
    if (byte === undefined) throw new WireError(`byte ${start + i}: the message ends inside a number`);
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) return { value: BigInt.asUintN(64, value), next: start + i + 1 };
  }
  throw new WireError(`byte ${start}: a number longer than ${MAX_VARINT_BYTES} bytes`);
}
