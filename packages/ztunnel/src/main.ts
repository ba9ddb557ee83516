// Owns the process: environment → configuration → app.
import { flushCompileCache } from "node:module";
import { comply } from "@ambit/proxy/identity";
import { guardedLoop } from "@ambit/proxy/loop-guard";
import { createLogger, runMain, systemClock } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";
import { prepareHeap } from "./heap.ts";

prepareHeap();

/** Long after the start's own work. */
const FLUSH_AFTER_MS = 3_000;

const log = createLogger("ztunnel");
await runMain(log, () => {
  const config = readConfig(process.env);
  comply(config.compliance);
  return build(config, { guard: guardedLoop(config.watchdogMs, "main", log, config.logFormat) });
});
// Where NODE_COMPILE_CACHE names a directory, the next start needs half the processor time and 25 MB less; not only after an orderly end.
systemClock.after(FLUSH_AFTER_MS, flushCompileCache);
