// Owns the composition of a waypoint: builds the parts, binds, follows the control plane, and drains.
import { formatIdentity, UNSPECIFIED_V4, type Ip } from "@ambit/core";
import { createCaClient, createCertStore, createTlsContexts, type CertStore } from "@ambit/proxy/identity";
import {
  commonRoutes, createLogger, LogLevels, LoopWatch, Metrics, Readiness, serveHttp as serveAdmin, systemClock, systemRandom, lineOutput,
  type Bound, type BoundServer, type Clock, type Logger, type LoopGuard, type Random, type Routes,
} from "@ambit/runtime";
import { createControlPlane } from "@ambit/xds";
import { adminRoutes } from "./admin/routes.ts";
import type { Config, ControlPlaneConfig } from "./config.ts";
import { followControlPlane } from "./control.ts";
import { isRetryable } from "./plan/retry.ts";
import { Destinations } from "./proxy/destinations.ts";
import { Ejections } from "./proxy/ejections.ts";
import { Hosts, systemLookup, type Lookup } from "./proxy/hosts.ts";
import { createServing, type Serving } from "./proxy/serve.ts";
import { createSatisfy, createTcpCheck } from "./proxy/satisfy.ts";
import { sharedSeal } from "./proxy/shared-seal.ts";
import { createTcpProxy } from "./proxy/tcp.ts";
import { terminateTunnels } from "./proxy/terminate.ts";
import { createUpstreams, type Upstreams } from "./proxy/upstreams.ts";
import { WaypointState } from "./state/waypoint-state.ts";
import { createAccessLog, textLines } from "./telemetry/access-log.ts";
import { RequestMetrics } from "./telemetry/request-metrics.ts";
import { telemetryOf } from "./telemetry/settings.ts";
import { createTracing } from "./telemetry/tracing.ts";

/** What a test may replace. */
export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly certificates: Pick<CertStore, "fetch" | "prefetch" | "list" | "close">;
  readonly log: Logger;
  readonly lookup: Lookup;
  /** Of this thread's event loop. */
  readonly guard: LoopGuard | undefined;
  /** Takes access lines; default: stdout. */
  readonly accessLine: (line: string) => void;
  /** The way to endpoints. */
  readonly upstreams: Upstreams;
}

export interface BoundWaypoint extends Bound {
  readonly tunnelPort: number;
  readonly adminPort: number;
  readonly statsPort: number;
  readonly readinessPort: number;
  readonly state: WaypointState;
  readonly metrics: Metrics;
  /** What takes connections, for whoever brings them by another way than a tunnel. */
  readonly serving: Serving;
}

const ANY_ADDRESS: Ip = UNSPECIFIED_V4;

export async function build(config: Config, ports: Partial<Ports> = {}): Promise<BoundWaypoint> {
  const clock = ports.clock ?? systemClock;
  const random = ports.random ?? systemRandom;
  const levels = new LogLevels(config.logFilter);
  const log = ports.log ?? createLogger("waypoint", { levels });
  const metrics = new Metrics(clock.now);
  const requests = new RequestMetrics(metrics);
  const loop = new LoopWatch(clock, ports.guard);
  const looking = loop.start(metrics, log.child("loop"));
  const readiness = new Readiness();
  const startup = readiness.waitFor("start");
  const configured = readiness.waitFor("configuration");
  const certified = readiness.waitFor("certificate");

  const plane = (c: ControlPlaneConfig) => createControlPlane({ ...c, clusterId: config.clusterId, clock });
  const xdsPlane = plane(config.xds);
  const caPlane = plane(config.ca);
  const caClient = createCaClient({ connect: caPlane, own: config.identity, ttlMs: config.secretTtlMs, clock });
  const certificates = ports.certificates ?? createCertStore({ caClient, clock, random, log: log.child("identity"), metrics });
  const contexts = createTlsContexts((identity) => certificates.fetch(identity, "realtime"));

  const state = new WaypointState(config.gateway, config.nodeName);
  const ejections = new Ejections({ state, clock, log: log.child("outlier"), metrics });
  const seal = sharedSeal(() => state.config?.sessionSecret);
  const hosts = new Hosts({ state, lookup: ports.lookup ?? systemLookup, clock, log: log.child("dns") });
  const destinations = new Destinations({ state, hosts: () => hosts.answers, network: config.network, clock, random, seal, ejected: (backend, uid) => ejections.isEjected(backend, uid) });
  const upstreams = ports.upstreams ?? createUpstreams({ identity: config.identity, instanceIp: config.instanceIp ?? "", contexts, clock });
  const accessLog = createAccessLog({
    out: ports.accessLine === undefined ? lineOutput : textLines(ports.accessLine), onBadFormat: (error) => log.warn("an access log format is not understood, the default is used", { error }),
    local: config.instanceIp ?? "", hostname: config.podName,
  });
  const settingsOf = (facts: Parameters<typeof telemetryOf>[1]) => telemetryOf(state.config, facts);
  const shared = { state, destinations, upstreams, metrics: requests, accessLog, telemetryOf: settingsOf, clock, random, log: log.child("proxy") };
  const tcp = createTcpProxy({ ...shared, check: (provider, policy, facts) => createTcpCheck(state, serving.call, clock)(provider, policy, facts) });
  const serving: Serving = createServing({
    ...shared, tcp, ejections, seal, retryable: isRetryable, satisfy: (call) => createSatisfy(state, call, clock),
    replicas: () => state.replicas(),
    onSpan: (record, context, settings) => tracing.record(record, context, settings),
  });
  const [active, open] = [metrics.gauge("ambit_waypoint_requests_active", "Requests under way.").with({}), metrics.gauge("ambit_waypoint_http_connections", "HTTP connections of clients.").with({})];
  metrics.onCollect(() => { active.set(serving.active); open.set(serving.sessions); });
  const tracing = createTracing({ config, clock, log: log.child("tracing"), metrics, call: serving.call });

  // Everything that can conflict is bound before anything is promised.
  const common = commonRoutes({ readiness, metrics, levels });
  const servers: BoundServer[] = [];
  const bind = async (host: string, port: number, routes: Routes): Promise<BoundServer> => {
    const server = await serveAdmin(host, port, routes);
    servers.push(server);
    return server;
  };
  try {
    const admin = await bind("127.0.0.1", config.adminPort, { ...common, ...adminRoutes({ config, state, tcp, sessions: () => serving.sessions, certificates: () => certificates.list() }) });
    const stats = await bind("0.0.0.0", config.statsPort, pick(common, "GET /metrics", "GET /stats/prometheus"));
    const ready = await bind("0.0.0.0", config.readinessPort, pick(common, "GET /healthz/ready"));
    const terminator = await terminateTunnels({
      at: { ip: ANY_ADDRESS, port: config.tunnelPort }, identity: config.identity, network: config.network, contexts, state, clock, log: log.child("proxy"),
      serve: (facts, request, traceparent) => serving.serve(facts, request, traceparent),
    });
    const control = followControlPlane({ config, plane: xdsPlane, state, clock, random, loop, log: log.child("xds") });
    void control.whenReady().then(configured);
    const asking = new AbortController();
    void firstCertificate(certificates, config, clock, asking.signal).then((has) => { if (has) certified(); });
    startup();
    log.info("listening", { tunnels: terminator.port, admin: admin.port, stats: stats.port, readiness: ready.port });
    void readiness.whenReady().then(() => log.info("ready", { gateway: config.gateway, identity: formatIdentity(config.identity), services: state.config?.services.size ?? 0 }));
    return {
      tunnelPort: terminator.port, adminPort: admin.port, statsPort: stats.port, readinessPort: ready.port, state, metrics, serving,
      async drain() {
        readiness.waitFor("draining");
        asking.abort();
        log.info("draining", { http: serving.sessions, tcp: tcp.list().length, deadline_ms: config.drainMs, taking_new_ms: config.minDrainMs });
        // Clients' ztunnels may send new connections for a moment yet: with several replicas going at once nobody else might be left to try.
        await clock.sleep(config.minDrainMs);
        const deadlineMs = config.drainMs - config.minDrainMs;
        await Promise.all([serving.drain(deadlineMs), terminator.drain(deadlineMs)]);
        tcp.close();
        await upstreams.drain(0);
        await tracing.close();
        control.close();
        destinations.close();
        ejections.close();
        hosts.close();
        certificates.close();
        caClient.close();
        xdsPlane.close();
        caPlane.close();
        await Promise.all(servers.map((s) => s.close()));
        looking.cancel();
        log.info("drained");
      },
    };
  } catch (error) {
    looking.cancel();
    await Promise.all(servers.map((s) => s.close()));
    throw error;
  }
}

/** Longer than a store's own first retries: a waiting connection hurries it, and this one is in no hurry. */
const AGAIN_MS = 5_000;

/** Asked for again and again: without it no tunnel can be accepted. False: given up by `over`. */
async function firstCertificate(certificates: Pick<CertStore, "fetch">, config: Config, clock: Clock, over: AbortSignal): Promise<boolean> {
  while (!over.aborted) {
    try {
      await certificates.fetch(config.identity, "realtime");
      return true;
    } catch {
      // The store has logged why.
      await clock.sleep(AGAIN_MS, over).catch(() => undefined);
    }
  }
  return false;
}

const pick = (routes: Routes, ...names: readonly string[]): Routes => Object.fromEntries(Object.entries(routes).filter(([name]) => names.includes(name)));
