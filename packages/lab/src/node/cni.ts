// Owns running a CNI plugin chain in the node's view of the file system, as libcni does.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync, accessSync, constants } from "node:fs";
import { join } from "node:path";
import { tryCommand } from "./command.ts";
import { cachedResult, isConfigFile, labConflist, parseCachedResult, parseCniConfig, pluginEnv, pluginError, pluginInput, resultFile, resultIps, type CniConfig, type CniNetwork, type CniPlugin, type CniPod, type PortMapping } from "./plan/cni.ts";

const CONFIG_DIR = "etc/cni/net.d";
const LAB_CONFLIST = "10-ambit-lab.conflist";
/** In the node's view. Debian's own folder comes last: what the node installs wins. */
const PLUGIN_DIRS = ["/opt/cni/bin", "/usr/lib/cni"];
const RESULTS_DIR = "var/lib/cni/results";
const HOST_LOCAL_DIR = "/var/lib/cni/networks";
/** A plugin that enrols a pod in the mesh waits for acknowledgements; the agent's own limits are 5 s each. */
const PLUGIN_TIMEOUT_MS = 60_000;

export interface Cni {
  /** The network in force, or why there is none. Read anew each time: agents change it while we run. */
  config(): CniConfig;
  /** Throws with the plugin's words. Returns the pod's addresses. */
  add(pod: CniPod, netns: string, ports: readonly PortMapping[]): Promise<string[]>;
  /** Always tries every plugin; returns what went wrong. */
  remove(pod: CniPod, netns: string): Promise<string[]>;
}

export function createCni(root: string, podCidr: string): Cni {
  const dir = join(root, CONFIG_DIR);
  const results = join(root, RESULTS_DIR);
  mkdirSync(dir, { recursive: true });
  mkdirSync(results, { recursive: true });
  if (!readdirSync(dir).some(isConfigFile)) writeFileSync(join(dir, LAB_CONFLIST), labConflist(podCidr, HOST_LOCAL_DIR));

  const binary = (plugin: CniPlugin): string | undefined => PLUGIN_DIRS.map((d) => `${d}/${plugin.type}`).find((p) => isExecutable(join(root, p)));
  const run = async (command: "ADD" | "DEL" | "CHECK", network: CniNetwork, plugin: CniPlugin, pod: CniPod, netns: string, prev: unknown, runtime: Record<string, unknown>): Promise<unknown> => {
    const path = binary(plugin);
    if (path === undefined) throw new Error(`failed to find plugin "${plugin.type}" in path [${PLUGIN_DIRS.join(" ")}]`);
    const { code, stdout, stderr } = await tryCommand(["chroot", root, path], { input: pluginInput(network, plugin, prev, runtime), env: pluginEnv(command, pod, netns, PLUGIN_DIRS.join(":")), timeoutMs: PLUGIN_TIMEOUT_MS });
    if (code !== 0) throw new Error(pluginError(plugin.type, stdout, stderr));
    if (command !== "ADD") return undefined;
    try {
      return JSON.parse(stdout);
    } catch (cause) {
      throw new Error(`plugin type="${plugin.type}" answered with something that is not JSON`, { cause });
    }
  };
  const config = (): CniConfig => {
    const file = readdirSync(dir).filter(isConfigFile).sort()[0];
    if (file === undefined) return { problem: "cni plugin not initialized: no networks found in /etc/cni/net.d" };
    const parsed = parseCniConfig(file, readFileSync(join(dir, file), "utf8"));
    if ("problem" in parsed) return parsed;
    const missing = parsed.network.plugins.filter((p) => binary(p) === undefined).map((p) => p.type);
    return missing.length === 0 ? parsed : { problem: `cni plugin not initialized: ${file}: failed to find plugin "${missing[0]}" in path [${PLUGIN_DIRS.join(" ")}]` };
  };
  return {
    config,
    async add(pod, netns, ports) {
      const found = config();
      if ("problem" in found) throw new Error(found.problem);
      const { network } = found;
      let result: unknown;
      for (const plugin of network.plugins) result = await run("ADD", network, plugin, pod, netns, result, ports.length > 0 ? { portMappings: ports } : {});
      writeFileSync(join(results, resultFile(network.name, pod.sandboxId)), cachedResult(network, pod, netns, result, ports), { mode: 0o600 });
      const ips = resultIps(result);
      if (ips.length === 0) throw new Error(`the CNI network "${network.name}" gave the pod no address`);
      return ips;
    },
    async remove(pod, netns) {
      const found = config();
      if ("problem" in found) return [found.problem];
      const { network } = found;
      const cache = join(results, resultFile(network.name, pod.sandboxId));
      let prev: unknown;
      try {
        prev = parseCachedResult(readFileSync(cache, "utf8"))?.result;
      } catch { /* ADD never got that far: plugins must cope, says the spec */ }
      const problems: string[] = [];
      for (const plugin of [...network.plugins].reverse()) await run("DEL", network, plugin, pod, netns, prev, {}).catch((e: unknown) => problems.push(e instanceof Error ? e.message : String(e)));
      if (problems.length === 0) rmSync(cache, { force: true });
      return problems;
    },
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
