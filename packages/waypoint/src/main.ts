// Owns the process: environment → configuration → app.
import { createLogger, runMain } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";
import { prepareHeap } from "./heap.ts";

prepareHeap();
await runMain(createLogger("waypoint"), () => build(readConfig(process.env)));
