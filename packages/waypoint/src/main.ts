// Owns the process: environment → configuration → app.
import { createLogger, runMain } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";

await runMain(createLogger("waypoint"), () => build(readConfig(process.env)));
