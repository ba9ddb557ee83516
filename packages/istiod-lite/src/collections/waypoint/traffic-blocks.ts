// Owns the blocks of a traffic policy: balancing, pools, ejection, TLS, budget; each read whole with Istio's defaults (l7-traffic.md §4.2–§4.6).
import { DEFAULT_TRAFFIC, type Balancer, type ConnectionPool, type HashKey, type LocalityBalancing, type OutlierDetection, type RetryBudget, type TrafficSettings, type UpstreamTls } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import { flag, headerName, integer, istioDuration } from "./read.ts";

/** A block that is undefined says nothing. */
export interface Blocks {
  readonly pool: ConnectionPool | undefined;
  readonly balancing: Balancing | undefined;
  readonly outlier: OutlierDetection | undefined;
  /** `off`: said, and none. Names are filled in from the host. */
  readonly tls: UpstreamTls | "off" | undefined;
  readonly retryBudget: RetryBudget | undefined;
  readonly proxyProtocol: "v1" | "v2" | undefined;
}
interface Balancing { readonly balancer: Balancer; readonly warmup: TrafficSettings["warmup"]; readonly locality: LocalityBalancing | "off" | undefined }

const INT_MAX = 2 ** 31 - 1;

export function readBlocks(reader: Reader, fields: Fields, path: string, remarks: string[]): Blocks {
  const block = <T>(name: string, read: (f: Fields, at: string) => T): T | undefined => {
    const inner = reader.map(fields[name], `${path}.${name}`);
    return inner === undefined ? undefined : read(inner, `${path}.${name}`);
  };
  return {
    pool: block("connectionPool", (f, at) => poolOf(reader, f, at, remarks)), balancing: block("loadBalancer", (f, at) => balancingOf(reader, f, at)),
    outlier: block("outlierDetection", (f, at) => outlierOf(reader, f, at)), tls: block("tls", (f, at) => tlsOf(reader, f, at)),
    retryBudget: block("retryBudget", (f, at) => budgetOf(reader, f, at)),
    proxyProtocol: block("proxyProtocol", (f, at) => (reader.oneOf(reader.object(f, at, ["version"])?.["version"], `${at}.version`, ["V1", "V2"]) === "V2" ? "v2" : "v1")),
  };
}

/** Block by block over `under`. */
export function withBlocks(under: TrafficSettings, b: Blocks, hostname: string): TrafficSettings {
  const outlier = b.outlier ?? under.outlier;
  const said = b.balancing?.locality;
  // Failing over needs somebody who says that an endpoint is bad; with that it is on unless it is said to be off.
  const failover = said === "off" ? undefined : said ?? (outlier === undefined ? undefined : under.locality ?? EVERY_LOCALITY);
  const locality = failover !== undefined && failover.distribute.length === 0 && outlier === undefined ? undefined : failover;
  return {
    balancer: b.balancing?.balancer ?? under.balancer, warmup: b.balancing === undefined ? under.warmup : b.balancing.warmup, locality,
    pool: b.pool ?? under.pool, outlier, tls: b.tls === undefined ? under.tls : b.tls === "off" ? undefined : named(b.tls, hostname),
    retryBudget: b.retryBudget ?? under.retryBudget, proxyProtocol: b.proxyProtocol ?? under.proxyProtocol,
  };
}
const EVERY_LOCALITY: LocalityBalancing = { failoverPriority: [], failover: [], distribute: [] };

/** Who the server is must be known: the host itself, where nothing else is said. */
const named = (tls: UpstreamTls, hostname: string): UpstreamTls => {
  const host = hostname.startsWith("*") ? undefined : hostname;
  const sni = tls.sni ?? host;
  return { ...tls, sni, subjectAltNames: tls.subjectAltNames.length > 0 || tls.insecureSkipVerify || sni === undefined ? tls.subjectAltNames : [sni] };
};

function poolOf(reader: Reader, fields: Fields, path: string, remarks: string[]): ConnectionPool {
  reader.object(fields, path, ["tcp", "http"]);
  const tcp = reader.object(fields["tcp"], `${path}.tcp`, ["maxConnections", "connectTimeout", "tcpKeepalive", "maxConnectionDuration", "idleTimeout"]) ?? {};
  const http = reader.object(fields["http"], `${path}.http`, ["http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries", "idleTimeout", "h2UpgradePolicy", "useClientProtocol", "maxConcurrentStreams", "http2KeepAlive"]) ?? {};
  for (const name of ["tcpKeepalive", "maxConnectionDuration"]) if (tcp[name] !== undefined) remarks.push(`${path}.tcp.${name} has no effect: connections to endpoints are streams of tunnels`);
  for (const name of ["useClientProtocol", "maxConcurrentStreams", "http2KeepAlive"]) if (http[name] !== undefined) remarks.push(`${path}.http.${name} has no effect here`);
  const limit = (from: Fields, name: string, at: string): number | undefined => {
    const n = integer(reader, from[name], `${at}.${name}`, 0, INT_MAX);
    // Zero is how protobuf writes nothing.
    return n === 0 ? undefined : n;
  };
  const upgrade = reader.oneOf(http["h2UpgradePolicy"], `${path}.http.h2UpgradePolicy`, ["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]);
  const idle = istioDuration(reader, http["idleTimeout"], `${path}.http.idleTimeout`) ?? istioDuration(reader, tcp["idleTimeout"], `${path}.tcp.idleTimeout`);
  return {
    maxConnections: limit(tcp, "maxConnections", `${path}.tcp`),
    connectTimeoutMs: istioDuration(reader, tcp["connectTimeout"], `${path}.tcp.connectTimeout`) || DEFAULT_TRAFFIC.pool.connectTimeoutMs,
    maxPendingRequests: limit(http, "http1MaxPendingRequests", `${path}.http`), maxRequests: limit(http, "http2MaxRequests", `${path}.http`),
    maxRequestsPerConnection: limit(http, "maxRequestsPerConnection", `${path}.http`), maxRetries: limit(http, "maxRetries", `${path}.http`),
    idleTimeoutMs: idle ?? DEFAULT_TRAFFIC.pool.idleTimeoutMs, upgradeToHttp2: upgrade === "UPGRADE" ? true : upgrade === "DO_NOT_UPGRADE" ? false : undefined,
  };
}

function balancingOf(reader: Reader, fields: Fields, path: string): Balancing {
  reader.object(fields, path, ["simple", "consistentHash", "localityLbSetting", "warmup", "warmupDurationSecs"]);
  const simple = reader.oneOf(fields["simple"], `${path}.simple`, ["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "ROUND_ROBIN", "PASSTHROUGH"]);
  const hash = reader.map(fields["consistentHash"], `${path}.consistentHash`);
  if (simple !== undefined && hash !== undefined) reader.refuse(path, "simple and consistentHash exclude each other");
  const warmup = reader.object(fields["warmup"], `${path}.warmup`, ["duration", "minimumPercent", "aggression"]) ?? (fields["warmupDurationSecs"] === undefined ? undefined : { duration: fields["warmupDurationSecs"] });
  const balancer: Balancer = hash !== undefined ? hashOf(reader, hash, `${path}.consistentHash`)
    : { kind: simple === "ROUND_ROBIN" ? "round-robin" : simple === "RANDOM" ? "random" : simple === "PASSTHROUGH" ? "passthrough" : "least-request" };
  const number = (name: string, fallback: number): number => {
    const n = warmup?.[name];
    return n === undefined ? fallback : typeof n === "number" && n >= 0 && n <= 100 ? n : (reader.refuse(`${path}.warmup.${name}`, "must be from 0 to 100") ?? fallback);
  };
  const duration = warmup === undefined ? undefined : istioDuration(reader, warmup["duration"], `${path}.warmup.duration`);
  return {
    balancer, locality: localityOf(reader, fields["localityLbSetting"], `${path}.localityLbSetting`),
    warmup: duration === undefined || duration === 0 ? undefined : { durationMs: duration, minimumPercent: number("minimumPercent", 10), aggression: number("aggression", 1) },
  };
}

/** Istio's defaults. A table is memory for every replica: sizes are bounded as Istio bounds them. */
const RING_MINIMUM = 1_024;
const RING_MAX = 8_388_608;
const MAGLEV = 65_537;
const MAGLEV_MAX = 5_000_011;

function hashOf(reader: Reader, fields: Fields, path: string): Balancer {
  reader.object(fields, path, ["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName", "ringHash", "maglev", "minimumRingSize"]);
  const header = headerName(reader, fields["httpHeaderName"], `${path}.httpHeaderName`);
  const query = reader.text(fields["httpQueryParameterName"], `${path}.httpQueryParameterName`);
  const cookie = reader.object(fields["httpCookie"], `${path}.httpCookie`, ["name", "path", "ttl", "attributes"]);
  const keys: HashKey[] = [
    ...(header === undefined ? [] : [{ kind: "header", name: header } as const]), ...(query === undefined ? [] : [{ kind: "query", name: query } as const]),
    ...(flag(reader, fields["useSourceIp"], `${path}.useSourceIp`) === true ? [{ kind: "source-ip" } as const] : []),
    ...(cookie === undefined ? [] : [cookieKey(reader, cookie, `${path}.httpCookie`)]),
  ];
  if (keys.length !== 1) reader.refuse(path, "must name one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName");
  const maglev = reader.object(fields["maglev"], `${path}.maglev`, ["tableSize"]);
  const ring = reader.object(fields["ringHash"], `${path}.ringHash`, ["minimumRingSize"]);
  const size = integer(reader, ring?.["minimumRingSize"], `${path}.ringHash.minimumRingSize`, 0, RING_MAX) ?? integer(reader, fields["minimumRingSize"], `${path}.minimumRingSize`, 0, RING_MAX);
  return {
    kind: "consistent-hash", key: keys[0] ?? { kind: "source-ip" },
    algorithm: maglev === undefined ? { kind: "ring", minimumSize: size || RING_MINIMUM } : { kind: "maglev", tableSize: tableSize(reader, maglev["tableSize"], `${path}.maglev.tableSize`) },
  };
}

function tableSize(reader: Reader, value: unknown, path: string): number {
  const size = integer(reader, value, path, 2, MAGLEV_MAX) ?? MAGLEV;
  for (let d = 2; d * d <= size; d++) if (size % d === 0) return reader.refuse(path, `${size} is not a prime`) ?? MAGLEV;
  return size;
}

/** A browser knows a handful (RFC 6265 §5.2, SameSite, Partitioned). */
const ATTRIBUTES_MAX = 16;
const OURS: ReadonlySet<string> = new Set(["path", "max-age", "expires"]);

/** What would end it, and begin another attribute or another field, is refused. */
function cookiePart(reader: Reader, value: unknown, path: string): string {
  const text = reader.text(value, path) ?? "";
  return /^[\x20-\x3a\x3c-\x7e]{0,1024}$/.test(text) ? text : (reader.refuse(path, "has characters that no cookie may have here") ?? "");
}

function cookieKey(reader: Reader, fields: Fields, path: string): HashKey {
  const name = reader.text(fields["name"], `${path}.name`) ?? "";
  if (!/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(name)) reader.refuse(`${path}.name`, "must be the name of a cookie");
  const ttl = istioDuration(reader, fields["ttl"], `${path}.ttl`);
  const where = cookiePart(reader, fields["path"], `${path}.path`);
  const list = reader.list(fields["attributes"], `${path}.attributes`) ?? [];
  if (list.length > ATTRIBUTES_MAX) reader.refuse(`${path}.attributes`, `has more than ${ATTRIBUTES_MAX} entries`);
  const attributes = list.slice(0, ATTRIBUTES_MAX).flatMap((a, i): [string, string][] => {
    const at = `${path}.attributes[${i}]`;
    const entry = reader.object(a, at, ["name", "value"]) ?? {};
    const attribute = reader.text(entry["name"], `${at}.name`) ?? "";
    const value = cookiePart(reader, entry["value"], `${at}.value`);
    if (!/^[A-Za-z][A-Za-z-]{0,63}$/.test(attribute)) return reader.refuse(`${at}.name`, "is not the name of a cookie's attribute") ?? [];
    if (OURS.has(attribute.toLowerCase())) return reader.refuse(`${at}.name`, `${attribute} is said by path and ttl`) ?? [];
    return [[attribute, value]];
  });
  return { kind: "cookie", name, path: where, ttlS: ttl === undefined ? undefined : Math.ceil(ttl / 1_000), ...(attributes.length === 0 ? {} : { attributes }) };
}

function localityOf(reader: Reader, value: unknown, path: string): LocalityBalancing | "off" | undefined {
  const fields = reader.object(value, path, ["enabled", "distribute", "failover", "failoverPriority"]);
  if (fields === undefined) return undefined;
  if (flag(reader, fields["enabled"], `${path}.enabled`) === false) return "off";
  const given = ["distribute", "failover", "failoverPriority"].filter((n) => fields[n] !== undefined);
  if (given.length > 1) reader.refuse(path, `${given.join(" and ")} exclude each other`);
  const text = (f: Fields | undefined, name: string, at: string): string => reader.text(f?.[name], `${at}.${name}`) ?? (reader.refuse(`${at}.${name}`, "is missing") ?? "");
  return {
    failoverPriority: fields["failoverPriority"] === undefined ? [] : (reader.texts(fields["failoverPriority"], `${path}.failoverPriority`) ?? []),
    failover: (reader.list(fields["failover"], `${path}.failover`) ?? []).map((f, i) => {
      const at = `${path}.failover[${i}]`;
      const pair = reader.object(f, at, ["from", "to"]);
      return { from: text(pair, "from", at), to: text(pair, "to", at) };
    }),
    distribute: (reader.list(fields["distribute"], `${path}.distribute`) ?? []).map((d, i) => {
      const at = `${path}.distribute[${i}]`;
      const entry = reader.object(d, at, ["from", "to"]);
      const to = Object.fromEntries(Object.entries(reader.map(entry?.["to"], `${at}.to`) ?? {}).map(([k, v]) => [k, integer(reader, v, `${at}.to.${k}`, 0, 100) ?? 0]));
      if (Object.values(to).reduce((a, b) => a + b, 0) !== 100) reader.refuse(`${at}.to`, "the weights must add up to 100");
      return { from: text(entry, "from", at), to };
    }),
  };
}

function outlierOf(reader: Reader, fields: Fields, path: string): OutlierDetection {
  reader.object(fields, path, ["consecutive5xxErrors", "consecutiveErrors", "consecutiveGatewayErrors", "consecutiveLocalOriginFailures", "splitExternalLocalOriginErrors", "interval",
    "baseEjectionTime", "maxEjectionPercent", "minHealthPercent", "outlierDetectionHttpErrorCodes"]);
  const count = (name: string, fallback: number, max = INT_MAX): number => integer(reader, fields[name], `${path}.${name}`, 0, max) ?? fallback;
  const statuses = (reader.list(fields["outlierDetectionHttpErrorCodes"], `${path}.outlierDetectionHttpErrorCodes`) ?? [])
    .flatMap((c, i) => integer(reader, c, `${path}.outlierDetectionHttpErrorCodes[${i}]`, 100, 599) ?? []);
  return {
    consecutive5xx: count("consecutive5xxErrors", count("consecutiveErrors", 5)), consecutiveGatewayErrors: count("consecutiveGatewayErrors", 0),
    splitLocalOrigin: flag(reader, fields["splitExternalLocalOriginErrors"], `${path}.splitExternalLocalOriginErrors`) ?? false,
    consecutiveLocalOrigin: count("consecutiveLocalOriginFailures", 5),
    intervalMs: istioDuration(reader, fields["interval"], `${path}.interval`) || 10_000, baseEjectionMs: istioDuration(reader, fields["baseEjectionTime"], `${path}.baseEjectionTime`) || 30_000,
    maxEjectionPercent: count("maxEjectionPercent", 10, 100), minHealthPercent: count("minHealthPercent", 0, 100),
    ...(statuses.length === 0 ? {} : { errorStatuses: statuses }),
  };
}

/** Between waypoint and endpoint there is a tunnel in any case; this is what the application itself expects inside it. */
function tlsOf(reader: Reader, fields: Fields, path: string): UpstreamTls | "off" {
  reader.object(fields, path, ["mode", "clientCertificate", "privateKey", "caCertificates", "credentialName", "subjectAltNames", "sni", "insecureSkipVerify", "caCrl"]);
  const mode = reader.oneOf(fields["mode"], `${path}.mode`, ["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]) ?? "DISABLE";
  if (mode === "DISABLE" || mode === "ISTIO_MUTUAL") return "off";
  if (mode === "MUTUAL") reader.refuse(`${path}.mode`, "MUTUAL is not available: waypoints hold no certificates but their own");
  // Istio's word for the roots that the system trusts, which is what is used anyway.
  const roots = fields["caCertificates"] === "system" ? [] : ["caCertificates"];
  for (const name of ["clientCertificate", "privateKey", ...roots, "credentialName", "caCrl"])
    if (fields[name] !== undefined) reader.refuse(`${path}.${name}`, "is not available: waypoints read no files and no Secrets");
  return {
    mode: "simple", sni: reader.text(fields["sni"], `${path}.sni`) || undefined, rootsPem: undefined,
    subjectAltNames: fields["subjectAltNames"] === undefined ? [] : (reader.texts(fields["subjectAltNames"], `${path}.subjectAltNames`) ?? []),
    insecureSkipVerify: flag(reader, fields["insecureSkipVerify"], `${path}.insecureSkipVerify`) ?? false,
  };
}

function budgetOf(reader: Reader, fields: Fields, path: string): RetryBudget {
  reader.object(fields, path, ["percent", "minRetryConcurrency"]);
  const percent = fields["percent"];
  if (percent !== undefined && !(typeof percent === "number" && percent >= 0 && percent <= 100)) reader.refuse(`${path}.percent`, "must be from 0 to 100");
  return { percent: typeof percent === "number" ? percent : 20, minConcurrency: integer(reader, fields["minRetryConcurrency"], `${path}.minRetryConcurrency`, 0, INT_MAX) ?? 3 };
}
