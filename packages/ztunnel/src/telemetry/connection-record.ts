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
  #notes: Fields | undefined;
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

  /** `finish`, and over. */
  end(outcome: Outcome): void {
    this.finish(outcome);
    this[Symbol.dispose]();
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
    // Seen from the local workload: what the client sends is "sent" on the source's side and "received" on the destination's.
    const source = this.#facts.reporter === "source";
    const fields: Record<string, unknown> = this.#fields();
    fields["bytes_sent"] = source ? this.#received : this.#sent;
    fields["bytes_recv"] = source ? this.#sent : this.#received;
    fields["duration"] = `${Math.round(this.#t.clock.monotonic() - this.#startedMs)}ms`;
    fields["error"] = set(outcome.error);
    fields["code"] = outcome.code;
    if (this.#notes !== undefined) Object.assign(fields, this.#notes);
    if (outcome.fields !== undefined) Object.assign(fields, outcome.fields);
    if (outcome.error !== undefined) this.#t.access.error("connection complete", fields);
    else this.#t.access.info("connection complete", fields);
  }

  /** In one go, so that V8 makes it at its full size: the last five belong to the end of a connection. */
  #fields(): Record<string, unknown> {
    const f = this.#facts;
    const beyond = f.destinationClaims;
    return {
      "src.addr": formatSocketAddress(f.src),
      "src.workload": set(f.source?.name ?? f.sourceClaims?.workload?.name),
      "src.namespace": set(f.source?.namespace ?? f.sourceIdentity?.namespace),
      "src.identity": f.mutualTls && f.sourceIdentity ? formatIdentity(f.sourceIdentity) : undefined,
      "src.cluster": set(f.source?.clusterId ?? f.sourceClaims?.cluster),
      "dst.addr": formatSocketAddress(f.dst),
      "dst.hbone_addr": set(f.hboneAddr),
      "dst.service": set(f.service?.hostname),
      "dst.workload": set(beyond?.workload?.name ?? f.destination?.name),
      "dst.namespace": set(beyond === undefined ? f.destination?.namespace : f.destinationIdentity?.namespace),
      "dst.identity": f.mutualTls && f.destinationIdentity ? formatIdentity(f.destinationIdentity) : undefined,
      "dst.cluster": set(beyond?.cluster ?? f.destination?.clusterId),
      direction: f.reporter === "source" ? "outbound" : "inbound",
      id: set(f.traceId),
      bytes_sent: undefined, bytes_recv: undefined, duration: undefined, error: undefined, code: undefined,
    };
  }
}

/** A MeshError's own sentence says it all, and its code is a field of its own. */
export const failureText = (error: unknown): string => (error instanceof MeshError ? error.message : errorText(error));

/** For a connection that died before its parties were known. */
export function earlyDenial(access: Logger, src: string, dst: string, direction: "inbound" | "outbound", outcome: Outcome): void {
  access.warn("connection failed", { "src.addr": src, "dst.addr": dst, direction, error: outcome.error, code: outcome.code });
}

/** What is unset or empty is left out: no log writes `undefined`. */
const set = (value: string | undefined): string | undefined => (value === "" ? undefined : value);
