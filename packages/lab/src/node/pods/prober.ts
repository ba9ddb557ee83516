// Owns the rhythm of one probe of one running container: when it is tried, what its results add up to.
import type { Clock, Timer } from "@ambit/runtime";
import type { HandlerResult } from "../handlers.ts";
import type { Probe } from "../plan/pod-spec.ts";
import { initialProbe, stepProbe, timing, type ProbeKind, type ProbeState } from "../plan/probe.ts";

export class Prober {
  readonly kind: ProbeKind;
  readonly spec: Probe;
  state: ProbeState;
  readonly #clock: Clock;
  readonly #run: (timeoutMs: number) => Promise<HandlerResult>;
  readonly #result: (prober: Prober, result: HandlerResult) => void;
  #timer: Timer | undefined;
  #stopped = false;

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
    this.state = stepProbe(this.state, result.ok, this.spec);
    this.#schedule(timing(this.spec).periodMs);
    this.#result(this, result);
  }
}
