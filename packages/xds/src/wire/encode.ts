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

/** Of DeltaDiscoveryResponse, all length-delimited: system_version_info 1, type_url 4, nonce 5, removed_resources 6, control_plane 7 with identifier 1. */
const TAG = { version: 0x0a, typeUrl: 0x22, nonce: 0x2a, removed: 0x32, controlPlane: 0x3a, identifier: 0x0a } as const;

/**
 * By hand, because every push to every proxy passes here and the library takes a large buffer for each message: the few fields around the
 * encoded resources, then those. A field that is empty is left out, as proto3 does.
 */
export function encodeResponse(p: ResponseParts): Buffer {
  const version = p.partial ? `${p.version}${PARTIAL_MARK}` : p.checksum === undefined ? p.version : `${p.version}${CHECKSUM_MARK}${p.checksum}`;
  const parts: Uint8Array[] = [];
  if (version !== "") parts.push(textField(TAG.version, version));
  if (p.typeUrl !== "") parts.push(textField(TAG.typeUrl, p.typeUrl));
  if (p.nonce !== "") parts.push(textField(TAG.nonce, p.nonce));
  for (const name of p.removed) parts.push(textField(TAG.removed, name));
  if (p.controlPlane !== "") {
    const inner = textField(TAG.identifier, p.controlPlane);
    parts.push(Buffer.from([TAG.controlPlane]), varint(inner.length), inner);
  }
  return Buffer.concat([...parts, ...p.resources]);
}

function textField(tag: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([tag]), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const out: number[] = [];
  for (let v = value; ; v = Math.floor(v / 128)) {
    if (v < 128) return Buffer.from([...out, v]);
    out.push((v % 128) | 0x80);
  }
}

export const asBuffer = (u: Uint8Array): Buffer => Buffer.from(u.buffer, u.byteOffset, u.byteLength);
