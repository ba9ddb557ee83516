// Owns the telemetry of one connection: its counters while it lives and its one access line when it ends.
import { faultRow, formatIdentity, formatSocketAddress, MeshError, type FaultCode, type SocketAddress } from "@ambit/core";
import { errorText, type Clock, type Fields, type Logger } from "@ambit/runtime";
import type { Parties, TrafficCounters, TrafficMetrics } from "./traffic-metrics.ts";

export interface RecordFacts extends Parties {
  readonly src: SocketAddress;
  readonly dst: SocketAddress;
  /** The authority of the tunnel, if there is one. */
  readonly hboneAddr: string | undefined;
  /** Correlates the lines of both ztunnels. */
  readonly traceId: string | undefined;
}

export interface Outcome {
  readonly code?: FaultCode;
  readonly error?: string;
  /** The policy (and rule) that decided a denial. */
  readonly fields?: Fields;
}

export interface Telemetry {
  readonly metrics: TrafficMetrics;
  /** Scope `access`. */
  readonly access: Logger;
  readonly clock: Clock;
  /** The event of opening at info instead of debug. */
  readonly openAtInfo?: boolean;
}

/** Made when enough is known; disposed when the connection is over. Nobody set an outcome: it was drained. */
export class ConnectionRecord implements Disposable {
  readonly #t: Telemetry;
  #facts: RecordFacts;
  readonly #startedMs: number;
  #counters: TrafficCounters | undefined;
  #received = 0;
  #sent = 0;
  #outcome: Outcome | undefined;
  #notes: Fields = {};
  #over = false;

  constructor(telemetry: Telemetry, facts: RecordFacts) {
    this.#t = telemetry;
    this.#facts = facts;
    this.#startedMs = telemetry.clock.monotonic();
  }

  /** What came to light while the upstream was opened, before `opened`. */
  learn(facts: Partial<RecordFacts>): void {
    this.#facts = { ...this.#facts, ...facts };
  }

  /** Bytes will be forwarded from now on. */
  opened(): void {
    this.#counters = this.#t.metrics.open(this.#facts);
    const level = this.#t.openAtInfo === true ? "info" : "debug";
    if (this.#t.access.enabled(level)) this.#t.access[level]("connection opened", this.#fields());
  }

  /** From the client towards the server. */
  received(bytes: number): void {
    this.#received += bytes;
    this.#counters?.received.inc(bytes);
  }

  /** From the server towards the client. */
  sent(bytes: number): void {
    this.#sent += bytes;
    this.#counters?.sent.inc(bytes);
  }

  /** So far. */
  get bytes(): { readonly received: number; readonly sent: number } {
    return { received: this.#received, sent: this.#sent };
  }

  /** More for the access line. */
  note(fields: Fields): void {
    this.#notes = { ...this.#notes, ...fields };
  }

  /** The first outcome stands. */
  finish(outcome: Outcome): void {
    this.#outcome ??= outcome;
  }

  fail(error: unknown, fallback: FaultCode): void {
    this.finish({ code: error instanceof MeshError ? error.code : fallback, error: failureText(error) });
  }

  [Symbol.dispose](): void {
    if (this.#over) return;
    this.#over = true;
    const outcome = this.#outcome ?? { code: "drained", error: "connection closed due to connection drain" };
    // As Istio's: whatever got as far as a line was opened and closed; a flag says that it failed.
    const { metrics } = this.#t;
    metrics.close(this.#facts, this.#counters ?? metrics.open(this.#facts), outcome.code === undefined ? "-" : faultRow(outcome.code).flag);
    this.#line(outcome);
  }

  #line(outcome: Outcome): void {
    const fields = this.#fields();
    // Seen from the local workload: what the client sends is "sent" on the source's side and "received" on the destination's.
    const [up, down] = [this.#received, this.#sent];
    const source = this.#facts.reporter === "source";
    fields["bytes_sent"] = source ? up : down;
    fields["bytes_recv"] = source ? down : up;
    fields["duration"] = `${Math.round(this.#t.clock.monotonic() - this.#startedMs)}ms`;
    put(fields, "error", outcome.error);
    put(fields, "code", outcome.code);
    Object.assign(fields, this.#notes, outcome.fields);
    if (outcome.error !== undefined) this.#t.access.error("connection complete", fields);
    else this.#t.access.info("connection complete", fields);
  }

  #fields(): Record<string, unknown> {
    const f = this.#facts;
    const beyond = f.destinationClaims;
    const fields: Record<string, unknown> = { "src.addr": formatSocketAddress(f.src) };
    put(fields, "src.workload", f.source?.name ?? f.sourceClaims?.workload?.name);
    put(fields, "src.namespace", f.source?.namespace ?? f.sourceIdentity?.namespace);
    put(fields, "src.identity", f.mutualTls && f.sourceIdentity ? formatIdentity(f.sourceIdentity) : undefined);
    put(fields, "src.cluster", f.source?.clusterId ?? f.sourceClaims?.cluster);
    fields["dst.addr"] = formatSocketAddress(f.dst);
    put(fields, "dst.hbone_addr", f.hboneAddr);
    put(fields, "dst.service", f.service?.hostname);
    put(fields, "dst.workload", beyond?.workload?.name ?? f.destination?.name);
    put(fields, "dst.namespace", beyond === undefined ? f.destination?.namespace : f.destinationIdentity?.namespace);
    put(fields, "dst.identity", f.mutualTls && f.destinationIdentity ? formatIdentity(f.destinationIdentity) : undefined);
    put(fields, "dst.cluster", beyond?.cluster ?? f.destination?.clusterId);
    fields["direction"] = f.reporter === "source" ? "outbound" : "inbound";
    put(fields, "id", f.traceId);
    return fields;
  }
}

/** A MeshError's own sentence says it all, and its code is a field of its own. */
export const failureText = (error: unknown): string => (error instanceof MeshError ? error.message : errorText(error));

/** For a connection that died before its parties were known. */
export function earlyDenial(access: Logger, src: string, dst: string, direction: "inbound" | "outbound", outcome: Outcome): void {
  access.warn("connection failed", { "src.addr": src, "dst.addr": dst, direction, error: outcome.error, code: outcome.code });
}

/** Unset and empty values are left out. */
function put(fields: Record<string, unknown>, key: string, value: string | undefined): void {
  if (value !== undefined && value !== "") fields[key] = value;
}
