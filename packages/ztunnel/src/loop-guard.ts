// Owns what becomes of a ztunnel one of whose threads never comes back to its event loop: it says which work held it, and ends, so that the kubelet starts another.
import { guardLoop, HELD_EXIT_CODE } from "@ambit/linux";
import { createLogger, errorText, type Logger, type LoopGuard } from "@ambit/runtime";
import type { Config } from "./config.ts";

/**
 * Of the thread that calls; undefined when it is switched off, or cannot be had. Where listening sockets are handed over, what comes meanwhile waits in their
 * queues for the next ztunnel.
 */
export function guardedLoop(config: Pick<Config, "watchdogMs" | "logFormat">, thread: string, log: Logger): LoopGuard | undefined {
  const limitMs = config.watchdogMs;
  if (limitMs === 0) return undefined;
  try {
    const guard = guardLoop(limitMs);
    let line = "";
    const lastWords = createLogger("loop", { format: config.logFormat, write: (l) => { line = l.trimEnd(); } });
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
