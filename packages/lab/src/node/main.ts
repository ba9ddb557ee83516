// Owns the kubelet's command line.
import { parseArgs } from "node:util";
import { createLogger, LogLevels, runMain } from "@ambit/runtime";
import { warmThreadPool } from "@ambit/linux";
import { startKubelet } from "./kubelet.ts";

const log = createLogger("kubelet", { levels: new LogLevels(process.env["AMBIT_LOG"] ?? "info") });

await runMain(log, async () => {
  const { values } = parseArgs({ options: {
    node: { type: "string" }, kubeconfig: { type: "string" }, state: { type: "string" }, images: { type: "string" }, pki: { type: "string" },
    "node-ip": { type: "string" }, "pod-cidr": { type: "string" }, "cluster-dns": { type: "string" }, "cluster-domain": { type: "string", default: "cluster.local" },
  } });
  const need = (name: keyof typeof values): string => {
    const value = values[name];
    if (value === undefined || value === "") throw new Error(`--${name} is required`);
    return value;
  };
  // Node agents find the kubelet by this name.
  process.title = "kubelet";
  await warmThreadPool();
  return startKubelet({
    node: need("node"), kubeconfig: need("kubeconfig"), state: need("state"), images: need("images"), pki: need("pki"),
    nodeIp: need("node-ip"), podCidr: need("pod-cidr"), clusterDns: need("cluster-dns"), clusterDomain: need("cluster-domain"),
  }, log);
});
