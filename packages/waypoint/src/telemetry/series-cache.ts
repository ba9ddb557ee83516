// Owns what of a request's telemetry is the same from one request to the next, so that its labels are built once and not for each.
import { sameIdentity, type Identity, type TelemetrySettings, type Workload } from "@ambit/core";
import type { ConnectionFacts } from "../facts.ts";
import type { RequestRecord } from "../http/options.ts";
import { flagsOf } from "./labels.ts";

/** Kept at most; then all are forgotten and built again as they come. Holds old versions of workloads no longer than that. */
export const KEPT_MAX = 4_096;
/** Outcomes kept of one client, destination and endpoint: a server that answers with every status there is must not make the look-up slow. */
export const OUTCOMES_MAX = 32;

interface Outcome<T> {
  readonly peer: Identity; readonly settings: TelemetrySettings["metrics"];
  readonly grpc: boolean; readonly status: number; readonly grpcStatus: number | undefined; readonly flags: string; readonly value: T;
}
type Destination = ConnectionFacts["destination"];
type Party = Workload | Extract<Destination, { kind: "service" }>["service"] | undefined;

/** By the objects that labels are read from: another version of a workload is another object. */
export class SeriesCache<T> {
  readonly #make: (r: RequestRecord, settings: TelemetrySettings["metrics"]) => T;
  #bySource = new Map<Party, Map<Party, Map<Party, Outcome<T>[]>>>();
  #kept = 0;

  constructor(make: (r: RequestRecord, settings: TelemetrySettings["metrics"]) => T) {
    this.#make = make;
  }

  of(r: RequestRecord, settings: TelemetrySettings["metrics"]): T {
    const { connection, grpc } = r.facts;
    const { destination } = connection;
    const outcomes = this.#outcomes(connection.sourceWorkload, destination.kind === "service" ? destination.service : destination.workload, r.endpoint?.workload);
    const flags = flagsOf(r);
    for (const o of outcomes)
      if (o.status === r.status && o.grpc === grpc && o.grpcStatus === r.grpcStatus && o.settings === settings && o.flags === flags && (o.peer === connection.peer || sameIdentity(o.peer, connection.peer))) return o.value;
    const value = this.#make(r, settings);
    if (outcomes.length >= OUTCOMES_MAX) this.#kept -= outcomes.splice(0).length;
    if (this.#kept >= KEPT_MAX) {
      this.#bySource = new Map();
      this.#kept = 0;
      return value;
    }
    outcomes.push({ peer: connection.peer, settings, grpc, status: r.status, grpcStatus: r.grpcStatus, flags, value });
    this.#kept++;
    return value;
  }

  #outcomes(source: Party, destination: Party, endpoint: Party): Outcome<T>[] {
    let byDestination = this.#bySource.get(source);
    if (byDestination === undefined) this.#bySource.set(source, (byDestination = new Map()));
    let byEndpoint = byDestination.get(destination);
    if (byEndpoint === undefined) byDestination.set(destination, (byEndpoint = new Map()));
    let outcomes = byEndpoint.get(endpoint);
    if (outcomes === undefined) byEndpoint.set(endpoint, (outcomes = []));
    return outcomes;
  }
}
