// Owns the little of protobuf and gRPC framing that a hundred fast clients need: names and versions out of responses, requests as bytes.

export const DELTA_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

export function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Cuts gRPC messages out of what arrives. */
export class Unframer {
  #rest: Buffer = Buffer.alloc(0);
  *push(chunk: Buffer): Generator<Buffer> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 5) {
      const length = this.#rest.readUInt32BE(1);
      if (this.#rest.length < 5 + length) return;
      const message = this.#rest.subarray(5, 5 + length);
      this.#rest = this.#rest.subarray(5 + length);
      yield message;
    }
  }
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}
export const field = (number: number, bytes: Uint8Array): Buffer => Buffer.concat([Buffer.from([(number << 3) | 2, ...varint(bytes.length)]), bytes]);

/** Every length-delimited field: number and content. Varint fields are stepped over. */
export function* fields(b: Buffer): Generator<[number, Buffer]> {
  for (let at = 0; at < b.length; ) {
    const next = (): number => { let value = 0; for (let shift = 0; ; shift += 7) { const byte = b[at++] ?? 0; value |= (byte & 127) << shift; if (byte < 128) return value; } };
    const tag = next();
    if ((tag & 7) === 0) { next(); continue; }
    if ((tag & 7) !== 2) throw new Error(`wire type ${tag & 7}`);
    const length = next();
    yield [tag >> 3, b.subarray(at, at + length)];
    at += length;
  }
}

export interface Response { readonly typeUrl: string; readonly nonce: Buffer; readonly partial: boolean; readonly resources: readonly Buffer[]; readonly removed: number }

export function response(b: Buffer): Response {
  let typeUrl = "";
  let nonce: Buffer = Buffer.alloc(0);
  let partial = false;
  let removed = 0;
  const resources: Buffer[] = [];
  for (const [number, content] of fields(b)) {
    if (number === 1) partial = content.at(-1) === 0x2b;
    else if (number === 2) resources.push(content);
    else if (number === 4) typeUrl = content.toString("latin1");
    else if (number === 5) nonce = content;
    else if (number === 6) removed++;
  }
  return { typeUrl, nonce, partial, resources, removed };
}

/** Name and version of a Resource. */
export function nameAndVersion(resource: Buffer): [string, string] {
  let name = "";
  let version = "";
  for (const [number, content] of fields(resource)) {
    if (number === 3) name = content.toString("utf8");
    else if (number === 1) version = content.toString("latin1");
  }
  return [name, version];
}
