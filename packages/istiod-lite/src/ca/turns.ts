// Owns who is worked for next: every caller gets its turn in a circle, so that one node's storm does not hold up the others'.

export interface TurnBounds {
  /** Worked on at once. */
  readonly atOnce: number;
  /** Waiting, over all callers. */
  readonly waiting: number;
  /** Waiting and worked on, of one caller. */
  readonly perCaller: number;
}

export type Turn = { readonly ok: true; done(): void } | { readonly ok: false; readonly reason: string };

interface Caller {
  count: number;
  readonly queue: ((turn: Turn) => void)[];
}

export class Turns {
  readonly #bounds: TurnBounds;
  readonly #later: (task: () => void) => void;
  readonly #callers = new Map<string, Caller>();
  /** Callers with somebody waiting, the next first. */
  readonly #circle = new Set<string>();
  #running = 0;
  #waiting = 0;

  /** `later` runs a task in another turn of the event loop: what else there is to do gets its time between two. */
  constructor(bounds: TurnBounds, later: (task: () => void) => void) {
    this.#bounds = bounds;
    this.#later = later;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves at once when the bounds say no. `done` must be called exactly once. */
  take(name: string): Promise<Turn> {
    const caller = this.#callers.get(name) ?? { count: 0, queue: [] };
    if (caller.count >= this.#bounds.perCaller) return Promise.resolve({ ok: false, reason: `more than ${this.#bounds.perCaller} requests of one caller at once` });
    if (this.#waiting >= this.#bounds.waiting) return Promise.resolve({ ok: false, reason: `more than ${this.#bounds.waiting} requests waiting` });
    this.#callers.set(name, caller);
    caller.count++;
    if (this.#running < this.#bounds.atOnce && this.#waiting === 0) return Promise.resolve(this.#begin(name));
    this.#waiting++;
    this.#circle.add(name);
    return new Promise((resolve) => caller.queue.push(resolve));
  }

  #begin(name: string): Turn {
    this.#running++;
    return { ok: true, done: () => {
      this.#running--;
      const caller = this.#callers.get(name);
      if (caller !== undefined && --caller.count === 0) this.#callers.delete(name);
      if (this.#waiting > 0) this.#later(() => this.#next());
    } };
  }

  #next(): void {
    if (this.#running >= this.#bounds.atOnce) return;
    const [name] = this.#circle;
    if (name === undefined) return;
    this.#circle.delete(name);
    const queue = this.#callers.get(name)?.queue ?? [];
    const resolve = queue.shift();
    if (queue.length > 0) this.#circle.add(name);
    if (resolve === undefined) return;
    this.#waiting--;
    resolve(this.#begin(name));
  }
}
