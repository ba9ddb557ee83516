// Owns the time of one event: read once when its octets come, and the same for all that follows from them.
import type { Clock } from "@ambit/runtime";

/** Outside of an event, and in timers, the clock itself is read. */
export class EventTime {
  readonly #clock: Clock;
  #held = false;
  #monotonic = 0;
  /** 0: nobody asked yet. */
  #now = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds, as the clock's. */
  get monotonic(): number {
    return this.#held ? this.#monotonic : this.#clock.monotonic();
  }

  get now(): number {
    if (!this.#held) return this.#clock.now();
    if (this.#now === 0) this.#now = this.#clock.now();
    return this.#now;
  }

  /** An event begins. True: the caller is the one to `release`; false: it is part of another one. */
  hold(): boolean {
    if (this.#held) return false;
    this.#held = true;
    this.#monotonic = this.#clock.monotonic();
    this.#now = 0;
    return true;
  }

  release(): void {
    this.#held = false;
  }
}
