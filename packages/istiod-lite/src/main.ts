// Entry of the control plane: environment, `--kubeconfig FILE` outside a cluster.
import { parseArgs } from "node:util";
import { loadClientConfig } from "@ambit/kube";
import { createLogger, LogLevels, runMain } from "@ambit/runtime";
import { build } from "./app.ts";
import { readConfig } from "./config.ts";

const log = createLogger("istiod");
await runMain(log, async () => {
  const { values } = parseArgs({ options: { kubeconfig: { type: "string" } } });
  const config = readConfig(process.env);
  const levels = new LogLevels(config.logFilter);
  const cluster = config.configDir === "" ? { cluster: loadClientConfig(values.kubeconfig === undefined ? {} : { kubeconfig: values.kubeconfig }) } : {};
  return build({ config, ...cluster, levels, log: createLogger("istiod", { levels }) });
});
