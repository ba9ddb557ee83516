// Owns the last phase of every connection: bytes flow, are counted, and the end is recorded.
import { MeshError, type FaultCode } from "@ambit/core";
import { copyBidirectional, TunnelRefused, type CopyOptions, type CopyResult, type Refusal } from "@ambit/hbone";
import type { Clock, Fields, StopSignal } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { ConnectionRecord, Outcome } from "../telemetry/connection-record.ts";
import { describeDenial, Ended, type Live, type Permit } from "./connections.ts";

/** A connection whose upstream is open. `downstream` is the client's side. Inbound bytes need a permit; outbound ones are judged at the other end. */
export interface Opened {
  readonly downstream: ByteStream;
  readonly upstream: ByteStream;
  readonly live: Live;
  readonly record: ConnectionRecord;
  readonly clock: Clock;
  readonly permit: Permit | "outbound";
}

/** Never rejects. Ends the record and the listing: they live exactly as long as the connection from here on. */
export async function forward(o: Opened): Promise<void> {
  const { record, live } = o;
  record.opened();
  live.measure(record);
  try {
    conclude(record, await copyBidirectional(o.downstream, o.upstream, new Carried(o)));
  } finally {
    live[Symbol.dispose]();
    record[Symbol.dispose]();
  }
}

const gently = (reason: unknown): boolean => reason instanceof Ended && reason.gently;

/** What a copy needs to know; thousands are idle at once, so it shares what it can. */
class Carried implements CopyOptions {
  readonly signal: StopSignal;
  readonly clock: Clock;
  readonly gently = gently;
  readonly #record: ConnectionRecord;

  constructor({ live, clock, record }: Opened) {
    this.signal = live.ended;
    this.clock = clock;
    this.#record = record;
  }

  onBytes(direction: "ab" | "ba", octets: number): void {
    if (direction === "ab") this.#record.received(octets);
    else this.#record.sent(octets);
  }
}

function conclude(record: ConnectionRecord, result: CopyResult): void {
  // Resets and abrupt closes while bytes flow are the applications' own affair; being ended by us is not.
  if (result.endedBy !== "abort" && !(result.error instanceof MeshError && OURS.has(result.error.code))) return record.finish(PEACE);
  recordEnding(record, result.error);
}
const PEACE: Outcome = {};

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
