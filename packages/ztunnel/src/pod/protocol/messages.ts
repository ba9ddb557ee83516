// Owns the packets of the pod protocol (ZDS): the node agent's requests in, our hello and acknowledgements out.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@ambit/core";
import { zds } from "@ambit/proto";
import type { PodInfo } from "@ambit/proxy/state";

/** Both sides read into buffers of this size; what does not fit is a violation. */
export const PACKET_MAX_BYTES = 1024;

export type PodRequest =
  | { readonly kind: "add"; readonly uid: string; readonly info: PodInfo }
  | { readonly kind: "keep"; readonly uid: string }
  | { readonly kind: "del"; readonly uid: string }
  | { readonly kind: "snapshot-sent" };

export interface Arrived { readonly data: Uint8Array; readonly descriptors: number; readonly truncated: boolean }

/** Exactly one descriptor comes with `add`, none with anything else. The error text says what broke the protocol. */
export function decodeRequest(packet: Arrived): Result<PodRequest, string> {
  if (packet.truncated) return err(`the packet is longer than ${PACKET_MAX_BYTES} bytes or carries too many descriptors`);
  let payload: zds.WorkloadRequest["payload"];
  try {
    payload = fromBinary(zds.WorkloadRequestSchema, packet.data).payload;
  } catch (error) {
    return err(`the packet of ${packet.data.length} bytes is no WorkloadRequest: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (payload.case === undefined) return err("the request says neither add, keep, del nor snapshot_sent");
  const expected = payload.case === "add" ? 1 : 0;
  if (packet.descriptors !== expected) return err(`${payload.case} came with ${packet.descriptors} file descriptors instead of ${expected}`);
  if (payload.case === "snapshotSent") return ok({ kind: "snapshot-sent" });
  const { uid } = payload.value;
  if (uid === "") return err(`${payload.case} has no uid`);
  if (payload.case !== "add") return ok({ kind: payload.case, uid });
  const info = payload.value.workloadInfo;
  if (info === undefined) return err(`add of ${uid} has no workload_info`);
  if (info.name === "" || info.namespace === "") return err(`add of ${uid} names no pod`);
  return ok({ kind: "add", uid, info: { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount } });
}

export const encodeHello = (): Uint8Array => toBinary(zds.ZdsHelloSchema, create(zds.ZdsHelloSchema, { version: zds.Version.V1 }));

/** An error text must leave room in a packet for the rest of the message. */
const ERROR_MAX_CHARS = 300;

/** Without an error: success. */
export function encodeAck(error = ""): Uint8Array {
  return toBinary(zds.WorkloadResponseSchema, create(zds.WorkloadResponseSchema, {
    payload: { case: "ack", value: create(zds.AckSchema, { error: error.slice(0, ERROR_MAX_CHARS) }) },
  }));
}
