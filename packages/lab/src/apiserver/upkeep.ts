// Owns the server's work on its own account, beside requests: a failure of it is logged and tried again, never fatal.
import type { Timer } from "@ambit/runtime";
import type { Api } from "./context.ts";
import { sweepEvents } from "./kinds/event-expiry.ts";

/** Events live for an hour: a minute more or less does not matter. */
const SWEEP_MS = 60 * 1000;
/** How long the log may grow past its bound before it is rewritten. */
const COMPACT_MS = 10 * 1000;

export function startUpkeep(api: Api): Timer {
  const timers = [
    api.clock.every(SWEEP_MS, () => attempt(api, "events not swept", () => sweepEvents(api))),
    api.clock.every(COMPACT_MS, () => attempt(api, "log not rewritten", () => api.store.compactIfDue())),
  ];
  return {
    cancel: () => {
      for (const timer of timers) timer.cancel();
    },
  };
}

/** Runs a task outside any request; false when it failed. */
export function attempt(api: Api, failure: string, task: () => void): boolean {
  try {
    task();
    return true;
  } catch (error) {
    api.log.error(failure, { error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    return false;
  }
}
