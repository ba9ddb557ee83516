// Owns the cluster that the contract is held against: the lab's API server and controllers in this process, or a real one.
import { join } from "node:path";
import { loadClientConfig, type ClientConfig } from "@ambit/kube";
import { startApiServer } from "@ambit/lab/apiserver";
import { startControllers } from "@ambit/lab/controllers";
import { createLogger, LogLevels } from "@ambit/runtime";

/** `kubernetes`: a real API server, the one $KUBECONFIG names; anything else: the lab's. */
export const REAL = process.env["CONTRACT"] === "kubernetes";

export interface Cluster {
  readonly config: ClientConfig;
  /** A file for kubectl and helm; its user may do everything. */
  readonly kubeconfig: string;
  close(): Promise<void>;
}

let users = 0;
let opened: Promise<Cluster> | undefined;

/** One cluster for all suites of a run, from the first that needs it to the last that lets it go in its own last hook. */
export function useCluster(): { get(): Cluster; release(): Promise<void> } {
  let cluster: Cluster | undefined;
  users += 1;
  before(async function () {
    this.timeout(60_000);
    opened ??= open();
    cluster = await opened;
  });
  return {
    get() {
      if (cluster === undefined) throw new Error("the cluster is there from the first hook on");
      return cluster;
    },
    async release() {
      users -= 1;
      if (users === 0) await close();
    },
  };
}

// With --grep, suites that were loaded may never run.
after(close);

async function close(): Promise<void> {
  const cluster = await opened;
  opened = undefined;
  await cluster?.close();
}

async function open(): Promise<Cluster> {
  return REAL ? openReal() : openLab();
}

async function openReal(): Promise<Cluster> {
  const kubeconfig = process.env["KUBECONFIG"] ?? "";
  if (kubeconfig === "") throw new Error("CONTRACT=kubernetes needs KUBECONFIG: the cluster to hold the contract against");
  return { kubeconfig, config: loadClientConfig({ kubeconfig }), close: async () => undefined };
}

async function openLab(): Promise<Cluster> {
  const log = createLogger("contract", process.env["TEST_LOG"] === undefined ? { write: () => undefined } : { levels: new LogLevels("info") });
  const server = await startApiServer({ log });
  try {
    const controllers = join(server.pkiDir, "contract-controllers.kubeconfig");
    await server.writeKubeconfig(controllers, "system:kube-controller-manager");
    const running = await startControllers({ config: loadClientConfig({ kubeconfig: controllers }), log });
    const kubeconfig = server.adminKubeconfig;
    return {
      kubeconfig,
      config: loadClientConfig({ kubeconfig }),
      async close() {
        await running.drain();
        await server.close();
      },
    };
  } catch (error) {
    await server.close();
    throw error;
  }
}
