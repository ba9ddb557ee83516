// Owns the controller-manager's command line: `--kubeconfig FILE [--log-level FILTER]`.
import { parseArgs } from "node:util";
import { loadClientConfig } from "@ambit/kube";
import { createLogger, LogLevels, runMain } from "@ambit/runtime";
import { startControllers } from "./app.ts";

const { values } = parseArgs({ options: { kubeconfig: { type: "string" }, "log-level": { type: "string", default: "info" } } });
const log = createLogger("controller-manager", { levels: new LogLevels(values["log-level"]) });

await runMain(log, () => {
  const config = loadClientConfig(values.kubeconfig === undefined ? {} : { kubeconfig: values.kubeconfig });
  return startControllers({ config, log });
});
