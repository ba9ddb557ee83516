// Owns a clock that tests move by hand, and a CA that answers when the test says so.
import { createLogger, LogLevels, type Clock, type Logger } from "@ambit/runtime";
import { formatIdentity, type Identity } from "@ambit/core";
import type { CaClient } from "./ca-client.ts";
import type { WorkloadCertificate } from "./chain.ts";

export const quiet: Logger = createLogger("test", { levels: new LogLevels("error"), write: () => undefined });

export class ManualClock implements Clock {
  #now = 1_000_000;
  #timers = new Set<{ at: number; task: () => void }>();

  now = (): number => this.#now;
  monotonic = (): number => this.#now;

  after(delayMs: number, task: () => void): { cancel(): void } {
    const timer = { at: this.#now + Math.max(0, delayMs), task };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  every(intervalMs: number, task: () => void): { cancel(): void } {
    let timer: { cancel(): void };
    const next = (): void => { timer = this.after(intervalMs, next); task(); };
    timer = this.after(intervalMs, next);
    return { cancel: () => timer.cancel() };
  }

  sleep(): never {
    throw new Error("not used here");
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Runs timers in order; promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.task();
    }
    this.#now = end;
  }
}

/** All promise reactions that are due, without waiting. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class ManualCa implements CaClient {
  readonly asked: { uri: string; succeed(lifeMs?: number, inMs?: number): void; fail(why: string): void }[] = [];
  readonly #clock: Clock;
  #serial = 0;
  open = 0;
  openMax = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  request(identity: Identity): Promise<WorkloadCertificate> {
    this.open++;
    this.openMax = Math.max(this.openMax, this.open);
    return new Promise((resolve, reject) => {
      this.asked.push({
        uri: formatIdentity(identity),
        succeed: (lifeMs = 24 * 3_600_000, inMs = 0) => {
          this.open--;
          const serial = String(++this.#serial);
          resolve({ identity, chainPem: `chain-${serial}`, keyPem: "key", rootsPem: "roots", notBefore: this.#clock.now() + inMs, notAfter: this.#clock.now() + inMs + lifeMs, serial, fingerprint: serial });
        },
        fail: (why) => {
          this.open--;
          reject(new Error(why));
        },
      });
    });
  }

  close(): void {}
}
