// Owns which cluster a command talks to: an explicit kubeconfig, else a running lab, else the environment's.
import { existsSync } from "node:fs";
import { KubeClient, KubeconfigError, loadClientConfig } from "@ambit/kube";
import { defaultStateDir, layoutOf } from "@ambit/lab/layout";
import { readRecord } from "@ambit/lab/supervisor";
import { UsageError } from "./usage-error.ts";

export interface ClusterOptions { readonly kubeconfig?: string; readonly context?: string; readonly state?: string }

export const stateDir = (explicit?: string): string => explicit ?? defaultStateDir(process.env, process.getuid?.() ?? 0);

/** The kubeconfig file to hand to kubectl as well; undefined = kubectl's own default. */
export function kubeconfigPath(options: ClusterOptions): string | undefined {
  if (options.kubeconfig !== undefined) return options.kubeconfig;
  if (process.env["KUBECONFIG"] !== undefined) return undefined;
  const state = stateDir(options.state);
  const lab = layoutOf(state, 1).kubeconfig;
  return readRecord(state) !== undefined && existsSync(lab) ? lab : undefined;
}

export function connect(options: ClusterOptions): KubeClient {
  const path = kubeconfigPath(options);
  try {
    return new KubeClient(loadClientConfig({ ...(path === undefined ? {} : { kubeconfig: path }), ...(options.context === undefined ? {} : { context: options.context }) }));
  } catch (error) {
    if (error instanceof KubeconfigError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
