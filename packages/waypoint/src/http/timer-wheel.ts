// Owns deadlines of many requests: one coarse tick for all of them, which runs only while there are any.
import type { Clock, Timer } from "@ambit/runtime";

/** A deadline comes at most about so late. */
export const TICK_MS = 20;

export interface Deadline {
  cancel(): void;
}

class Entry implements Deadline {
  readonly #set: Set<Entry>;
  readonly task: () => void;

  constructor(set: Set<Entry>, task: () => void) {
    this.#set = set;
    this.task = task;
    set.add(this);
  }

  cancel(): void {
    this.#set.delete(this);
  }
}

export class TimerWheel {
  readonly #clock: Clock;
  /** By tick number; a set that became empty goes with its tick. */
  readonly #ticks = new Map<number, Set<Entry>>();
  #timer: Timer | undefined;
  #done = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Deadlines that may still come. */
  get pending(): number {
    let all = 0;
    for (const set of this.#ticks.values()) all += set.size;
    return all;
  }

  /** Runs `task` once, `delayMs` from now, a little late but never early. */
  after(delayMs: number, task: () => void): Deadline {
    const now = this.#clock.monotonic();
    if (this.#timer === undefined) {
      this.#done = Math.floor(now / TICK_MS);
      this.#timer = this.#clock.every(TICK_MS, () => this.#turn());
    }
    const tick = Math.max(Math.floor((now + delayMs) / TICK_MS), this.#done) + 1;
    let set = this.#ticks.get(tick);
    if (set === undefined) this.#ticks.set(tick, (set = new Set()));
    return new Entry(set, task);
  }

  #turn(): void {
    const now = Math.floor(this.#clock.monotonic() / TICK_MS);
    // After a long stop there are more ticks to make up than entries.
    if (now - this.#done > this.#ticks.size) for (const tick of [...this.#ticks.keys()].filter((t) => t <= now).sort((a, b) => a - b)) this.#run(tick);
    else for (let tick = this.#done + 1; tick <= now; tick++) this.#run(tick);
    this.#done = now;
    if (this.#ticks.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #run(tick: number): void {
    const set = this.#ticks.get(tick);
    if (set === undefined) return;
    this.#ticks.delete(tick);
    for (const entry of set) entry.task(); // those that an earlier task cancels are gone from the set
  }
}
