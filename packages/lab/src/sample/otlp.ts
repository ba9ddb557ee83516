// Owns reading spans off an OTLP request (opentelemetry.proto.collector.trace.v1): only what the sample's collector says of them.

export interface Span { readonly traceId: string; readonly spanId: string; readonly parentId: string; readonly name: string; readonly ms: number; readonly attributes: Readonly<Record<string, string | number>> }

type Field = { readonly number: number; readonly bytes: Uint8Array; readonly value: bigint };

/** Throws on octets that are no protobuf message. */
export function spansIn(request: Uint8Array): Span[] {
  return inner(request, 1).flatMap((resourceSpans) => inner(resourceSpans, 2)).flatMap((scopeSpans) => inner(scopeSpans, 2)).map(spanOf);
}

function spanOf(bytes: Uint8Array): Span {
  const fields = fieldsOf(bytes);
  const text = (n: number, encoding: BufferEncoding): string => Buffer.from(fields.find((f) => f.number === n)?.bytes ?? []).toString(encoding);
  const at = (n: number): bigint => fields.find((f) => f.number === n)?.value ?? 0n;
  return {
    traceId: text(1, "hex"), spanId: text(2, "hex"), parentId: text(4, "hex"), name: text(5, "utf8"), ms: Number((at(8) - at(7)) / 1000n) / 1000,
    attributes: Object.fromEntries(fields.filter((f) => f.number === 9).map((f) => attributeOf(f.bytes))),
  };
}

function attributeOf(bytes: Uint8Array): [string, string | number] {
  const fields = fieldsOf(bytes);
  const value = fieldsOf(fields.find((f) => f.number === 2)?.bytes ?? new Uint8Array())[0];
  return [Buffer.from(fields.find((f) => f.number === 1)?.bytes ?? []).toString(), value === undefined ? "" : value.number === 1 ? Buffer.from(value.bytes).toString() : Number(value.value)];
}

const inner = (bytes: Uint8Array, number: number): Uint8Array[] => fieldsOf(bytes).filter((f) => f.number === number).map((f) => f.bytes);

function fieldsOf(bytes: Uint8Array): Field[] {
  const out: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const octet = bytes[at++];
      if (octet === undefined) throw new Error("cut off");
      value |= BigInt(octet & 0x7f) << shift;
      if (octet < 0x80) return value;
    }
    throw new Error("a number without end");
  };
  while (at < bytes.length) {
    const key = varint();
    const number = Number(key >> 3n);
    const wire = Number(key & 7n);
    const none = new Uint8Array();
    if (wire === 0) out.push({ number, bytes: none, value: varint() });
    else if (wire === 1 || wire === 5) {
      const length = wire === 1 ? 8 : 4;
      if (at + length > bytes.length) throw new Error("cut off");
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, length);
      out.push({ number, bytes: none, value: length === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true)) });
      at += length;
    } else if (wire === 2) {
      const length = Number(varint());
      if (at + length > bytes.length) throw new Error("cut off");
      out.push({ number, bytes: bytes.subarray(at, at + length), value: 0n });
      at += length;
    } else throw new Error(`wire type ${wire}`);
  }
  return out;
}
