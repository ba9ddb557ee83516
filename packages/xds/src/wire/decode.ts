// Owns the way in from the wire: delta xDS protobuf bytes to the house's own shapes. Throws on bytes that are not protobuf.
import { discovery } from "@ambit/proto";
import { fromBinary } from "@bufbuild/protobuf";
import type { DeltaRequest, DeltaResponse } from "../protocol/messages.ts";
import { CHECKSUM_MARK, PARTIAL_MARK } from "./encode.ts";
import { splitInitialVersions } from "./initial-versions.ts";
import { splitResources } from "./split-resources.ts";

export function decodeRequest(bytes: Uint8Array): DeltaRequest {
  const { versions, rest } = splitInitialVersions(bytes);
  const m = fromBinary(discovery.DeltaDiscoveryRequestSchema, rest);
  for (const [name, version] of Object.entries(m.initialResourceVersions)) versions.set(name, version);
  return {
    node: m.node === undefined ? undefined : { id: m.node.id, metadata: m.node.metadata ?? {} },
    typeUrl: m.typeUrl,
    subscribe: m.resourceNamesSubscribe,
    unsubscribe: m.resourceNamesUnsubscribe,
    initialVersions: versions,
    nonce: m.responseNonce,
    error: m.errorDetail?.message,
  };
}

/** A resource without a body, or with a body of another type than the response's, is kept with empty bytes and told apart in `misfits`. */
export function decodeResponse(bytes: Uint8Array): { response: DeltaResponse; misfits: { name: string; reason: string }[] } {
  const { resources: cut, rest } = splitResources(bytes);
  const m = fromBinary(discovery.DeltaDiscoveryResponseSchema, rest);
  const misfits: { name: string; reason: string }[] = [];
  const resources = cut.length > 0 ? cut
    : m.resources.map((r) => ({ name: r.name, version: r.version, aliases: r.aliases, typeUrl: r.resource?.typeUrl, bytes: r.resource?.value ?? new Uint8Array() }));
  for (const r of resources) {
    if (r.typeUrl === undefined) misfits.push({ name: r.name, reason: "the resource has no body" });
    else if (r.typeUrl !== m.typeUrl) misfits.push({ name: r.name, reason: `its body is a ${r.typeUrl}` });
  }
  return {
    response: {
      typeUrl: m.typeUrl, nonce: m.nonce, resources, removed: m.removedResources, partial: m.systemVersionInfo.endsWith(PARTIAL_MARK),
      checksum: CHECKSUM.exec(m.systemVersionInfo)?.[1],
    },
    misfits,
  };
}

const CHECKSUM = new RegExp(`${CHECKSUM_MARK}([0-9a-f]{16})$`);
