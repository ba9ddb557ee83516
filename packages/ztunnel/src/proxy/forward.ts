// Owns the last phase of every connection: bytes flow, are counted, and the end is recorded.
import { MeshError, type FaultCode } from "@ambit/core";
import { copyBidirectional, TunnelRefused, type Refusal } from "@ambit/hbone";
import type { Clock, Fields } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { ConnectionRecord } from "../telemetry/connection-record.ts";
import { describeDenial, Ended, type Live, type Permit } from "./connections.ts";

/** `downstream` is the client's side. Inbound bytes need a permit; outbound ones are judged at the other end. */
export async function forward(o: {
  readonly downstream: ByteStream;
  readonly upstream: ByteStream;
  readonly live: Live;
  readonly record: ConnectionRecord;
  readonly clock: Clock;
  readonly permit: Permit | "outbound";
}): Promise<void> {
  const { record } = o;
  record.opened();
  o.live.measure(() => record.bytes);
  const result = await copyBidirectional(o.downstream, o.upstream, {
    signal: o.live.ended, clock: o.clock, gently: (reason) => reason instanceof Ended && reason.gently,
    onBytes: (direction, octets) => (direction === "ab" ? record.received(octets) : record.sent(octets)),
  });
  // Resets and abrupt closes while bytes flow are the applications' own affair; being ended by us is not.
  if (result.endedBy !== "abort" && !(result.error instanceof MeshError && OURS.has(result.error.code))) return record.finish({});
  recordEnding(record, result.error);
}

/** Ends that the mesh makes, at either side: they are told. */
const OURS: ReadonlySet<FaultCode> = new Set<FaultCode>(["policy-revoked", "cert-revoked", "trust-changed"]);

export function recordEnding(record: ConnectionRecord, error: unknown): void {
  if (error instanceof Ended && error.verdict !== undefined)
    return record.finish({ code: error.code, error: error.message, fields: describeDenial(error.verdict).fields });
  if (error instanceof TunnelRefused)
    return record.finish({ code: error.code, error: error.message, fields: describeRefusal(error.refusal) });
  record.fail(error, "drained");
}

/** What the destination's proxy told of its refusal, as fields of the client's own line. */
function describeRefusal(r: Refusal | undefined): Fields {
  if (r === undefined) return {};
  return { "dst.code": r.code, ...(r.policy === undefined ? {} : { policy: r.policy }), ...(r.reason === undefined ? {} : { "policy.reason": r.reason }) };
}
