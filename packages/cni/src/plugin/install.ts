// Owns our presence on the node: the plugin's launcher, its kubeconfig, and its place in the CNI chain, repaired when lost.
import { chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import type { Config } from "../config.ts";
import { chain, unchain, writeAtomically, type ChainConfig } from "./chain.ts";
import { PLUGIN_TYPE } from "./conflist.ts";

export const KUBECONFIG_NAME = "istio-cni-kubeconfig";
export const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Several writes of one change arrive as several events. */
const SETTLE_MS = 50;
/** Directory events can be lost (the directory itself replaced): look again anyway. */
const RECHECK_MS = 30_000;

type InstallConfig = ChainConfig & Pick<Config, "binDir" | "kubeHost" | "kubePort">;

export interface Installation {
  /** True while the plugin is in the chain. */
  readonly installed: boolean;
  /** Puts in place what has changed. */
  renew(): void;
  /** Takes everything back. */
  remove(): void;
  close(): void;
}

/** `pluginToken`: the plugin's own, if there is one; else it shares the agent's. */
export function install(config: InstallConfig, clock: Clock, log: Logger, onState: (installed: boolean) => void, pluginToken: () => string | undefined = () => undefined, serviceAccountDir = SERVICE_ACCOUNT_DIR, shipped = join(import.meta.dirname, PLUGIN_TYPE)): Installation {
  let installed = false;
  let settle: Timer | undefined;
  const put = () => {
    let problem: string | undefined;
    try {
      writePlugin(config, shipped);
      writePluginKubeconfig(config, serviceAccountDir, pluginToken());
      problem = chain(config);
    } catch (error) {
      problem = errorText(error);
    }
    if (problem !== undefined) log.warn("CNI plugin is not in place", { problem });
    else if (!installed) log.info("CNI plugin is in place", { directory: config.netDir });
    installed = problem === undefined;
    onState(installed);
  };
  put();
  const watchers: FSWatcher[] = [];
  for (const dir of [config.netDir, config.binDir, serviceAccountDir]) {
    if (!existsSync(dir)) continue;
    const watcher = watch(dir, () => {
      settle?.cancel();
      settle = clock.after(SETTLE_MS, put, { hold: true });
    });
    watcher.on("error", (error) => log.warn("cannot watch", { dir, error: errorText(error) }));
    watchers.push(watcher);
  }
  const recheck = clock.every(RECHECK_MS, put);
  const close = () => {
    settle?.cancel();
    recheck.cancel();
    for (const w of watchers) w.close();
  };
  return {
    get installed() { return installed; },
    close,
    renew: put,
    remove: () => {
      close();
      // Out of the chain first: a chain that names a missing program stops every pod of the node.
      const left = unchain(config);
      if (left.length === 0) rmSync(join(config.binDir, PLUGIN_TYPE), { force: true });
      else log.warn("CNI configurations still name our plugin, so it stays", { problems: left });
      rmSync(join(config.runDir, KUBECONFIG_NAME), { force: true });
    },
  };
}

/** An image brings the plugin as an executable beside its main file, for nodes without Node; a work tree runs its source. */
function writePlugin(config: InstallConfig, shipped: string): void {
  mkdirSync(config.binDir, { recursive: true });
  const file = join(config.binDir, PLUGIN_TYPE);
  if (!existsSync(shipped)) return writeLauncher(file);
  if (existsSync(file) && sameFile(file, shipped)) return;
  const next = `${file}.ambit-new`;
  copyFileSync(shipped, next);
  chmodSync(next, 0o755);
  renameSync(next, file);
}

/** When files that were compared last changed: a hundred megabytes are not read again whenever something happens in their directory. */
const compared = new Map<string, number>();

function sameFile(file: string, shipped: string): boolean {
  const [a, b] = [lstatSync(file), statSync(shipped)];
  if (!a.isFile() || a.size !== b.size || (a.mode & 0o777) !== 0o755) return false;
  if (a.ctimeMs === compared.get(file)) return true;
  const same = readFileSync(file).equals(readFileSync(shipped));
  if (same) compared.set(file, a.ctimeMs);
  return same;
}

function writeLauncher(file: string): void {
  const script = `#!/bin/sh\nexec '${process.execPath}' '${join(import.meta.dirname, "main.ts")}'\n`;
  if (!existsSync(file) || readFileSync(file, "utf8") !== script) writeAtomically(file, script, 0o755);
}

/** JSON is YAML; the plugin reads it without a YAML parser's help. */
function writePluginKubeconfig(config: InstallConfig, serviceAccountDir: string, own: string | undefined): void {
  const ca = readFileSync(`${serviceAccountDir}/ca.crt`);
  const token = own ?? readFileSync(`${serviceAccountDir}/token`, "utf8").trim();
  const host = config.kubeHost.includes(":") ? `[${config.kubeHost}]` : config.kubeHost;
  const kubeconfig = JSON.stringify({
    apiVersion: "v1", kind: "Config", "current-context": "istio-cni",
    clusters: [{ name: "local", cluster: { server: `https://${host}:${config.kubePort}`, "certificate-authority-data": ca.toString("base64") } }],
    users: [{ name: "istio-cni", user: { token } }],
    contexts: [{ name: "istio-cni", context: { cluster: "local", user: "istio-cni" } }],
  });
  const file = join(config.runDir, KUBECONFIG_NAME);
  if (!existsSync(file) || readFileSync(file, "utf8") !== kubeconfig) writeAtomically(file, kubeconfig, 0o600);
}
