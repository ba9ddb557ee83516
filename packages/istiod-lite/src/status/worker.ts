// Owns a queue of keys to be reconciled: each once at a time, a few at once, failures again later, all of it bounded.
import { isNamespaceEnding } from "@ambit/kube";
import { backoffDelay, errorText, systemRandom, type Clock, type Logger } from "@ambit/runtime";

/** Writes under way at once: status is never urgent enough to crowd out the API server's other clients. */
const CONCURRENCY = 4;
/** Between two starts; with CONCURRENCY this bounds writes to 100 a second. */
const START_EVERY_MS = 10;
const BACKOFF = { initialMs: 200, maxMs: 60_000 };

export interface Worker {
  /** Asks for `key` to be looked at; many asks before it starts are one. */
  add(key: string): void;
  pause(): void;
  /** Goes on with these keys; what was queued before a pause is forgotten. */
  resume(keys: Iterable<string>): void;
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

export function createWorker(o: { name: string; reconcile: (key: string) => Promise<void>; clock: Clock; log: Logger }): Worker {
  const queue = new Set<string>();
  const failures = new Map<string, number>();
  const running = new Map<string, Promise<void>>();
  const again = new Set<string>();
  let active = false;
  let scheduled = false;

  const schedule = (): void => {
    if (scheduled || !active || queue.size === 0 || running.size >= CONCURRENCY) return;
    scheduled = true;
    o.clock.after(START_EVERY_MS, () => {
      scheduled = false;
      start();
      schedule();
    });
  };
  const start = (): void => {
    const [key] = queue;
    if (key === undefined || !active || running.size >= CONCURRENCY) return;
    queue.delete(key);
    running.set(key, run(key));
  };
  const run = async (key: string): Promise<void> => {
    try {
      await o.reconcile(key);
      failures.delete(key);
    } catch (error) {
      const attempt = failures.get(key) ?? 0;
      failures.set(key, attempt + 1);
      const delay = backoffDelay(BACKOFF, attempt, systemRandom);
      // An object and its namespace may be deleted together: nobody has to do anything about that.
      o.log[isNamespaceEnding(error) ? "debug" : "warn"]("write failed, will try again", { worker: o.name, key, attempt, retry_ms: Math.round(delay), error: errorText(error) });
      o.clock.after(delay, () => add(key));
    }
    running.delete(key);
    if (again.delete(key)) queue.add(key);
    schedule();
  };
  const add = (key: string): void => {
    if (!active) return;
    // What changed while it was being written is looked at once more.
    if (running.has(key)) again.add(key);
    else queue.add(key);
    schedule();
  };
  const pause = (): void => {
    active = false;
    queue.clear();
    again.clear();
    failures.clear();
  };
  return {
    add, pause,
    resume: (keys) => {
      active = true;
      for (const key of keys) add(key);
    },
    stop: async () => {
      pause();
      await Promise.all(running.values());
    },
  };
}
