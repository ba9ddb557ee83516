// Owns the environment of a waypoint: Istio's names where Istio has them, read once, refused whole when something is wrong.
import { parseIp, type Identity, type Ip } from "@ambit/core";
import { COMPLIANCE } from "@ambit/proxy/identity";
import { checkWatchdog, WATCHDOG } from "@ambit/proxy/loop-guard";
import { env, parseDuration, readEnv } from "@ambit/runtime";

export const SCHEMA = {
  gatewayName: env.string("GATEWAY_NAME", "", "name of the Gateway that this is; required"),
  podName: env.string("POD_NAME", "waypoint", "own pod"),
  podNamespace: env.string("POD_NAMESPACE", "default", "own namespace, and that of the Gateway"),
  instanceIp: env.string("INSTANCE_IP", "", "own address"),
  serviceAccount: env.string("SERVICE_ACCOUNT", "default", "own service account"),
  nodeName: env.string("NODE_NAME", "", "own node"),
  clusterId: env.string("ISTIO_META_CLUSTER_ID", "Kubernetes", "own cluster"),
  network: env.string("NETWORK", "", "own network"),
  trustDomain: env.string("TRUST_DOMAIN", "cluster.local", "trust domain of this mesh"),
  xdsAddress: env.string("XDS_ADDRESS", "", "control plane for configuration"),
  caAddress: env.string("CA_ADDRESS", "", "control plane for certificates"),
  xdsRootCa: env.string("XDS_ROOT_CA", "/var/run/secrets/istio/root-cert.pem", "path, SYSTEM or PEM"),
  caRootCa: env.string("CA_ROOT_CA", "/var/run/secrets/istio/root-cert.pem", "path, SYSTEM or PEM"),
  altXdsHostname: env.string("ALT_XDS_HOSTNAME", "", "name to verify instead of the address's host"),
  altCaHostname: env.string("ALT_CA_HOSTNAME", "", "name to verify instead of the address's host"),
  authToken: env.string("AUTH_TOKEN", "/var/run/secrets/tokens/istio-token", "path or token"),
  secretTtlMs: env.duration("SECRET_TTL", 24 * 3_600_000, "requested life of the certificate"),
  compliance: COMPLIANCE,
  watchdogMs: WATCHDOG,
  logFilter: env.string("AMBIT_LOG", "info", "log level, or scope=level pairs"),
  drain: env.string("TERMINATION_DRAIN_DURATION", "5s", "how long open requests may go on when the process ends"),
  minDrain: env.string("MINIMUM_DRAIN_DURATION", "5s", "of that, how long new connections are still taken, while others learn that this one goes; at most half"),
  tunnelPort: env.integer("AMBIT_TUNNEL_PORT", 15008, "where tunnels arrive", 0, 65_535),
  adminPort: env.integer("AMBIT_ADMIN_PORT", 15000, "loopback admin", 0, 65_535),
  statsPort: env.integer("AMBIT_STATS_PORT", 15020, "metrics", 0, 65_535),
  readinessPort: env.integer("AMBIT_READINESS_PORT", 15021, "readiness", 0, 65_535),
} as const;

export interface ControlPlaneConfig {
  readonly address: string;
  readonly roots: string;
  readonly token: string;
  readonly altHostname: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Config {
  /** `namespace/name` of the Gateway. */
  readonly gateway: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly instanceIp: Ip | undefined;
  readonly nodeName: string;
  readonly identity: Identity;
  readonly clusterId: string;
  readonly network: string;
  readonly xds: ControlPlaneConfig;
  readonly ca: ControlPlaneConfig;
  readonly secretTtlMs: number;
  readonly compliance: string;
  /** 0: the event loop is not guarded. */
  readonly watchdogMs: number;
  readonly logFilter: string;
  readonly drainMs: number;
  /** Part of it. */
  readonly minDrainMs: number;
  readonly tunnelPort: number;
  readonly adminPort: number;
  readonly statsPort: number;
  readonly readinessPort: number;
}

/** Throws one error that names every bad variable. */
export function readConfig(source: Readonly<Record<string, string | undefined>>): Config {
  const e = readEnv(SCHEMA, source);
  if (e.gatewayName === "") throw new Error("bad configuration:\n  GATEWAY_NAME: the name of the Gateway is required");
  const ip = e.instanceIp === "" ? undefined : parseIp(e.instanceIp);
  if (ip?.ok === false) throw new Error(`bad configuration:\n  INSTANCE_IP: ${ip.error}`);
  checkWatchdog(e.watchdogMs);
  const xdsAddress = e.xdsAddress || "https://istiod.istio-system.svc:15012";
  return Object.freeze({
    gateway: `${e.podNamespace}/${e.gatewayName}`, podName: e.podName, podNamespace: e.podNamespace, instanceIp: ip?.value, nodeName: e.nodeName,
    identity: { trustDomain: e.trustDomain, namespace: e.podNamespace, serviceAccount: e.serviceAccount },
    clusterId: e.clusterId, network: e.network,
    xds: { address: xdsAddress, roots: e.xdsRootCa, token: e.authToken, altHostname: e.altXdsHostname || undefined, headers: {} },
    ca: { address: e.caAddress || xdsAddress, roots: e.caRootCa, token: e.authToken, altHostname: e.altCaHostname || undefined, headers: {} },
    secretTtlMs: e.secretTtlMs, compliance: e.compliance, watchdogMs: e.watchdogMs, logFilter: e.logFilter, drainMs: parseDuration(e.drain), minDrainMs: Math.min(parseDuration(e.minDrain), parseDuration(e.drain) / 2),
    tunnelPort: e.tunnelPort, adminPort: e.adminPort, statsPort: e.statsPort, readinessPort: e.readinessPort,
  });
}
