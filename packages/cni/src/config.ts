// Owns the agent's configuration: Istio's environment names, read once.
import { load } from "js-yaml";
import { describeProblems } from "@ambit/core";
import { env, readEnv } from "@ambit/runtime";
import { decodeSelectors, DEFAULT_SELECTORS, type EnablementSelector } from "./plan/selectors.ts";

const OWNED_NAME = "02-istio-cni.conflist";

export const ENV = {
  nodeName: env.string("NODE_NAME", undefined, "the node whose pods this agent enrols"),
  podNamespace: env.string("POD_NAMESPACE", "istio-system", "the agent's own namespace; ztunnel lives there too"),
  selectors: env.string("AMBIENT_ENABLEMENT_SELECTOR", "", "YAML list of {podSelector, namespaceSelector}"),
  excludeNamespaces: env.string("EXCLUDE_NAMESPACES", "kube-system", "comma list of namespaces that are never enrolled"),
  dnsCapture: env.boolean("AMBIENT_DNS_CAPTURE", false, "redirect pods' DNS to ztunnel"),
  nativeNft: env.boolean("NATIVE_NFTABLES", true, "write pods' rules with nft; false: with iptables-nft"),
  ipv6: env.boolean("AMBIENT_IPV6", true, "write IPv6 rules where the pod has IPv6"),
  probeIpv4: env.string("HOST_PROBE_SNAT_IP", "169.254.7.127", "source address of the node's own connections to enrolled pods"),
  probeIpv6: env.string("HOST_PROBE_SNAT_IPV6", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff", "the same for IPv6"),
  zdsPath: env.string("ZTUNNEL_UDS_ADDRESS", "/var/run/ztunnel/ztunnel.sock", "where ztunnels connect"),
  runDir: env.string("CNI_AGENT_RUN_DIR", "/var/run/istio-cni", "plugin events, log and kubeconfig"),
  hostRoot: env.string("AMBIT_HOST_ROOT", "/host", "where the node's own files are mounted"),
  netDir: env.string("MOUNTED_CNI_NET_DIR", "/host/etc/cni/net.d", "the node's CNI configuration"),
  binDir: env.string("MOUNTED_CNI_BIN_DIR", "/host/opt/cni/bin", "the node's CNI plugins"),
  confName: env.string("CNI_CONF_NAME", "", "configuration file to chain to; default: the lexically first"),
  owned: env.boolean("ISTIO_OWNED_CNI_CONFIG", false, "a copy of the primary configuration with the plugin in it, read before it; the primary is left alone"),
  ownedName: env.string("ISTIO_OWNED_CNI_CONFIG_FILENAME", OWNED_NAME, "its name: must sort before the primary"),
  ownedNameOfChart: env.string("ISTIO_OWNED_CNI_CONF_FILENAME", "", "the same, as Istio's chart writes it"),
  chained: env.boolean("CHAINED_CNI_PLUGIN", true, "append to the primary configuration; false: a file of our own for multus and the like"),
  verifyMs: env.duration("AMBIT_VERIFY_INTERVAL", 30_000, "how often rules are compared with what they should be, and repaired"),
  drainMs: env.duration("AMBIT_RELEASE_DRAIN", 5_000, "how long connections of a pod that leaves the mesh may take to end, at least 2 s"),
  healthPort: env.integer("AMBIT_HEALTH_PORT", 8000, "readiness and liveness", 0, 65535),
  metricsPort: env.integer("MONITORING_PORT", 15014, "metrics", 0, 65535),
  logLevel: env.string("AMBIT_LOG", "info", "log level, or scope=level list"),
  kubeHost: env.string("KUBERNETES_SERVICE_HOST", "", "API server address as pods see it"),
  kubePort: env.string("KUBERNETES_SERVICE_PORT", "443", "API server port"),
} as const;

/** Switches of the real agent that we do not have: a value other than these is refused, never ignored. */
export const UNSUPPORTED: Readonly<Record<string, readonly string[]>> = {
  AMBIENT_ENABLED: ["true"], AMBIENT_RECONCILE_POD_RULES_ON_STARTUP: ["true"], ENABLE_AMBIENT_DETECTION_RETRY: ["true"],
  ALLOW_SWITCH_TO_HOST_NS: ["false"], AMBIENT_ENABLE_AWS_BRANCH_ENI_PROBE: ["false"], REPAIR_ENABLED: ["false"],
};

export type Config = Omit<ReturnType<typeof readEnv<typeof ENV>>, "selectors" | "excludeNamespaces"> & {
  readonly selectors: readonly EnablementSelector[];
  readonly excludeNamespaces: readonly string[];
};

/** Throws naming the variable and what is wrong with it. */
export function readConfig(source: NodeJS.ProcessEnv): Config {
  const refused = Object.entries(UNSUPPORTED).filter(([name, allowed]) => (source[name] ?? "") !== "" && !allowed.includes(source[name] ?? ""));
  if (refused.length > 0) throw new Error(`bad configuration:\n  ${refused.map(([name]) => `${name}=${source[name]} is not supported`).join("\n  ")}`);
  const raw = readEnv(ENV, source);
  let selectors = DEFAULT_SELECTORS;
  if (raw.selectors !== "") {
    let value: unknown;
    try {
      value = load(raw.selectors);
    } catch (cause) {
      throw new Error("AMBIENT_ENABLEMENT_SELECTOR is not YAML", { cause });
    }
    const decoded = decodeSelectors(value);
    if (!decoded.ok) throw new Error(`AMBIENT_ENABLEMENT_SELECTOR: ${describeProblems(decoded.error)}`);
    selectors = decoded.value;
  }
  const ownedName = raw.ownedNameOfChart === "" ? raw.ownedName : raw.ownedNameOfChart;
  if (!/^[\w.-]+\.conflist$/.test(ownedName)) throw new Error(`bad configuration:\n  ISTIO_OWNED_CNI_CONFIG_FILENAME: "${ownedName}" is not the name of a .conflist`);
  if (raw.owned && !raw.chained) throw new Error("bad configuration:\n  ISTIO_OWNED_CNI_CONFIG: a copy of the primary configuration needs CHAINED_CNI_PLUGIN=true");
  return { ...raw, ownedName, selectors, excludeNamespaces: raw.excludeNamespaces.split(",").map((s) => s.trim()).filter(Boolean) };
}
