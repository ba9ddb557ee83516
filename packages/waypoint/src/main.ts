// Owns the process: environment → configuration → app.
import { comply } from "@ambit/proxy/identity";
import { guardedLoop } from "@ambit/proxy/loop-guard";
import { createLogger, runMain } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";
import { prepareHeap } from "./heap.ts";

prepareHeap();
const log = createLogger("waypoint");
await runMain(log, () => {
  const config = readConfig(process.env);
  comply(config.compliance);
  return build(config, { guard: guardedLoop(config.watchdogMs, "main", log) });
});
