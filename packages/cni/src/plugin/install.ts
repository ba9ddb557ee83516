// Owns our presence on the node: the plugin's launcher, its kubeconfig, and its place in the CNI chain, repaired when lost.
import { chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, watch, writeFileSync, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";
import type { Config } from "../config.ts";
import { addPlugin, PLUGIN_TYPE, removePlugin, type PluginConfig } from "./conflist.ts";

export const KUBECONFIG_NAME = "istio-cni-kubeconfig";
/** Not chained (multus and the like name plugins one by one): a configuration of our own, sorted last. */
const STANDALONE_NAME = "YYY-istio-cni.conf";
export const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Several writes of one change arrive as several events. */
const SETTLE_MS = 50;
/** Directory events can be lost (the directory itself replaced): look again anyway. */
const RECHECK_MS = 30_000;

type InstallConfig = Pick<Config, "netDir" | "binDir" | "runDir" | "confName" | "chained" | "selectors" | "excludeNamespaces" | "podNamespace" | "kubeHost" | "kubePort">;

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

/** Takes us out of every configuration, also of one that was the primary before; returns what could not be changed. */
function unchain(config: InstallConfig): string[] {
  rmSync(join(config.netDir, STANDALONE_NAME), { force: true });
  return configsIn(config.netDir).flatMap((name) => {
    const file = join(config.netDir, name);
    try {
      const text = readFileSync(file, "utf8");
      if (!text.includes(`"${PLUGIN_TYPE}"`)) return [];
      const without = removePlugin(text);
      if (!without.ok) return [`${file}: ${without.error}`];
      writeAtomically(file, without.value, 0o644);
      return [];
    } catch (error) {
      return [`${file}: ${errorText(error)}`];
    }
  });
}

function chain(config: InstallConfig): string | undefined {
  if (!config.chained) {
    const file = join(config.netDir, STANDALONE_NAME);
    const text = `${JSON.stringify({ cniVersion: "0.3.1", ...pluginConfig(config) }, null, 2)}\n`;
    if (!existsSync(file) || readFileSync(file, "utf8") !== text) writeAtomically(file, text, 0o644);
    return undefined;
  }
  const file = primaryConfig(config);
  if (file === undefined) return `no CNI configuration in ${config.netDir} yet`;
  const text = readFileSync(file, "utf8");
  const wanted = addPlugin(text, pluginConfig(config));
  if (!wanted.ok) return `${file}: ${wanted.error}`;
  // Runtimes read a list only from a .conflist.
  const target = file.replace(/\.(conf|json)$/, ".conflist");
  if (wanted.value !== text || target !== file) writeAtomically(target, wanted.value, 0o644);
  if (target !== file) rmSync(file);
  return undefined;
}

/** The file the kubelet's runtime would take: lexically first, or the named one. */
function primaryConfig(config: InstallConfig): string | undefined {
  if (config.confName !== "") {
    const named = [config.confName, config.confName.replace(/\.(conf|json)$/, ".conflist")].map((n) => join(config.netDir, n));
    return named.find((f) => existsSync(f));
  }
  const [first] = configsIn(config.netDir);
  return first === undefined ? undefined : join(config.netDir, first);
}

/** In the order of their names, as runtimes read them. */
const configsIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir).filter((f) => /\.(conf|conflist|json)$/.test(f)).sort() : []);

function pluginConfig(config: InstallConfig): PluginConfig {
  return {
    type: PLUGIN_TYPE,
    name: PLUGIN_TYPE,
    plugin_log_level: "info",
    cni_agent_run_dir: config.runDir,
    ambient_enabled: true,
    enablement_selectors: config.selectors.map((s) => ({ podSelector: { matchExpressions: s.pod }, namespaceSelector: { matchExpressions: s.namespace } })),
    exclude_namespaces: config.excludeNamespaces,
    pod_namespace: config.podNamespace,
    enable_ambient_detection_retry: true,
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

function writeAtomically(file: string, text: string, mode: number): void {
  const next = `${file}.ambit-new`;
  writeFileSync(next, text, { mode });
  chmodSync(next, mode);
  renameSync(next, file);
}
