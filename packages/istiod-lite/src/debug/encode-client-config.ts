// Owns the wire forms of istioctl's questions over xDS: DiscoveryRequest in, DiscoveryResponse with ClientConfigs out (envoy.service.{discovery,status}.v3).
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ClientStatus } from "@ambit/xds";
import { subscribed } from "./view.ts";

export interface DebugRequest { readonly typeUrl: string; readonly resources: readonly string[]; readonly nonce: string }

/** Names and fields beyond these are of no use here; a request that lists more is noise. */
const RESOURCES_MAX = 16;

/** Throws on bytes that are not protobuf. */
export function decodeDebugRequest(bytes: Uint8Array): DebugRequest {
  const reader = new BinaryReader(bytes);
  const resources: string[] = [];
  let typeUrl = "";
  let nonce = "";
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (field === 3 && wire === WireType.LengthDelimited && resources.length < RESOURCES_MAX) resources.push(reader.string());
    else if (field === 4 && wire === WireType.LengthDelimited) typeUrl = reader.string();
    else if (field === 5 && wire === WireType.LengthDelimited) nonce = reader.string();
    else reader.skip(wire, field);
  }
  return { typeUrl, resources, nonce };
}

export function encodeDebugResponse(r: { typeUrl: string; version: string; nonce: string; identifier: string; resources: readonly { typeUrl: string; value: Uint8Array }[] }): Buffer {
  const w = new BinaryWriter();
  w.tag(1, WireType.LengthDelimited).string(r.version);
  for (const { typeUrl, value } of r.resources) {
    w.tag(2, WireType.LengthDelimited).fork();
    w.tag(1, WireType.LengthDelimited).string(typeUrl).tag(2, WireType.LengthDelimited).bytes(value).join();
  }
  w.tag(4, WireType.LengthDelimited).string(r.typeUrl).tag(5, WireType.LengthDelimited).string(r.nonce);
  w.tag(6, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(r.identifier).join();
  return Buffer.from(w.finish());
}

export const CLIENT_CONFIG = "type.googleapis.com/envoy.service.status.v3.ClientConfig";
/** ConfigStatus of envoy.service.status.v3. */
const STATUS = { synced: 1, notSent: 2, stale: 3, error: 4 } as const;

/** node { id, metadata }, generic_xds_configs [{ type_url, config_status, error_state }]. */
export function encodeClientConfig(c: ClientStatus, about: { clusterId: string; version: string }): Uint8Array {
  const w = new BinaryWriter();
  w.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(c.proxyId);
  w.tag(3, WireType.LengthDelimited).fork();
  for (const [key, value] of [["CLUSTER_ID", about.clusterId], ["NAMESPACE", c.identity.namespace], ["ISTIO_VERSION", about.version]] as const) {
    // Struct.fields: map entry { key, Value { string_value = 3 } }.
    w.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(key);
    w.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string(value).join().join();
  }
  w.join().join();
  for (const [type, s] of subscribed(c)) {
    const status = s.nack !== "" ? STATUS.error : s.sentNonce === "" ? STATUS.notSent : s.sentNonce === s.ackedNonce ? STATUS.synced : STATUS.stale;
    w.tag(3, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(type).tag(6, WireType.Varint).int32(status);
    // UpdateFailureState.details.
    if (s.nack !== "") w.tag(8, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string(s.nack).join();
    w.join();
  }
  return w.finish();
}
