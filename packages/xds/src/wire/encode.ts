// Owns the way out to the wire: delta xDS messages as protobuf bytes. Resources are encoded once per version, not per client.
import { discovery } from "@ambit/proto";
import { create, toBinary, type JsonObject } from "@bufbuild/protobuf";
import type { DeltaRequest, DeltaResource } from "../protocol/messages.ts";

/** Ends system_version_info while more chunks of one push follow. Others ignore the field, so it is free for this. */
export const PARTIAL_MARK = "+";

/** Before the checksum of what the client must hold, at the end of system_version_info. */
export const CHECKSUM_MARK = "#";

/** Field 2 of DeltaDiscoveryResponse, length-delimited. */
const RESOURCES_TAG = 0x12;

export function encodeRequest(r: DeltaRequest): Buffer {
  const message = create(discovery.DeltaDiscoveryRequestSchema, {
    typeUrl: r.typeUrl,
    resourceNamesSubscribe: [...r.subscribe],
    resourceNamesUnsubscribe: [...r.unsubscribe],
    initialResourceVersions: Object.fromEntries(r.initialVersions),
    responseNonce: r.nonce,
    ...(r.node === undefined ? {} : { node: { id: r.node.id, metadata: r.node.metadata as JsonObject } }),
    ...(r.error === undefined ? {} : { errorDetail: { message: r.error } }),
  });
  return asBuffer(toBinary(discovery.DeltaDiscoveryRequestSchema, message));
}

/** One resource as a whole field of the response, tag and length included, ready to be concatenated. */
export function encodeResourceField(r: DeltaResource, typeUrl: string): Buffer {
  const message = create(discovery.ResourceSchema, {
    name: r.name, version: r.version, aliases: [...r.aliases], resource: { typeUrl, value: r.bytes },
  });
  const body = toBinary(discovery.ResourceSchema, message);
  return Buffer.concat([Buffer.from([RESOURCES_TAG]), varint(body.length), body]);
}

export interface ResponseParts {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly version: string;
  readonly removed: readonly string[];
  readonly partial: boolean;
  readonly checksum?: string | undefined;
  /** From encodeResourceField. */
  readonly resources: readonly Uint8Array[];
  /** Empty: not said. */
  readonly controlPlane: string;
}

/** A protobuf message may come in pieces: the encoded resources follow the rest of the response. */
export function encodeResponse(p: ResponseParts): Buffer {
  const head = create(discovery.DeltaDiscoveryResponseSchema, {
    systemVersionInfo: p.partial ? `${p.version}${PARTIAL_MARK}` : p.checksum === undefined ? p.version : `${p.version}${CHECKSUM_MARK}${p.checksum}`,
    typeUrl: p.typeUrl, nonce: p.nonce, removedResources: [...p.removed], ...(p.controlPlane === "" ? {} : { controlPlane: { identifier: p.controlPlane } }),
  });
  return Buffer.concat([toBinary(discovery.DeltaDiscoveryResponseSchema, head), ...p.resources]);
}

function varint(value: number): Buffer {
  const out: number[] = [];
  for (let v = value; ; v = Math.floor(v / 128)) {
    if (v < 128) return Buffer.from([...out, v]);
    out.push((v % 128) | 0x80);
  }
}

export const asBuffer = (u: Uint8Array): Buffer => Buffer.from(u.buffer, u.byteOffset, u.byteLength);
