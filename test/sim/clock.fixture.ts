// Owns virtual time: timers in order of their time, promises settled in between, wall clocks that may be skewed from it.
import type { Clock, Timer } from "@ambit/runtime";

interface Task { readonly at: number; readonly order: number; readonly run: () => void; cancelled: boolean }

export class SimClock implements Clock {
  #now: number;
  #order = 0;
  #heap: Task[] = [];
  /** Periodic tasks run at most this often: late timers are allowed, and a year has many seconds. */
  readonly everyMinMs: number;

  constructor(start = Date.UTC(2026, 0, 1), everyMinMs = 0) {
    this.#now = start;
    this.everyMinMs = everyMinMs;
  }

  now = (): number => this.#now;
  monotonic = (): number => this.#now;

  after(delayMs: number, run: () => void): Timer {
    const task: Task = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run, cancelled: false };
    this.#push(task);
    return { cancel: () => { task.cancelled = true; } };
  }

  every(periodMs: number, run: () => void): Timer {
    const period = Math.max(periodMs, this.everyMinMs);
    let over = false;
    const step = (): void => {
      if (over) return;
      run();
      timer = this.after(period, step);
    };
    let timer = this.after(period, step);
    return { cancel: () => { over = true; timer.cancel(); } };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const timer = this.after(delayMs, resolve);
      signal?.addEventListener("abort", () => { timer.cancel(); reject(signal.reason as Error); }, { once: true });
    });
  }

  /** The same time on a wall clock that is off by this much; timers go by the true time. */
  skewed(byMs: () => number): Clock {
    return { now: () => this.#now + byMs(), monotonic: this.monotonic, after: (ms, run) => this.after(ms, run), every: (ms, run) => this.every(ms, run), sleep: (ms, signal) => this.sleep(ms, signal) };
  }

  /** Runs what is due until then. `settled` may cost time (promises of real work): it is awaited after every task. */
  async advance(ms: number, settled: () => Promise<void> = turn): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end) break;
      this.#pop();
      if (next.cancelled) continue;
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await settled();
    }
    this.#now = end;
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let i = heap.push(task) - 1;
    for (; i > 0; ) {
      const parent = (i - 1) >> 1;
      const above = heap[parent] as Task;
      if (before(above, task)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = task;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Task, heap[child] as Task)) child++;
      if (before(last, heap[child] as Task)) break;
      heap[i] = heap[child] as Task;
      i = child;
    }
    heap[i] = last;
  }
}

const before = (a: Task, b: Task): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** All promise reactions that are due. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
