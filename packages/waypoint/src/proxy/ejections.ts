// Owns outlier detection over all destinations: outcomes in, endpoints that sit out for a while.
import { trafficSettings, type Backend, type ServiceKey, type WorkloadUid } from "@ambit/core";
import type { Clock, Logger, Metrics, Timer } from "@ambit/runtime";
import type { AttemptOutcome } from "../http/options.ts";
import { judgeOutcome, OutlierDetector } from "../resilience/outlier.ts";
import type { WaypointState } from "../state/waypoint-state.ts";

/** How often ejections are looked at; each detector's own interval is a multiple of it in effect. */
const SWEEP_MS = 1_000;

interface Watched { readonly detector: OutlierDetector; readonly service: ServiceKey; sweptAt: number; intervalMs: number }

export class Ejections {
  readonly #state: WaypointState;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #watched = new Map<string, Watched>();
  readonly #timer: Timer;
  readonly #ejected;

  constructor(o: { readonly state: WaypointState; readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics }) {
    this.#state = o.state;
    this.#clock = o.clock;
    this.#log = o.log;
    this.#ejected = o.metrics.counter("ambit_waypoint_ejections_total", "Endpoints ejected by outlier detection.");
    this.#timer = o.clock.every(SWEEP_MS, () => this.#sweep());
  }

  close(): void {
    this.#timer.cancel();
  }

  isEjected(backend: Backend, uid: WorkloadUid): boolean {
    return this.#watched.size > 0 && this.#watched.get(nameOf(backend))?.detector.isEjected(uid) === true;
  }

  /** `backend`: what the endpoint was chosen for. */
  record(outcome: AttemptOutcome, backend: Backend): void {
    const { service } = backend;
    const uid = outcome.endpoint.workload?.uid;
    const outlier = trafficSettings(this.#state.config?.traffic.get(service), backend).outlier;
    if (uid === undefined || outlier === undefined) {
      if (this.#watched.size > 0) this.#watched.delete(nameOf(backend));
      return;
    }
    const name = nameOf(backend);
    let watched = this.#watched.get(name);
    if (watched === undefined) this.#watched.set(name, (watched = { detector: new OutlierDetector(outlier), service, sweptAt: this.#clock.now(), intervalMs: outlier.intervalMs }));
    watched.detector.configure(outlier);
    watched.intervalMs = outlier.intervalMs;
    const until = watched.detector.record(uid, judgeOutcome(outcome), this.#state.view().members(service).length, this.#clock.now());
    if (until === undefined) return;
    this.#ejected.with({ destination: service }).inc();
    this.#log.info("endpoint ejected", { workload: uid, service, until: new Date(until).toISOString() });
  }

  #sweep(): void {
    const now = this.#clock.now();
    const view = this.#state.view();
    for (const w of this.#watched.values()) {
      if (now - w.sweptAt < w.intervalMs) continue;
      w.sweptAt = now;
      w.detector.sweep(now);
      const members = new Set(view.members(w.service).map((m) => m.workloadUid));
      w.detector.retain((uid) => members.has(uid));
    }
  }
}

const nameOf = (b: Backend): string => `${b.service} ${b.port} ${b.subset ?? ""}`;
