// Owns the beat of pushes: the first change goes at once, a storm is gathered, and pushing never takes more than its share of the process.
import type { Clock } from "@ambit/runtime";

/** Between two pushes, at least: one rollout step's events come within it. */
export const GAP_MIN_MS = 10;
/** While changes keep coming the gap doubles up to this: a hundred proxies cost ten pushes a second, and nobody waits longer. */
export const GAP_MAX_MS = 100;
/** A push to many proxies may take long itself: the next waits this many times as long as the last one kept the process busy … */
const REST_FACTOR = 4;
/** … but not longer than this. */
const REST_MAX_MS = 1_000;

export interface Ticker {
  /** Flushes run in the order in which they were added. */
  add(flush: () => void): void;
  /** Something changed: a push will come. `urgent` (a policy) waits for the shortest gap only. */
  touch(urgent?: boolean): void;
  /** Runs what is due now (tests, drain). */
  flush(): void;
}

export function createTicker(clock: Clock): Ticker {
  const flushes: (() => void)[] = [];
  /** When the next push is due; undefined: nothing changed. */
  let due: number | undefined;
  let timer: { cancel(): void } | undefined;
  let last = -Infinity;
  let gap = GAP_MIN_MS;
  let rest = 0;

  const run = (): void => {
    if (due === undefined) return;
    const quiet = due > last + gap;
    due = undefined;
    timer?.cancel();
    timer = undefined;
    last = clock.monotonic();
    gap = quiet ? GAP_MIN_MS : Math.min(GAP_MAX_MS, gap * 2);
    for (const flush of flushes) flush();
    // Streams write in the turn after this one: what they take is over when a timer runs again.
    clock.after(0, () => { rest = Math.min(REST_MAX_MS, REST_FACTOR * (clock.monotonic() - last)); });
  };
  return {
    add: (flush) => void flushes.push(flush),
    touch: (urgent = false) => {
      const now = clock.monotonic();
      const at = Math.max(now, last + Math.max(rest, urgent ? GAP_MIN_MS : gap));
      if (due !== undefined && due <= at) return;
      timer?.cancel();
      due = at;
      timer = clock.after(at - now, run);
    },
    flush: run,
  };
}
