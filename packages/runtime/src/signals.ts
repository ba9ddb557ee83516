// Owns the end of a process: the one way a binary starts, stops on a signal, and dies of a defect.
import { errorText, type Logger } from "./log.ts";

export interface Bound {
  /** Graceful end: returns when everything is closed. */
  drain(): Promise<void>;
}

/** A second signal while draining ends the process at once. */
export async function runMain(log: Logger, build: () => Promise<Bound>): Promise<void> {
  process.on("uncaughtException", (error) => {
    log.error("defect: uncaught exception", { error: errorText(error), stack: error.stack });
    process.exit(70);
  });
  process.on("unhandledRejection", (reason) => {
    log.error("defect: unhandled rejection", { error: errorText(reason), stack: reason instanceof Error ? reason.stack : undefined });
    process.exit(70);
  });
  let bound: Bound;
  try {
    bound = await build();
  } catch (error) {
    log.error("cannot start", { error: errorText(error) });
    process.exit(1);
  }
  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      log.info("stopping", { signal });
      bound.drain().then(() => process.exit(0), (error: unknown) => {
        log.error("drain failed", { error: errorText(error) });
        process.exit(1);
      });
    });
  }
}
