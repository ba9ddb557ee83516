// Owns the work queue of one controller: each key at most once at a time, retries that slow down, delays by the clock.
import { backoffDelay, errorText, type Clock, type Logger, type Random, type Timer } from "@ambit/runtime";

/** First retry soon enough to go unnoticed; the last so rare that a broken object costs nothing. */
const RETRY = { initialMs: 10, maxMs: 30_000 };
/** Retries up to here are the ordinary life of optimistic locking and are not worth a warning. */
const QUIET_RETRIES = 3;

export interface QueueOptions {
  readonly name: string;
  /** Keys worked on at the same time. */
  readonly workers: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Returns milliseconds after which time alone calls for another look. A throw means "try again later". */
  readonly sync: (key: string) => Promise<number | undefined>;
}

export class WorkQueue {
  readonly #options: QueueOptions;
  /** Insertion order is the order of work. */
  readonly #dirty = new Set<string>();
  readonly #busy = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { timer: Timer; due: number }>();
  #open = false;
  #idle: (() => void)[] = [];

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get name(): string { return this.#options.name; }
  get depth(): number { return this.#dirty.size + this.#busy.size; }

  add(key: string): void {
    this.#dirty.add(key);
    this.#pump();
  }

  /** Keeps the earliest of several delays. */
  addAfter(key: string, delayMs: number): void {
    const { clock } = this.#options;
    const due = clock.monotonic() + delayMs;
    const waiting = this.#timers.get(key);
    if (waiting !== undefined && waiting.due <= due) return;
    waiting?.timer.cancel();
    const timer = clock.after(delayMs, () => { this.#timers.delete(key); this.add(key); });
    this.#timers.set(key, { timer, due });
  }

  start(): void {
    this.#open = true;
    this.#pump();
  }

  /** Takes no more work and waits for what is under way. */
  async stop(): Promise<void> {
    this.#open = false;
    for (const { timer } of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#dirty.clear();
    if (this.#busy.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #pump(): void {
    if (!this.#open) return;
    for (const key of this.#dirty) {
      if (this.#busy.size >= this.#options.workers) return;
      if (this.#busy.has(key)) continue;
      this.#dirty.delete(key);
      this.#busy.add(key);
      void this.#work(key);
    }
  }

  async #work(key: string): Promise<void> {
    const { sync, log, random, name } = this.#options;
    try {
      const again = await sync(key);
      this.#failures.delete(key);
      if (again !== undefined && this.#open) this.addAfter(key, again);
    } catch (error) {
      const attempt = this.#failures.get(key) ?? 0;
      this.#failures.set(key, attempt + 1);
      const delay = backoffDelay(RETRY, attempt, random);
      const say = attempt < QUIET_RETRIES ? log.debug : log.warn;
      say("sync failed, will try again", { controller: name, key, attempt, delay_ms: Math.round(delay), error: errorText(error) });
      if (this.#open) this.addAfter(key, delay);
    } finally {
      this.#busy.delete(key);
      if (this.#busy.size === 0) for (const wake of this.#idle.splice(0)) wake();
      this.#pump();
    }
  }
}
