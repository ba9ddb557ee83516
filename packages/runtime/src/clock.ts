// Owns time: the only place in the house where the wall clock and timers are read.

export interface Timer {
  cancel(): void;
}

/** Milliseconds everywhere. `now` is wall-clock (epoch), `monotonic` never jumps. */
export interface Clock {
  now(): number;
  monotonic(): number;
  /** Runs `task` once after `delayMs`. The timer does not keep the process alive unless `hold` is set. */
  after(delayMs: number, task: () => void, options?: { hold?: boolean }): Timer;
  /** Runs `task` every `periodMs` until cancelled; never keeps the process alive. */
  every(periodMs: number, task: () => void): Timer;
  /** Resolves after `delayMs`, or rejects with the signal's reason. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** setTimeout turns larger delays into 1 ms: about 24.8 days. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, task, options) {
    const timer = setTimeout(task, Math.min(Math.max(0, delayMs), TIMER_MAX_MS));
    if (options?.hold !== true) timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  every(periodMs, task) {
    const timer = setInterval(task, periodMs);
    timer.unref();
    return { cancel: () => clearInterval(timer) };
  },
  sleep(delayMs, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(
        () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
        Math.min(Math.max(0, delayMs), TIMER_MAX_MS),
      );
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  },
};

/** Lets the event loop do what waits for it. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Runs `task` when nothing was heard for `delayMs`: unless it is cancelled in the turn that follows. Timers come before sockets, and after a time
 * in which the loop was busy, or had no processor, what a peer said meanwhile has not been read yet.
 */
export function afterSilence(clock: Clock, delayMs: number, task: () => void): Timer {
  let over = false;
  const timer = clock.after(delayMs, () => void nextTurn().then(() => { if (!over) task(); }));
  return { cancel: () => { over = true; timer.cancel(); } };
}

/** Rejects with `makeError()` when `work` takes longer than `limitMs`; the timer is always cleared. */
export function withTimeout<T>(clock: Clock, limitMs: number, work: Promise<T>, makeError: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(limitMs, () => reject(makeError()), { hold: true });
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
