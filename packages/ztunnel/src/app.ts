// Owns the composition of ztunnel: builds the parts, binds, follows the agent and the control plane, and drains.
import type { Identity, Ip } from "@ambit/core";
import { hostKernel, warmThreadPool, type Kernel } from "@ambit/linux";
import {
  commonRoutes, createLogger, LogLevels, LoopWatch, Metrics, Readiness, serveHttp, systemClock, systemRandom,
  setLevels, type Bound, type BoundServer, type Clock, type Logger, type LoopGuard, type Random, type Reply, type Timer, watchDescriptors,
} from "@ambit/runtime";
import { ADDRESS_TYPE, createControlPlane, type LookupAnswer, type XdsClient } from "@ambit/xds";
import { adminRoutes, type Live } from "./admin/routes.ts";
import type { DumpedCertificate } from "./admin/dump.ts";
import type { Config, ControlPlaneConfig } from "./config.ts";
import { followControlPlane, followIdentities } from "./control.ts";
import { createCaClient, createCertStore, createPeerTrust, openCrlFile, type CertStore, createTlsContexts } from "@ambit/proxy/identity";
import { watchTrust } from "./trust-watch.ts";
import { adjustHeap } from "./heap.ts";
import { nameServers } from "./dns/forward.ts";
import { localBatches } from "./local.ts";
import { Handover } from "./pod/handover.ts";
import { PodManager, type RunningPod } from "./pod/manager.ts";
import { PodProxies } from "./pod/pod-proxies.ts";
import { startPod } from "./pod/start-pod.ts";
import type { ProxyPorts } from "./proxy/pod-context.ts";
import { Connections } from "./proxy/connections.ts";
import { createNeeds } from "./proxy/needs.ts";
import { createOnDemand } from "./proxy/on-demand.ts";
import { watchPolicies } from "./proxy/policy-watch.ts";
import { createResolver } from "./proxy/resolver.ts";
import { ProxyState } from "@ambit/proxy/state";
import { expireSeries } from "./telemetry/expire.ts";
import { Wires } from "./proxy/wires.ts";
import { TrafficMetrics } from "./telemetry/traffic-metrics.ts";
import { Crew } from "./workers/crew.ts";

export type Certificates = Pick<CertStore, "onRotate" | "fetch" | "prefetch" | "forget" | "list" | "close">;

/** What a test may replace. */
export interface Ports {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly random: Random;
  readonly certificates: Certificates;
  readonly log: Logger;
  readonly quit: () => void;
  /** Of this thread's event loop; with it, every thread's is guarded. */
  readonly guard: LoopGuard | undefined;
  /** Where DNS questions go that the mesh cannot answer. */
  readonly nameServers: readonly Ip[];
}

export interface BoundZtunnel extends Bound {
  readonly adminPort: number;
  readonly statsPort: number;
  readonly readinessPort: number;
  readonly connections: Connections;
  readonly metrics: Metrics;
}

export async function build(config: Config, ports: Partial<Ports> = {}): Promise<BoundZtunnel> {
  const clock = ports.clock ?? systemClock;
  const random = ports.random ?? systemRandom;
  const kernel = ports.kernel ?? hostKernel;
  const levels = new LogLevels(config.logFilter);
  const log = ports.log ?? createLogger("ztunnel", { levels, format: config.logFormat });
  const metrics = new Metrics(clock.now);
  const traffic = new TrafficMetrics(metrics);
  const readiness = new Readiness();
  watchDescriptors(metrics);
  if (config.withoutEffect.length > 0) log.warn("settings without effect", { variables: config.withoutEffect });

  let xds: XdsClient | undefined;
  const state = new ProxyState(config.nodeName);
  const connections = new Connections(clock);
  const loop = new LoopWatch(clock, ports.guard);
  const looking = loop.start(metrics, log.child("loop"));
  const wires = new Wires(kernel, clock);
  wires.collectInto(metrics);
  const stopExpiry = expireSeries({ metrics, view: () => state.view(), clock });
  const plane = (c: ControlPlaneConfig) => createControlPlane({ ...c, clusterId: config.clusterId, clock });
  const xdsPlane = plane(config.xds);
  const caPlane = plane(config.ca);
  const caClient = createCaClient({ connect: caPlane, ttlMs: config.secretTtlMs, clock });
  const certificates = ports.certificates ?? createCertStore({ caClient, clock, random, log: log.child("identity"), metrics });
  const contexts = createTlsContexts((identity) => certificates.fetch(identity, "realtime"));
  const crls = config.crlPath === undefined ? undefined : await openCrlFile({ path: config.crlPath, clock, log: log.child("identity") });
  const trust = createPeerTrust({ crls: () => crls?.current ?? [], onRevoked: (reporter) => traffic.revoked(reporter) });
  const stopTrust = watchTrust({ trust, crls, certificates, log: log.child("identity") });
  const wishes = (ids: Certificates) => ({ prefetch: (id: Identity) => ids.prefetch(id), forget: (id: Identity) => { ids.forget(id); contexts.forget(id); crew?.forget(id); } });
  const askXds = (name: string): Promise<LookupAnswer> => xds?.subscribe(ADDRESS_TYPE, name) ?? Promise.resolve("timeout");
  // With threads of their own for traffic, this one keeps what concerns the whole node: xDS, certificates, DNS, admin, the agent.
  const crew = config.workerThreads === 1 ? undefined : new Crew(config.workerThreads, {
    config, guarded: ports.guard !== undefined, log, fetch: (identity) => certificates.fetch(identity, "realtime"), lookup: askXds, onDeath: (error) => { throw error; },
  });
  const stopRotations = crew === undefined ? undefined : certificates.onRotate((c) => crew.rotated(c.identity, c));
  const onDemand = config.onDemand ? createOnDemand({ ask: askXds, clusterId: config.clusterId, clock }) : undefined;
  const proxyPorts: ProxyPorts = {
    config, onDemand, kernel, state, contexts, trust, connections, clock, random, log: log.child("proxy"),
    needs: createNeeds({ state, clock, onDemand, resolve: createResolver(clock), onName: (pod, hostname) => traffic.onDemandDns(state.view().workloadOfPod(pod), hostname) }),
    telemetry: { metrics: traffic, access: log.child("access"), clock, openAtInfo: config.logOpen }, wires,
    trials: { metrics: traffic, log: log.child("policy"), loud: config.trialsAtInfo },
  };

  for (const batch of await localBatches(config.local)) state.apply(batch);

  // Everything that can conflict is bound before anything is promised.
  const shared = { ...commonRoutes({ readiness, metrics, levels }), ...(crew === undefined ? {} : crewRoutes(crew, metrics, levels)) };
  const pods = new PodProxies({ config, kernel, ports: proxyPorts, traffic, nameServers: ports.nameServers ?? nameServers(), serve: crew === undefined ? "all" : "dns" });
  const startup = readiness.waitFor("proxy start");
  const stateReady = readiness.waitFor("state manager");
  let podsReady: (() => void) | undefined = readiness.waitFor("workload proxy manager");
  let manager: PodManager | undefined;
  let only: RunningPod | undefined;
  const running = (): readonly RunningPod[] => [...(only === undefined ? [] : [only]), ...(manager?.running ?? [])];
  const servers: BoundServer[] = [];
  try {
    servers.push(await serveHttp("127.0.0.1", config.adminPort, { ...shared, ...adminRoutes({
      config, view: () => state.view(), rejectedPolicies: () => state.rejectedPolicies(), random, clock,
      live: async () => joined([{ connections: connections.list(), wires: wires.list() }, ...(await crew?.live() ?? [])]),
      pods: () => [...running().map((p) => ({ ...p, state: "Up" as const })), ...(manager?.pending ?? []).map((p) => ({ ...p, state: "Pending" as const }))],
      certificates: () => dumpedCertificates(certificates), quit: ports.quit ?? (() => process.kill(process.pid, "SIGTERM")),
    }) }));
    servers.push(await serveHttp("0.0.0.0", config.statsPort, pick(shared, "GET /metrics", "GET /stats/prometheus")));
    servers.push(await serveHttp("0.0.0.0", config.readinessPort, pick(shared, "GET /healthz/ready")));
  } catch (error) {
    stopTrust();
    stopExpiry();
    await Promise.all(servers.map((s) => s.close()));
    throw error;
  }

  const stopIdentities = followIdentities(state, wishes(certificates));
  const stopPolicies = watchPolicies({ state, connections, clock, log: log.child("policy") });
  if (config.followXds) xds = followControlPlane({ config, plane: xdsPlane, state, metrics: traffic, clock, random, loop, log: log.child("xds"), onPush: crew && ((typeUrl, push) => crew.push(typeUrl, push)) });
  let heap: Timer | undefined;
  const informed = xds?.whenReady() ?? Promise.resolve();
  void informed.then(() => { heap ??= adjustHeap(clock); stateReady(); });

  await warmThreadPool();
  const handover = new Handover({ path: config.handoverSocket, kernel, clock, log: log.child("pods") });
  const followAgent = (): PodManager => new PodManager({
    socketPath: config.podSocket, kernel, clock, random, log: log.child("pods"),
    start: (uid, info, netns) => startPod({ handover, crew, pods }, uid, info, netns),
    onSettled: (settled) => {
      if (!settled) podsReady ??= readiness.waitFor("workload proxy manager");
      else { handover.settled(); podsReady?.(); podsReady = undefined; }
    },
  });
  // Not before we know the mesh: whoever says hello gets the pods, and half of the new connections of a predecessor that serves them well.
  let ending = false;
  void informed.then(() => { if (config.dedicated === undefined && !ending) manager = followAgent(); });
  // One workload: our own network namespace is its.
  if (config.dedicated !== undefined) {
    only = await pods.start("dedicated", config.dedicated, kernel.openNetns("/proc/self/ns/net"));
    podsReady?.();
  }
  metrics.onCollect(() => traffic.pendingProxies.set(manager?.pending.length ?? 0));
  startup();
  const [admin, stats, ready] = servers;
  log.info("listening", { admin: admin?.port, stats: stats?.port, readiness: ready?.port });
  void readiness.whenReady().then(() => log.info("ready", { pods: running().length }));

  return {
    adminPort: admin?.port ?? 0, statsPort: stats?.port ?? 0, readinessPort: ready?.port ?? 0, connections, metrics,
    async drain() {
      readiness.waitFor("draining");
      ending = true;
      manager?.close();
      await handover.close();
      log.info("draining", { connections: connections.size, deadline_ms: config.drainMs });
      await Promise.all([pods.drain(config.drainMs, clock, connections), crew?.drain(config.drainMs)]);
      stopRotations?.();
      await crew?.close();
      manager?.stopAll();
      only?.stop();
      heap?.cancel();
      looking.cancel();
      stopPolicies();
      stopIdentities();
      xds?.close();
      stopTrust();
      stopExpiry();
      certificates.close();
      caClient.close();
      xdsPlane.close();
      caPlane.close();
      await Promise.all(servers.map((s) => s.close()));
      log.info("drained");
    },
  };
}

/** Scrapes and levels concern every thread; the traffic threads only copy their counters out. */
function crewRoutes(crew: Crew, metrics: Metrics, levels: LogLevels): ReturnType<typeof commonRoutes> {
  const scrape = async (): Promise<Reply> => ({ type: "text/plain; version=0.0.4; charset=utf-8", body: metrics.expose(await crew.metrics()) });
  return { "GET /metrics": scrape, "GET /stats/prometheus": scrape, "POST /logging": (query) => {
    const reply = setLevels(levels, query);
    crew.levels(levels.toString());
    return reply;
  } };
}

const joined = (parts: readonly Live[]): Live => ({ connections: parts.flatMap((p) => p.connections), wires: parts.flatMap((p) => p.wires) });

function pick(routes: ReturnType<typeof commonRoutes>, ...names: readonly string[]): ReturnType<typeof commonRoutes> {
  return Object.fromEntries(Object.entries(routes).filter(([name]) => names.includes(name)));
}

function dumpedCertificates(certificates: Certificates): DumpedCertificate[] {
  return certificates.list().map((c) => ({
    identity: c.identity, chainPem: c.chainPem, rootsPem: c.rootsPem,
    state: c.usable ? "Available" : c.error === undefined ? "Initializing" : `Unavailable: ${c.error}`,
  }));
}

