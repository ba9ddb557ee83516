// Owns CNI's texts: the network configuration, what each plugin of a chain is given, and the cached result.

export interface CniPlugin { readonly type: string; readonly capabilities?: Readonly<Record<string, boolean>>; readonly [field: string]: unknown }
export interface CniNetwork { readonly name: string; readonly cniVersion: string; readonly disableCheck: boolean; readonly plugins: readonly CniPlugin[]; readonly file: string }
export interface CniPod { readonly namespace: string; readonly name: string; readonly uid: string; readonly sandboxId: string }
export interface PortMapping { readonly hostPort: number; readonly containerPort: number; readonly protocol: string; readonly hostIP: string }
export type CniConfig = { readonly network: CniNetwork } | { readonly problem: string };

/** As libcni: with no version a configuration speaks 0.1.0. */
const DEFAULT_VERSION = "0.1.0";
/** A plugin's type is a file name in the plugin folders and never a path. */
const TYPE = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
export const INTERFACE = "eth0";

export const isConfigFile = (name: string): boolean => /\.(conflist|conf|json)$/.test(name);

/** A `.conflist`, or a single plugin's `.conf`, which is a list of one. */
export function parseCniConfig(file: string, text: string): CniConfig {
  const bad = (why: string): CniConfig => ({ problem: `${file}: ${why}` });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return bad("not JSON");
  }
  const root = record(parsed);
  if (root === undefined) return bad("not a JSON object");
  const version = typeof root["cniVersion"] === "string" && root["cniVersion"] !== "" ? root["cniVersion"] : DEFAULT_VERSION;
  const list = file.endsWith(".conflist");
  const name = root["name"];
  if (typeof name !== "string" || !TYPE.test(name)) return bad("name: a network name is required");
  const raw = list ? root["plugins"] : [root];
  if (!Array.isArray(raw) || raw.length === 0) return bad("plugins: at least one plugin is required");
  const plugins: CniPlugin[] = [];
  for (const [i, p] of raw.entries()) {
    const plugin = record(p);
    const type = plugin?.["type"];
    if (plugin === undefined || typeof type !== "string" || !TYPE.test(type)) return bad(`plugins[${i}].type: a plugin's file name is required`);
    plugins.push(plugin as CniPlugin);
  }
  return { network: { name, cniVersion: version, disableCheck: root["disableCheck"] === true, plugins, file } };
}

/** The standard input of one plugin: its configuration, the network's name and version, what it is capable of, and the result so far. */
export function pluginInput(network: CniNetwork, plugin: CniPlugin, prevResult: unknown, runtime: Readonly<Record<string, unknown>>): string {
  const config: Record<string, unknown> = { ...plugin, name: network.name, cniVersion: network.cniVersion };
  const runtimeConfig = Object.fromEntries(Object.entries(plugin.capabilities ?? {}).filter(([k, on]) => on && runtime[k] !== undefined).map(([k]) => [k, runtime[k]]));
  delete config["capabilities"];
  if (Object.keys(runtimeConfig).length > 0) config["runtimeConfig"] = runtimeConfig;
  if (prevResult !== undefined) config["prevResult"] = prevResult;
  return JSON.stringify(config);
}

export function cniArgs(pod: CniPod): [string, string][] {
  return [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", pod.namespace], ["K8S_POD_NAME", pod.name], ["K8S_POD_INFRA_CONTAINER_ID", pod.sandboxId], ["K8S_POD_UID", pod.uid]];
}

export function pluginEnv(command: "ADD" | "DEL" | "CHECK", pod: CniPod, netns: string, path: string): Record<string, string> {
  return {
    CNI_COMMAND: command, CNI_CONTAINERID: pod.sandboxId, CNI_NETNS: netns, CNI_IFNAME: INTERFACE, CNI_PATH: path,
    CNI_ARGS: cniArgs(pod).map(([k, v]) => `${k}=${v}`).join(";"), PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
  };
}

/** The name libcni gives the file under /var/lib/cni/results. */
export const resultFile = (network: string, sandboxId: string): string => `${network}-${sandboxId}-${INTERFACE}`;

/** What libcni keeps of a successful ADD; node agents read it to find a pod's namespace. */
export function cachedResult(network: CniNetwork, pod: CniPod, netns: string, result: unknown, portMappings: readonly PortMapping[]): string {
  const config = { cniVersion: network.cniVersion, name: network.name, plugins: network.plugins };
  return JSON.stringify({
    kind: "cniCacheV1", containerId: pod.sandboxId, config: base64(JSON.stringify(config)), ifName: INTERFACE, networkName: network.name, netns,
    cniArgs: cniArgs(pod), ...(portMappings.length > 0 ? { capabilityArgs: { portMappings } } : {}), result,
  });
}
const base64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/** What the cache of an earlier ADD says, or undefined when it is not such a file. */
export function parseCachedResult(text: string): { readonly result: unknown; readonly netns: string } | undefined {
  try {
    const cache = record(JSON.parse(text));
    return cache === undefined ? undefined : { result: cache["result"], netns: typeof cache["netns"] === "string" ? cache["netns"] : "" };
  } catch {
    return undefined;
  }
}

/** Addresses of a result, the pod's own interface first; both result shapes (before and since 0.3.0) are read. */
export function resultIps(result: unknown): string[] {
  const r = record(result);
  const ips = Array.isArray(r?.["ips"]) ? r["ips"] : [];
  const out = ips.map((ip) => record(ip)?.["address"]).filter((a): a is string => typeof a === "string");
  const old = record(r?.["ip4"])?.["ip"];
  if (out.length === 0 && typeof old === "string") out.push(old);
  return out.map((a) => a.split("/")[0] ?? a);
}

/** A plugin's own words: its JSON error object, else the end of what it printed. */
export function pluginError(type: string, stdout: string, stderr: string): string {
  try {
    const e = record(JSON.parse(stdout));
    if (typeof e?.["msg"] === "string") return `plugin type="${type}" failed: ${e["msg"]}${typeof e["details"] === "string" && e["details"] !== "" ? `; ${e["details"]}` : ""}`;
  } catch { /* not the error object: its text is all there is */ }
  return `plugin type="${type}" failed: ${(stderr.trim() || stdout.trim() || "no message").slice(-500)}`;
}

/** The lab's own network: Debian's bridge with host-local addresses; no masquerading, so that servers see pods' own addresses. */
export function labConflist(podCidr: string, hostLocalDir: string): string {
  return `${JSON.stringify({
    cniVersion: "1.0.0", name: "ambit-lab",
    plugins: [
      { type: "bridge", bridge: "cni0", isGateway: true, hairpinMode: true, ipMasq: false, ipam: { type: "host-local", dataDir: hostLocalDir, ranges: [[{ subnet: podCidr }]], routes: [{ dst: "0.0.0.0/0" }] } },
      { type: "loopback" },
    ],
  }, null, 2)}\n`;
}

const record = (v: unknown): Record<string, unknown> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);
