// Entry of the node agent.
import { createLogger, LogLevels, runMain } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";

const levels = new LogLevels(process.env["AMBIT_LOG"] || "info");
const log = createLogger("cni", { levels });
await runMain(log, () => build(readConfig(process.env), log, levels));
