// Owns the process: environment → configuration → app.
import { setFlagsFromString } from "node:v8";
import { createLogger, runMain } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";

// Every read of a socket is a buffer outside the heap that dies at once. By default V8 answers each 64 MB of them with a marking of the
// whole heap: half of all CPU under bulk traffic. Instead they count into the heap's own limit, at most four times what lives (the most
// that V8 would choose itself), and the small young generation that the manifest asks for (NODE_OPTIONS) frees them long before.
// Figures: docs/performance.md.
setFlagsFromString("--external-memory-accounted-in-global-limit");
setFlagsFromString("--heap-growing-percent=300");

await runMain(createLogger("ztunnel"), () => build(readConfig(process.env)));
