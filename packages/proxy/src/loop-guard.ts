// Owns what becomes of a proxy one of whose threads never comes back to its event loop: it says which work held it, and ends, so that the kubelet starts another.
import { guardLoop, HELD_EXIT_CODE } from "@ambit/linux/loop-guard";
import { createLogger, env, errorText, type LogFormat, type Logger, type LoopGuard } from "@ambit/runtime";

/** A large push, a large dump and a collection of the whole heap may hold a loop that long, on a slow processor. */
const LIMIT_MIN_MS = 1_000;

/** Processor time in ms; 0: event loops are not guarded. */
export const WATCHDOG = env.duration("AMBIT_WATCHDOG", 10_000, "processor time that a thread may use without coming back to its event loop: then the process ends (exit code 61); 0s: for ever");

/** Throws the words for a bad configuration. */
export function checkWatchdog(limitMs: number): void {
  if (limitMs > 0 && limitMs < LIMIT_MIN_MS) throw new Error(`bad configuration:\n  ${WATCHDOG.env}: less than ${LIMIT_MIN_MS / 1000} s ends processes that only have much to do; 0s is for ever`);
}

/**
 * Of the thread that calls; undefined when it is switched off, or cannot be had. Where listening sockets are handed over, what comes meanwhile waits in their
 * queues for the next process.
 */
export function guardedLoop(limitMs: number, thread: string, log: Logger, format?: LogFormat): LoopGuard | undefined {
  if (limitMs === 0) return undefined;
  try {
    const guard = guardLoop(limitMs);
    let line = "";
    const lastWords = createLogger("loop", { ...(format === undefined ? {} : { format }), write: (l) => { line = l.trimEnd(); } });
    const words = (work: string | undefined): string => {
      lastWords.error("the event loop never came round again, the process ends", { thread, ran_ms: limitMs, work: work ?? "something that has no name", exit_code: HELD_EXIT_CODE });
      return line;
    };
    return { beat: (work) => guard.beat(words(work)), at: (work) => guard.say(words(work)) };
  } catch (error) {
    log.warn("nothing will end this process if its event loop hangs", { thread, error: errorText(error) });
    return undefined;
  }
}
