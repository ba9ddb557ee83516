// Owns our place in the node's CNI configurations: in the primary one, in a copy of it that is ours, or in a file alone.
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "@ambit/runtime";
import type { Config } from "../config.ts";
import { addPlugin, PLUGIN_TYPE, removePlugin, type PluginConfig } from "./conflist.ts";

/** Not chained (multus and the like name plugins one by one): a configuration of our own, sorted last. */
const STANDALONE_NAME = "YYY-istio-cni.conf";

export type ChainConfig = Pick<Config, "netDir" | "runDir" | "confName" | "chained" | "owned" | "ownedName" | "selectors" | "excludeNamespaces" | "podNamespace">;

/** Takes us out of every configuration, also of one that was the primary before; returns what could not be changed. */
export function unchain(config: ChainConfig): string[] {
  rmSync(join(config.netDir, STANDALONE_NAME), { force: true });
  if (config.owned) rmSync(join(config.netDir, config.ownedName), { force: true });
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

/** Puts us where we belong, or says why that cannot be. */
export function chain(config: ChainConfig): string | undefined {
  if (!config.chained) {
    const file = join(config.netDir, STANDALONE_NAME);
    const text = `${JSON.stringify({ cniVersion: "0.3.1", ...pluginConfig(config) }, null, 2)}\n`;
    if (!existsSync(file) || readFileSync(file, "utf8") !== text) writeAtomically(file, text, 0o644);
    return undefined;
  }
  if (!config.owned) removeOwned(config);
  const file = primaryConfig(config);
  if (file === undefined) return `no CNI configuration in ${config.netDir} yet`;
  const text = readFileSync(file, "utf8");
  const wanted = addPlugin(text, pluginConfig(config));
  if (!wanted.ok) return `${file}: ${wanted.error}`;
  if (config.owned) return own(config, file, text, wanted.value);
  // Runtimes read a list only from a .conflist.
  const target = file.replace(/\.(conf|json)$/, ".conflist");
  if (wanted.value !== text || target !== file) writeAtomically(target, wanted.value, 0o644);
  if (target !== file) rmSync(file);
  return undefined;
}

/** A copy that runtimes read before the primary, with us in it: the primary's own writer may write it anew at every reboot, and never puts us out. */
function own(config: ChainConfig, primary: string, text: string, withUs: string): string | undefined {
  const file = join(config.netDir, config.ownedName);
  if (file >= primary) return `${config.ownedName} is read after ${primary}, which it is to replace: choose another ISTIO_OWNED_CNI_CONFIG_FILENAME`;
  if (!existsSync(file) || readFileSync(file, "utf8") !== withUs) writeAtomically(file, withUs, 0o644);
  // Where we were in the primary itself before, we need not be.
  const without = removePlugin(text);
  if (without.ok && without.value !== text) writeAtomically(primary, without.value, 0o644);
  return undefined;
}

/** Left by an agent that owned its configuration; another program's file of that name is left alone. */
function removeOwned(config: ChainConfig): void {
  const file = join(config.netDir, config.ownedName);
  if (existsSync(file) && readFileSync(file, "utf8").includes(`"${PLUGIN_TYPE}"`) && configsIn(config.netDir).length > 1) rmSync(file);
}

/** The file the kubelet's runtime would take: lexically first, or the named one. */
function primaryConfig(config: ChainConfig): string | undefined {
  if (config.confName !== "") {
    const named = [config.confName, config.confName.replace(/\.(conf|json)$/, ".conflist")].map((n) => join(config.netDir, n));
    return named.find((f) => existsSync(f));
  }
  const [first] = configsIn(config.netDir).filter((name) => !config.owned || name !== config.ownedName);
  return first === undefined ? undefined : join(config.netDir, first);
}

/** In the order of their names, as runtimes read them. */
const configsIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir).filter((f) => /\.(conf|conflist|json)$/.test(f)).sort() : []);

function pluginConfig(config: ChainConfig): PluginConfig {
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

export function writeAtomically(file: string, text: string, mode: number): void {
  const next = `${file}.ambit-new`;
  writeFileSync(next, text, { mode });
  chmodSync(next, mode);
  renameSync(next, file);
}
