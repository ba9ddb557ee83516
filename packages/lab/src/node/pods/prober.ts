// Owns the rhythm of one probe of one running container: when it is tried, what its results add up to.
import type { Clock, Timer } from "@ambit/runtime";
import type { HandlerResult } from "../handlers.ts";
import type { Probe } from "../plan/pod-spec.ts";
import { initialProbe, stepProbe, timing, type ProbeKind, type ProbeState } from "../plan/probe.ts";

/**
 * A readiness probe that has not succeeded yet is also tried between its periods, at growing distances, so that a pod that needs 300 ms
 * to listen does not wait 10 s. Such a try only counts when it succeeds.
 */
const EARLY_FIRST_MS = 100;
const EARLY_GROWTH = 2;

export class Prober {
  readonly kind: ProbeKind;
  readonly spec: Probe;
  state: ProbeState;
  readonly #clock: Clock;
  readonly #run: (timeoutMs: number) => Promise<HandlerResult>;
  readonly #result: (prober: Prober, result: HandlerResult) => void;
  #timer: Timer | undefined;
  #stopped = false;
  #earlyMs = EARLY_FIRST_MS;
  /** When the next try of the regular rhythm is due. */
  #dueMs = 0;

  constructor(kind: ProbeKind, spec: Probe, clock: Clock, run: (timeoutMs: number) => Promise<HandlerResult>, onResult: (prober: Prober, result: HandlerResult) => void) {
    this.kind = kind;
    this.spec = spec;
    this.state = initialProbe(kind);
    this.#clock = clock;
    this.#run = run;
    this.#result = onResult;
  }

  /** `ranForMs`: how long the container has run already (an adopted one does not wait again). */
  start(ranForMs: number): void {
    this.#schedule(Math.max(0, timing(this.spec).initialDelayMs - ranForMs));
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(delayMs: number): void {
    if (!this.#stopped) this.#timer = this.#clock.after(delayMs, () => void this.#try());
  }

  async #try(): Promise<void> {
    const result = await this.#run(timing(this.spec).timeoutMs);
    if (this.#stopped) return;
    const regular = this.#clock.monotonic() >= this.#dueMs;
    if (regular) this.#dueMs = this.#clock.monotonic() + timing(this.spec).periodMs;
    if (regular || result.ok) this.state = stepProbe(this.state, result.ok, this.spec);
    const waiting = this.kind === "readiness" && this.state.last !== true;
    const untilDueMs = this.#dueMs - this.#clock.monotonic();
    if (waiting) this.#earlyMs *= EARLY_GROWTH;
    this.#schedule(waiting ? Math.min(this.#earlyMs, untilDueMs) : result.ok && !regular ? timing(this.spec).periodMs : untilDueMs);
    if (regular || result.ok) this.#result(this, result);
  }
}
