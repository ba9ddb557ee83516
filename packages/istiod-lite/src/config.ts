// Owns what can be set from outside: environment variables (Istio's names where it has one), parsed once.
import { env, readEnv, type Parsed } from "@ambit/runtime";

const port = (name: string, fallback: number | undefined, help: string) => env.integer(name, fallback, help, 0, 65_535);

export const SCHEMA = {
  namespace: env.string("POD_NAMESPACE", "istio-system", "the root namespace of the mesh"),
  podName: env.string("POD_NAME", "istiod-lite", "this replica's name in the Lease"),
  clusterId: env.string("CLUSTER_ID", "Kubernetes", "the name of this cluster in workload uids and in the clusterid of callers"),
  trustDomain: env.string("TRUST_DOMAIN", "cluster.local", "the trust domain of issued identities"),
  clusterDomain: env.string("CLUSTER_DOMAIN", "cluster.local", "the DNS suffix of services"),
  revision: env.string("REVISION", "default", "the control plane's revision"),
  trustedNodeAccounts: env.string("CA_TRUSTED_NODE_ACCOUNTS", "istio-system/ztunnel", "comma list of namespace/serviceaccount that may ask for identities of pods on their node"),
  configDir: env.string("AMBIT_CONFIG_DIR", "", "a folder of YAML files instead of Kubernetes; needs AMBIT_TOKENS_FILE"),
  tokensFile: env.string("AMBIT_TOKENS_FILE", "", "who may call, where there is no Kubernetes to ask: lines token,namespace/serviceaccount[,pod]"),
  rootCaDir: env.string("ROOT_CA_DIR", "./etc/cacerts", "without Kubernetes: the folder of the authority's key, as Istio's cacerts; a root is made there when it is empty"),
  host: env.string("LISTEN_ADDRESS", "0.0.0.0", "the address of every port but the debug port"),
  grpcPort: port("GRPC_PORT", 15012, "xDS and certificates over TLS"),
  /** -1: off. */
  plaintextPort: env.integer("GRPC_PLAINTEXT_PORT", -1, "the same without TLS, still with token authentication; off unless set", -1, 65_535),
  monitoringPort: port("MONITORING_PORT", 15014, "metrics"),
  httpPort: port("HTTP_PORT", 8080, "readiness"),
  waypointOnly: env.boolean("PILOT_AUTO_ALLOW_WAYPOINT_POLICY", false, "what is bound to a waypoint lets in nobody but that waypoint (and whom other ALLOW policies let in)"),
  waypointImage: env.string("WAYPOINT_IMAGE", "ambit/waypoint:lab", "the image of the waypoints that Gateways ask for"),
  waypointControlPlane: env.string("WAYPOINT_CONTROL_PLANE", "", "host:port that waypoints connect to; empty: istiod.NAMESPACE.svc:15012"),
  debugPort: port("DEBUG_PORT", 15000, "dumps and log levels, on localhost only"),
  /** -1: off. */
  untaintNodes: env.boolean("PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS", false, "lift the startup taint from nodes whose agent is ready; needs the right to patch nodes (istiod.untaintNodes of the chart gives both)"),
  nodeTaint: env.string("PILOT_NODE_UNTAINT_CONTROLLERS_TAINT_NAME", "cni.istio.io/not-ready", "the startup taint"),
  httpsPort: env.integer("HTTPS_PORT", 15017, "the admission webhook over TLS; -1: off", -1, 65_535),
  jwksBlocked: env.string("BLOCKED_CIDRS_IN_JWKS_URIS", "", "comma list of blocks from which no keys of issuers are fetched, beyond this machine's own and link-local ones"),
  jwksAllowed: env.string("AMBIT_JWKS_ALLOWED_CIDRS", "", "comma list of blocks that are fetched from although they are blocked"),
  logFilter: env.string("AMBIT_LOG", "info", "log level, or scope=level,…"),
};

export type Config = Parsed<typeof SCHEMA>;

/** Throws one Error naming everything that is wrong. */
export function readConfig(source: Readonly<Record<string, string | undefined>>): Config {
  const config = readEnv(SCHEMA, source);
  for (const account of config.trustedNodeAccounts.split(","))
    if (account.trim() !== "" && !/^[a-z0-9.-]+\/[a-z0-9.-]+$/.test(account.trim())) throw new Error(`bad configuration:\n  CA_TRUSTED_NODE_ACCOUNTS: "${account}" is not namespace/serviceaccount`);
  if (config.configDir !== "" && config.tokensFile === "") throw new Error("bad configuration:\n  AMBIT_TOKENS_FILE is required with AMBIT_CONFIG_DIR: without Kubernetes nobody else can vouch for callers");
  return config;
}
