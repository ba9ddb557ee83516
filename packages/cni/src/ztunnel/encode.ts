// Owns the bytes of ZDS as the agent speaks it (protocol §6.2): requests out, hello and acks in.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@ambit/core";
import { zds } from "@ambit/proto";

export interface PodIdentity { readonly uid: string; readonly name: string; readonly namespace: string; readonly serviceAccount: string }

const request = (payload: NonNullable<zds.WorkloadRequest["payload"]>): Uint8Array =>
  toBinary(zds.WorkloadRequestSchema, create(zds.WorkloadRequestSchema, { payload }));

export const encodeAdd = (pod: PodIdentity): Uint8Array =>
  request({ case: "add", value: create(zds.AddWorkloadSchema, { uid: pod.uid, workloadInfo: { name: pod.name, namespace: pod.namespace, serviceAccount: pod.serviceAccount } }) });
export const encodeKeep = (uid: string): Uint8Array => request({ case: "keep", value: create(zds.KeepWorkloadSchema, { uid }) });
export const encodeDel = (uid: string): Uint8Array => request({ case: "del", value: create(zds.DelWorkloadSchema, { uid }) });
export const encodeSnapshotSent = (): Uint8Array => request({ case: "snapshotSent", value: create(zds.SnapshotSentSchema) });

/** The version a ztunnel greets with; versions above ours are its business. */
export function decodeHello(bytes: Uint8Array): Result<number, string> {
  try {
    const hello = fromBinary(zds.ZdsHelloSchema, bytes);
    return hello.version === zds.Version.NOT_USED ? err("hello without a version") : ok(hello.version);
  } catch (error) {
    return err(`not a ZDS hello: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The ack's error text; empty is success. */
export function decodeAck(bytes: Uint8Array): Result<string, string> {
  try {
    const { payload } = fromBinary(zds.WorkloadResponseSchema, bytes);
    return payload.case === "ack" ? ok(payload.value.error) : err("a ZDS response that is no ack");
  } catch (error) {
    return err(`not a ZDS response: ${error instanceof Error ? error.message : String(error)}`);
  }
}
