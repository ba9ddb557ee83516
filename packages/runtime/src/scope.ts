// Owns lifetimes: a scope counts the holds that keep it open, drains gracefully, then aborts.
import type { Clock } from "./clock.ts";
import { Roster } from "./roster.ts";

export interface Hold extends Disposable {
  readonly name: string;
}

export class Scope {
  readonly name: string;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #draining = new AbortController();
  readonly #holds = new Roster<SeatedHold>();
  #idle: (() => void)[] = [];

  constructor(name: string, clock: Clock) {
    this.name = name;
    this.#clock = clock;
  }

  /** Aborted when the scope is over: everything in it must stop now. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Aborted when draining begins: stop accepting, finish what is under way. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Names of what still keeps the scope open. */
  get held(): string[] {
    return [...this.#holds].map((h) => h.name);
  }

  hold(name: string): Hold {
    const hold = new SeatedHold(name, this.#release);
    this.#holds.add(hold);
    return hold;
  }

  readonly #release = (hold: SeatedHold): void => {
    if (!this.#holds.delete(hold) || this.#holds.size > 0) return;
    const waiters = this.#idle;
    this.#idle = [];
    for (const wake of waiters) wake();
  };

  /** Waits for every hold, at most `deadlineMs`, then aborts the scope. Returns the holds that were cut. */
  async drain(deadlineMs: number): Promise<string[]> {
    if (!this.#draining.signal.aborted) this.#draining.abort(new Error(`${this.name} is draining`));
    if (this.#holds.size > 0 && deadlineMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(deadlineMs, resolve, { hold: true });
        this.#idle.push(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    const cut = this.held;
    this.end();
    return cut;
  }

  /** Ends the scope at once. */
  end(): void {
    if (!this.#draining.signal.aborted) this.#draining.abort(new Error(`${this.name} ended`));
    if (!this.#abort.signal.aborted) this.#abort.abort(new Error(`${this.name} ended`));
  }
}

class SeatedHold implements Hold {
  readonly name: string;
  readonly #release: (hold: SeatedHold) => void;
  seat = -1;

  constructor(name: string, release: (hold: SeatedHold) => void) {
    this.name = name;
    this.#release = release;
  }

  [Symbol.dispose](): void {
    this.#release(this);
  }
}
