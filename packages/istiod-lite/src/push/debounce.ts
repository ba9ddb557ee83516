// Owns the beat of pushes: changes gather for one short fixed tick, then every flush runs in order.
import type { Clock } from "@ambit/runtime";

/** Long enough to gather one rollout step's events, short enough that nobody waits for it. Fixed, so that steady churn cannot postpone a push. */
export const TICK_MS = 10;

export interface Ticker {
  /** Flushes run in the order in which they were added. */
  add(flush: () => void): void;
  /** Something changed: a tick will come. */
  touch(): void;
  /** Runs what is due now (tests, drain). */
  flush(): void;
}

export function createTicker(clock: Clock): Ticker {
  const flushes: (() => void)[] = [];
  let due = false;
  const run = (): void => {
    if (!due) return;
    due = false;
    for (const flush of flushes) flush();
  };
  return {
    add: (flush) => void flushes.push(flush),
    touch: () => {
      if (due) return;
      due = true;
      clock.after(TICK_MS, run);
    },
    flush: run,
  };
}
