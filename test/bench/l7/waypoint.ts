// Owns our waypoint for the bench: as its pod runs it (its own `build`: tunnels in and out, routes, policies, metrics, access lines to stdout), told what to do
// by hand instead of by a control plane; and, beside the tunnels, plain streams into the same serving part, for what others measure without TLS.
import { encodeWaypointConfig, parseCidr, parseIp, type Filters, type HttpRoute, type Ip, type PolicySource, type RequestPolicy, type StringMatch, type WaypointConfig } from "@ambit/core";
import { workload } from "@ambit/proto";
import { pod, pushWorld, svc } from "@ambit/proxy/testing";
import { LogLevels, createLogger, Stop } from "@ambit/runtime";
import { listenStream, type ByteStream } from "@ambit/transport";
import { build, prepareHeap, type ConnectionFacts } from "@ambit/waypoint";
import { AT, type ProxySetup } from "./messages.ts";

const OWN = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "waypoint" };
/** Client addresses are loopback ones, told apart from the backend's. */
const CLIENT = "127.0.0.1";
const SERVICES = { "plain.shop.svc": "10.96.0.1", "grpc.shop.svc": "10.96.0.2", "tunnel.shop.svc": AT.vip } as const;
const ROUTES = 10;
const POLICIES = 5;

const NO_FILTERS: Filters = { request: undefined, response: undefined, rewrite: undefined, mirrors: [], cors: undefined };
const any = <T>(...values: T[]) => ({ any: values, not: [] });
const exact = (value: string): StringMatch => ({ kind: "exact", value });
const prefix = (value: string): StringMatch => ({ kind: "prefix", value });

/** Nine by a header that does not match, and one that does. */
const routesTo = (service: string): HttpRoute[] => Array.from({ length: ROUTES }, (_, i) => ({
  origin: { kind: "HTTPRoute", namespace: "shop", name: "routes", rule: i, ruleName: undefined, match: 0, createdAt: 0 },
  match: { path: undefined, method: undefined, grpc: undefined, headers: i === ROUTES - 1 ? [] : [{ name: "x-route", value: { kind: "exact", value: `v${i}` }, invert: false }], query: [], sourceNamespace: undefined, sourceLabels: {}, claims: [] },
  filters: NO_FILTERS, action: { kind: "forward", backends: [{ kind: "service", weight: 1, filters: NO_FILTERS, backend: { service, port: AT.port, subset: undefined } }] },
  timeouts: { requestMs: undefined, attemptMs: undefined }, retry: undefined, fault: undefined, session: undefined,
}));

const anybody: PolicySource = { principals: any(), namespaces: any(), serviceAccounts: any(), trustDomains: any(), ipBlocks: any(), remoteIpBlocks: any(), requestPrincipals: any() };
const cidrs = ["10.0.0.0/8", "127.0.0.0/8"].flatMap((text) => { const c = parseCidr(text); return c.ok ? [c.value] : []; });

/** ALLOW by method, path, header and address; the last one matches. */
const policies: RequestPolicy[] = Array.from({ length: POLICIES }, (_, i) => ({
  namespace: "shop", name: `p${i}`, action: "allow", provider: undefined, dryRun: false, targets: [{ kind: "waypoint" }], refused: undefined,
  rules: [{
    from: [{ ...anybody, ipBlocks: any(...cidrs) }],
    to: [{ hosts: any(), methods: any(exact("GET"), exact("POST")), paths: any(prefix(i === POLICIES - 1 ? "/" : `/api/v${i}/`), exact(`/health${i}`)), ports: any() }],
    when: [{ key: { kind: "header", name: "x-user" }, strings: any(exact(`u${i}`), prefix(`team${i}-`)), blocks: any(), ports: any(), accounts: any() }],
  }],
}));

const config: WaypointConfig = {
  namespace: "shop", name: "waypoint", serves: "service", trustDomain: OWN.trustDomain, trustDomainAliases: [], pathNormalization: "base", trustedProxies: 0,
  defaultRetry: { retries: 2, on: ["connect-failure", "refused-stream", "unavailable", "cancelled"], statuses: [503], backoffMs: 25, backoffMaxMs: 250 },
  services: new Map(Object.keys(SERVICES).map((host) => [`shop/${host}`, { producer: new Map([[AT.port, { kind: "http", routes: routesTo(`shop/${host}`), fallThrough: false }]]), consumers: new Map() }])),
  traffic: new Map(), policies, authentications: [], authorizationProviders: new Map(), workloadLabels: new Map(),
  telemetry: {
    accessLog: { enabled: true, encoding: "text", format: undefined, filter: undefined }, tracing: { provider: undefined, samplingPercent: 1, customTags: [] }, metrics: { enabled: true, overrides: [] },
  },
  serviceTelemetry: new Map(),
};

export interface Waypoint {
  readonly tunnelPort: number;
  /** Serves a stream as if a tunnel had brought it to this service. */
  serve(host: keyof typeof SERVICES, stream: ByteStream, sourcePort: number): void;
  /** A port whose connections are served so. */
  listen(host: keyof typeof SERVICES): Promise<number>;
}

export async function startWaypoint(setup: ProxySetup, ports: Parameters<typeof build>[1] = {}): Promise<Waypoint> {
  prepareHeap();
  const nowhere = { address: "https://127.77.0.3:1", roots: setup.own.roots, token: "", altHostname: undefined, headers: {} };
  const certificate = { identity: OWN, chainPem: setup.own.chain, keyPem: setup.own.key, rootsPem: setup.own.roots, notBefore: 0, notAfter: Number.MAX_SAFE_INTEGER, serial: "1", fingerprint: "" };
  const bound = await build({
    gateway: "shop/waypoint", podName: "waypoint", podNamespace: "shop", instanceIp: undefined, nodeName: "n1", identity: OWN, clusterId: "Kubernetes", network: "", xds: nowhere, ca: nowhere,
    secretTtlMs: 86_400_000, compliance: "", watchdogMs: 0, logFilter: "error", drainMs: 0, minDrainMs: 0, tunnelPort: 0, adminPort: 0, statsPort: 0, readinessPort: 0,
  }, { certificates: { fetch: () => Promise.resolve(certificate), prefetch: () => undefined, list: () => [], close: () => undefined }, ...ports, log: createLogger("waypoint", { levels: new LogLevels("error") }) });
  const port = (appProtocol: workload.AppProtocol) => ({ ports: [{ servicePort: AT.port, targetPort: AT.port, appProtocol }] });
  const serving = (host: string, targetPort: number) => ({ [`shop/${host}`]: { ports: [{ servicePort: AT.port, targetPort }] } });
  const server = { namespace: "shop", uid: "Kubernetes//Pod/shop/backend", serviceAccount: "backend" };
  pushWorld(bound.state.mesh, {
    services: Object.entries(SERVICES).map(([host, vip]) => svc(host, vip, { namespace: "shop", ...port(host.startsWith("grpc") ? workload.AppProtocol.GRPC : workload.AppProtocol.HTTP11) })),
    workloads: [
      pod("client", CLIENT, { namespace: "shop", uid: "Kubernetes//Pod/shop/client" }),
      pod("backend", AT.plain, { ...server, tunnelProtocol: workload.TunnelProtocol.NONE, services: { ...serving("plain.shop.svc", setup.h1), ...serving("grpc.shop.svc", setup.grpc) } }),
      pod("backend-2", AT.tunnel, { ...server, uid: "Kubernetes//Pod/shop/backend-2", services: serving("tunnel.shop.svc", AT.port) }),
    ],
  });
  const problem = bound.state.applyConfig("shop/waypoint", Buffer.from(encodeWaypointConfig(config)));
  if (problem !== undefined) throw new Error(problem.message);
  const serve: Waypoint["serve"] = (host, stream, sourcePort) => {
    const service = bound.state.view().service(`shop/${host}`);
    if (service === undefined) throw new Error(`${host} is not known`);
    const facts: ConnectionFacts = {
      id: "plain", source: { ip: ip(CLIENT), port: sourcePort }, peer: { ...OWN, serviceAccount: "client" }, sourceWorkload: bound.state.view().workloadAt("", ip(CLIENT)),
      destination: { kind: "service", service }, address: { ip: ip(SERVICES[host]), port: AT.port },
    };
    const request = { authority: "", target: { kind: "address" as const, address: facts.address }, headers: new Map(), peer: { identity: facts.peer, certificateFingerprint: "", remote: facts.source, local: facts.address },
      signal: new Stop(), accept: () => stream, refuse: () => stream.destroy() };
    bound.serving.serve(facts, request, undefined);
  };
  return {
    tunnelPort: bound.tunnelPort, serve,
    listen: async (host) => (await listenStream({ ip: ip(CLIENT), port: 0 }, (stream, peerPort) => serve(host, stream, peerPort))).port,
  };
}

function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}
