// Owns the environment of ztunnel: Istio's variables, read once, refused where we could not honour them.
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { parseSocketAddress, type Ip, type SocketAddress } from "@ambit/core";
import type { KeepAlive } from "@ambit/linux";
import { COMPLIANCE } from "@ambit/proxy/identity";
import { checkWatchdog, WATCHDOG } from "@ambit/proxy/loop-guard";
import type { PodInfo } from "@ambit/proxy/state";
import { env, LOG_FORMATS, parseDuration, readEnv, type LogFormat } from "@ambit/runtime";

export const SCHEMA = {
  mode: env.string("PROXY_MODE", "shared", "shared: the pods of a node, told by its agent. dedicated: one workload, in our own network namespace"),
  workloadInfo: env.string("PROXY_WORKLOAD_INFO", "", "dedicated only: NAMESPACE/NAME/SERVICE-ACCOUNT of the workload"),
  localPath: env.string("LOCAL_XDS_PATH", "", "file with workloads, services and policies, in the shape of the dump"),
  localText: env.string("LOCAL_XDS", "", "the same, as text"),
  podSocket: env.string("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock", "socket of the node agent"),
  handover: env.string("AMBIT_HANDOVER", "auto", "socket over which a successor on the node gets the listening sockets; `auto`: beside the agent's, `off`: none"),
  portReuse: env.boolean("INPOD_PORT_REUSE", true, "SO_REUSEPORT, so that an old and a new ztunnel overlap"),
  packetMark: env.integer("PACKET_MARK", 0x539, "mark of every socket of ours", 1, 0xffffffff),
  ipv6: env.boolean("IPV6_ENABLED", true, "listen dual-stack"),
  clusterId: env.string("ISTIO_META_CLUSTER_ID", "", "cluster of this ztunnel"),
  clusterIdShort: env.string("CLUSTER_ID", "Kubernetes", "the same, lower priority"),
  network: env.string("NETWORK", "", "network of this ztunnel"),
  nodeName: env.string("NODE_NAME", "", "node whose pods are local"),
  podName: env.string("POD_NAME", "ztunnel", "own pod"),
  podNamespace: env.string("POD_NAMESPACE", "istio-system", "own namespace"),
  instanceIp: env.string("INSTANCE_IP", "", "own address"),
  serviceAccount: env.string("SERVICE_ACCOUNT", "ztunnel", "own service account"),
  xdsAddress: env.string("XDS_ADDRESS", "", "control plane for configuration"),
  caAddress: env.string("CA_ADDRESS", "", "control plane for certificates"),
  xdsRootCa: env.string("XDS_ROOT_CA", "/var/run/secrets/istio/root-cert.pem", "path, SYSTEM or PEM"),
  caRootCa: env.string("CA_ROOT_CA", "/var/run/secrets/istio/root-cert.pem", "path, SYSTEM or PEM"),
  altXdsHostname: env.string("ALT_XDS_HOSTNAME", "", "name to verify instead of the address's host"),
  altCaHostname: env.string("ALT_CA_HOSTNAME", "", "name to verify instead of the address's host"),
  authToken: env.string("AUTH_TOKEN", "/var/run/secrets/tokens/istio-token", "path or token"),
  onDemand: env.boolean("XDS_ON_DEMAND", false, "ask the control plane for addresses one by one, instead of being told all (no DNS capture then)"),
  secretTtlMs: env.duration("SECRET_TTL", 24 * 3_600_000, "requested life of a workload certificate"),
  crlPath: env.string("CRL_PATH", "", "file of certificate revocation lists, PEM or DER; watched"),
  maxStreams: env.integer("POOL_MAX_STREAMS_PER_CONNECTION", 100, "streams at once in one tunnel", 1, 65_535),
  poolReleaseMs: env.duration("POOL_UNUSED_RELEASE_TIMEOUT", 300_000, "an unused tunnel is closed after this"),
  streamWindow: env.integer("HTTP2_STREAM_WINDOW_SIZE", 4 * 1024 * 1024, "bytes", 65_535, 2 ** 31 - 1),
  connectionWindow: env.integer("HTTP2_CONNECTION_WINDOW_SIZE", 16 * 1024 * 1024, "bytes", 65_535, 2 ** 31 - 1),
  frameSize: env.integer("HTTP2_FRAME_SIZE", 1024 * 1024, "bytes", 16_384, 2 ** 24 - 1),
  originalSource: env.boolean("ENABLE_ORIG_SRC", true, "the application sees the client's address"),
  tunnelsOnLoopback: env.boolean("LOCALHOST_APP_TUNNEL", true, "application tunnels (PROXY) are dialled on loopback, not on the pod's address"),
  responseBaggage: env.boolean("ENABLE_RESPONSE_BAGGAGE", true, "tell the client about the destination"),
  workerThreads: env.string("ZTUNNEL_WORKER_THREADS", "1", "threads that carry traffic: a number, 0 for one per processor, or a percentage of the processors; 1: the main thread itself"),
  keepAlive: env.boolean("KEEPALIVE_ENABLED", true, "clients of captured connections that say nothing are asked whether they are there (TCP keep-alive)"),
  keepAliveIdleMs: env.duration("KEEPALIVE_TIME", 180_000, "after so long"),
  keepAliveIntervalMs: env.duration("KEEPALIVE_INTERVAL", 15_000, "and then so often"),
  keepAliveProbes: env.integer("KEEPALIVE_RETRIES", 9, "so many unanswered questions end the connection", 1, 127),
  userTimeout: env.boolean("USER_TIMEOUT_ENABLED", false, "a client that acknowledges nothing is given up after KEEPALIVE_TIME + KEEPALIVE_RETRIES x KEEPALIVE_INTERVAL (TCP_USER_TIMEOUT)"),
  compliance: COMPLIANCE,
  watchdogMs: WATCHDOG,
  logFilter: env.string("RUST_LOG", "info", "log level, or scope=level pairs"),
  logFormat: env.string("LOG_FORMAT", "", "json or plain as Istio writes them; unset: JSON whose message is `msg`"),
  trialsAtInfo: env.boolean("AUTHZ_POLICY_INFO_LOGGING", false, "say at info, not at debug, what policies on trial would have done"),
  logOpen: env.boolean("AMBIT_ACCESS_LOG_OPEN", false, "say at info, not at debug, when a connection is opened"),
  terminationGraceS: env.integer("TERMINATION_GRACE_PERIOD_SECONDS", 0, "of our pod; 0 = not given"),
  terminationDeadline: env.string("CONNECTION_TERMINATION_DEADLINE", "", "when draining ends"),
  dnsCapture: env.string("ISTIO_META_DNS_CAPTURE", "true", "anything but true: no DNS listeners"),
  dnsAddress: env.string("ISTIO_META_DNS_PROXY_ADDR", "127.0.0.1:15053", "where the DNS listeners are, in each pod"),
  clusterDomain: env.string("CLUSTER_DOMAIN", "cluster.local", "domain of cluster names"),
  preferredNamespace: env.string("PREFERED_SERVICE_NAMESPACE", "", "whose services win a tie between namespaces (Istio's spelling)"),
  adminPort: env.integer("AMBIT_ADMIN_PORT", 15000, "loopback admin", 0, 65_535),
  statsPort: env.integer("AMBIT_STATS_PORT", 15020, "metrics", 0, 65_535),
  readinessPort: env.integer("AMBIT_READINESS_PORT", 15021, "readiness", 0, 65_535),
} as const;

/** Switches of the real ztunnel that we do not have: a value other than these is refused, never ignored. */
export const UNSUPPORTED: Readonly<Record<string, readonly string[]>> = {
  ENABLE_PROXY: ["true"], FAKE_CA: ["false"], TLS12_ENABLED: ["false"], UNSTABLE_ENABLE_SOCKS5: ["false"], PROXY_CONFIG: [],
};

/** Tuning of the real ztunnel's runtime that has no counterpart here: harmless, but said once in the log. */
const WITHOUT_EFFECT: readonly string[] = ["TRUST_DOMAIN"];

export interface Config {
  /** Variables that are set and change nothing. */
  readonly withoutEffect: readonly string[];
  /** The one workload that we serve; undefined: the pods that the node agent tells about. */
  readonly dedicated: PodInfo | undefined;
  /** Read once, before anything else. */
  readonly local: { readonly path: string } | { readonly text: string } | undefined;
  /** false: the local configuration is all there is. */
  readonly followXds: boolean;
  readonly podSocket: string;
  /** Undefined: listening sockets are neither taken over nor handed over. */
  readonly handoverSocket: string | undefined;
  readonly portReuse: boolean;
  readonly packetMark: number;
  readonly ipv6: boolean;
  readonly clusterId: string;
  readonly network: string;
  readonly nodeName: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly instanceIp: string | undefined;
  readonly serviceAccount: string;
  readonly xds: ControlPlaneConfig;
  readonly ca: ControlPlaneConfig;
  /** Addresses are asked for one by one. */
  readonly onDemand: boolean;
  readonly secretTtlMs: number;
  readonly crlPath: string | undefined;
  readonly maxStreams: number;
  readonly poolReleaseMs: number;
  readonly streamWindow: number;
  readonly connectionWindow: number;
  readonly frameSize: number;
  readonly originalSource: boolean;
  readonly tunnelsOnLoopback: boolean;
  readonly responseBaggage: boolean;
  /** Threads that carry traffic; 1: the main thread does, and there are no others. */
  readonly workerThreads: number;
  /** Of what is accepted. */
  readonly keepAlive: KeepAlive;
  readonly compliance: string;
  /** 0: event loops are not guarded. */
  readonly watchdogMs: number;
  readonly logFilter: string;
  readonly logFormat: LogFormat;
  readonly trialsAtInfo: boolean;
  readonly logOpen: boolean;
  readonly drainMs: number;
  /** undefined: no DNS listeners. */
  readonly dns: DnsConfig | undefined;
  readonly nodeMetadata: Readonly<Record<string, unknown>>;
  readonly adminPort: number;
  readonly statsPort: number;
  readonly readinessPort: number;
}

export interface DnsConfig {
  /** With IPv4's loopback also that of IPv6, which a pod may lack. */
  readonly listen: readonly SocketAddress[];
  readonly domain: string;
  readonly preferredNamespace: string | undefined;
}

export interface ControlPlaneConfig {
  readonly address: string;
  readonly roots: string;
  readonly token: string;
  readonly altHostname: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws one error that names every bad variable. */
export function readConfig(source: Environment): Config {
  const refused = Object.entries(UNSUPPORTED).filter(([name, allowed]) => (source[name] ?? "") !== "" && !allowed.includes(source[name] ?? ""));
  if (refused.length > 0) throw new Error(`bad configuration:\n  ${refused.map(([name]) => `${name}=${source[name]} is not supported`).join("\n  ")}`);
  const e = readEnv(SCHEMA, source);
  if (e.onDemand && e.dnsCapture === "true") throw new Error("bad configuration:\n  XDS_ON_DEMAND=true: names cannot be answered when only addresses are asked for; set ISTIO_META_DNS_CAPTURE=false");
  if ((e.mode !== "shared" || e.localPath !== "" || e.localText !== "") && workerThreads(e.workerThreads, e.portReuse) > 1) throw new Error("bad configuration:\n  ZTUNNEL_WORKER_THREADS: one workload, or a local file, is served by one thread");
  checkWatchdog(e.watchdogMs);
  const inCluster = (source["KUBERNETES_SERVICE_HOST"] ?? "") !== "";
  const fallback = inCluster ? "https://istiod.istio-system.svc:15012" : "https://localhost:15012";
  const xdsAddress = e.xdsAddress || fallback;
  return Object.freeze({
    withoutEffect: WITHOUT_EFFECT.filter((name) => (source[name] ?? "") !== ""),
    dedicated: dedicatedTo(e.mode, e.workloadInfo), local: localSource(e.localPath, e.localText), followXds: e.xdsAddress !== "" || (e.localPath === "" && e.localText === ""),
    podSocket: e.podSocket, handoverSocket: e.handover === "off" ? undefined : e.handover === "auto" ? join(dirname(e.podSocket), "ambit-handover.sock") : e.handover, portReuse: e.portReuse, packetMark: e.packetMark, ipv6: e.ipv6,
    clusterId: e.clusterId || e.clusterIdShort, network: e.network, nodeName: e.nodeName,
    podName: e.podName, podNamespace: e.podNamespace, instanceIp: e.instanceIp || undefined, serviceAccount: e.serviceAccount,
    xds: { address: xdsAddress, roots: e.xdsRootCa, token: e.authToken, altHostname: e.altXdsHostname || undefined, headers: headers(source, "XDS_HEADER_") },
    ca: { address: e.caAddress || xdsAddress, roots: e.caRootCa, token: e.authToken, altHostname: e.altCaHostname || undefined, headers: headers(source, "CA_HEADER_") },
    onDemand: e.onDemand, secretTtlMs: e.secretTtlMs, crlPath: e.crlPath || undefined, maxStreams: e.maxStreams, poolReleaseMs: e.poolReleaseMs,
    streamWindow: e.streamWindow, connectionWindow: e.connectionWindow, frameSize: e.frameSize,
    originalSource: e.originalSource, tunnelsOnLoopback: e.tunnelsOnLoopback, responseBaggage: e.responseBaggage, workerThreads: workerThreads(e.workerThreads, e.portReuse), compliance: e.compliance, keepAlive: keepAlive(e), watchdogMs: e.watchdogMs, logFilter: e.logFilter,
    logFormat: logFormat(e.logFormat), trialsAtInfo: e.trialsAtInfo, logOpen: e.logOpen,
    drainMs: drainDeadline(e.terminationDeadline, e.terminationGraceS), nodeMetadata: metadata(source),
    dns: e.dnsCapture === "true" ? { listen: dnsListeners(e.dnsAddress, e.ipv6), domain: e.clusterDomain, preferredNamespace: e.preferredNamespace || undefined } : undefined,
    adminPort: e.adminPort, statsPort: e.statsPort, readinessPort: e.readinessPort,
  });
}

/** The kernel's bound, seconds. */
const KEEPALIVE_MAX_S = 32_767;

function keepAlive(e: { keepAlive: boolean; keepAliveIdleMs: number; keepAliveIntervalMs: number; keepAliveProbes: number; userTimeout: boolean }): KeepAlive {
  const seconds = ({ env: name }: { env: string }, ms: number): number => {
    const s = Math.round(ms / 1000);
    if (s < 1 || s > KEEPALIVE_MAX_S) throw new Error(`bad configuration:\n  ${name}: ${ms} ms is not 1 to ${KEEPALIVE_MAX_S} s`);
    return s;
  };
  const [idleS, intervalS] = [seconds(SCHEMA.keepAliveIdleMs, e.keepAliveIdleMs), seconds(SCHEMA.keepAliveIntervalMs, e.keepAliveIntervalMs)];
  return {
    probes: e.keepAlive ? { idleS, intervalS, count: e.keepAliveProbes } : undefined,
    userTimeoutMs: e.userTimeout ? e.keepAliveIdleMs + e.keepAliveProbes * e.keepAliveIntervalMs : 0,
  };
}

/** Threads beyond this help nobody: each has listeners in every pod and a copy of the state. */
const WORKERS_MAX = 64;

/** As Istio writes it: a number, 0 for all processors, or a percentage of them, rounded up. */
export function workerThreads(text: string, portReuse: boolean, processors = availableParallelism()): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text);
  const share = Number(match?.[1]);
  const threads = match !== null ? (share > 0 && share <= 100 ? Math.ceil((processors * share) / 100) : NaN) : /^\d+$/.test(text) ? Number(text) || processors : NaN;
  if (!(threads >= 1 && threads <= WORKERS_MAX)) throw new Error(`bad configuration:\n  ZTUNNEL_WORKER_THREADS: "${text}" is not 0 to ${WORKERS_MAX} or a percentage`);
  if (threads > 1 && !portReuse) throw new Error("bad configuration:\n  ZTUNNEL_WORKER_THREADS: several threads share their ports, which INPOD_PORT_REUSE=false forbids");
  return threads;
}

function dedicatedTo(mode: string, info: string): PodInfo | undefined {
  if (mode === "shared") {
    if (info !== "") throw new Error("bad configuration:\n  PROXY_WORKLOAD_INFO is for PROXY_MODE=dedicated only");
    return undefined;
  }
  if (mode !== "dedicated") throw new Error(`bad configuration:\n  PROXY_MODE: "${mode}" is none of shared, dedicated`);
  const [namespace = "", name = "", serviceAccount = "", ...more] = info.split("/");
  if (namespace === "" || name === "" || serviceAccount === "" || more.length > 0) throw new Error(`bad configuration:\n  PROXY_WORKLOAD_INFO: "${info}" is not NAMESPACE/NAME/SERVICE-ACCOUNT`);
  return { namespace, name, serviceAccount };
}

function localSource(path: string, text: string): Config["local"] {
  if (path !== "" && text !== "") throw new Error("bad configuration:\n  only one of LOCAL_XDS_PATH and LOCAL_XDS may be set");
  return path !== "" ? { path } : text !== "" ? { text } : undefined;
}

function logFormat(text: string): LogFormat {
  const format = text === "" ? "ambit-json" : LOG_FORMATS.find((f) => f === text);
  if (format === undefined) throw new Error(`bad configuration:\n  LOG_FORMAT: "${text}" is none of json, plain`);
  return format;
}

const DRAIN_DEFAULT_MS = 5_000;

/** Some seconds of the pod's grace period are kept for closing, so that the kernel never ends us first. */
function drainDeadline(explicit: string, graceS: number): number {
  if (explicit !== "") return parseDuration(explicit);
  if (graceS === 0) return DRAIN_DEFAULT_MS;
  return 1000 * Math.max(1, graceS > 10 ? graceS - 5 : graceS - 1);
}

function dnsListeners(text: string, ipv6: boolean): SocketAddress[] {
  const parsed = parseSocketAddress(text);
  if (!parsed.ok) throw new Error(`bad configuration:\n  ISTIO_META_DNS_PROXY_ADDR: ${parsed.error}`);
  const first = parsed.value;
  return ipv6 && first.ip === "127.0.0.1" ? [first, { ip: "::1" as Ip, port: first.port }] : [first];
}

function headers(source: Environment, prefix: string): Record<string, string> {
  return Object.fromEntries(Object.entries(source).filter(([k, v]) => k.startsWith(prefix) && v !== undefined).map(([k, v]) => [k.slice(prefix.length).toLowerCase(), v ?? ""]));
}

function metadata(source: Environment): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(source)) {
    if (value === undefined) continue;
    if (name.startsWith("ISTIO_METAJSON_")) out[name.slice("ISTIO_METAJSON_".length)] = JSON.parse(value) as unknown;
    else if (name.startsWith("ISTIO_META_")) out[name.slice("ISTIO_META_".length)] = value;
  }
  return out;
}
