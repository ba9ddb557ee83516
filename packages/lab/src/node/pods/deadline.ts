// Owns the moment at which a stopping pod's patience ends; it can come nearer, never recede.
import type { Clock, Timer } from "@ambit/runtime";

export class Deadline {
  readonly #clock: Clock;
  #atMs: number;
  #timer: Timer | undefined;
  readonly #over = Promise.withResolvers<void>();

  constructor(clock: Clock, graceMs: number) {
    this.#clock = clock;
    this.#atMs = clock.now() + graceMs;
    this.#arm();
  }

  get leftMs(): number { return Math.max(0, this.#atMs - this.#clock.now()); }
  get passed(): Promise<void> { return this.#over.promise; }

  shorten(graceMs: number): void {
    const atMs = this.#clock.now() + graceMs;
    if (atMs >= this.#atMs) return;
    this.#atMs = atMs;
    this.#arm();
  }

  cancel(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(this.leftMs, () => this.#over.resolve(), { hold: true });
  }
}
