// Owns noticing that the event loop was held: how long, and by which of the works that are known to take long.
import type { Clock, Timer } from "./clock.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** How often the loop is looked at. A look costs a microsecond. */
export const LOOK_EVERY_MS = 100;
/** Longer than this, and connections have noticed: said in the log. */
export const HELD_MS = 250;
const BUCKETS_S: readonly number[] = [0.005, 0.02, 0.05, 0.1, 0.25, 1];

/** Ends the process if it is not told again and again that the loop came round. `work`: what runs, if that has a name. */
export interface LoopGuard {
  beat(work: string | undefined): void;
  /** No beat, but other work. */
  at(work: string | undefined): void;
}

export class LoopWatch {
  readonly #clock: Clock;
  readonly #guard: LoopGuard | undefined;
  #longest: { readonly name: string; readonly ms: number } | undefined;
  #running: string | undefined;

  constructor(clock: Clock, guard?: LoopGuard) {
    this.#clock = clock;
    this.#guard = guard;
  }

  /** Runs work that may hold the loop, under a name for the log. */
  during<T>(name: string, work: () => T): T {
    const began = this.#clock.monotonic();
    const outer = this.#running;
    this.#guard?.at((this.#running = name));
    try {
      return work();
    } finally {
      this.#guard?.at((this.#running = outer));
      const ms = this.#clock.monotonic() - began;
      if (ms > (this.#longest?.ms ?? 0)) this.#longest = { name, ms };
    }
  }

  /** Until the returned timer is cancelled. */
  start(metrics: Metrics, log: Logger): Timer {
    const lag = metrics.histogram("ambit_event_loop_lag_seconds", "How late the event loop came to a timer.", BUCKETS_S).with({});
    let due = this.#clock.monotonic() + LOOK_EVERY_MS;
    this.#guard?.beat(undefined);
    return this.#clock.every(LOOK_EVERY_MS, () => {
      const now = this.#clock.monotonic();
      const late = Math.max(0, now - due);
      const longest = this.#longest;
      this.#longest = undefined;
      due = now + LOOK_EVERY_MS;
      lag.observe(late / 1000);
      this.#guard?.beat(undefined);
      if (late >= HELD_MS)
        log.warn("the event loop was held", { held_ms: Math.round(late), ...(longest === undefined ? {} : { longest_work: longest.name, longest_work_ms: Math.round(longest.ms) }) });
    });
  }
}
