// Owns the composition of ztunnel: builds the parts, binds, follows the agent and the control plane, and drains.
import type { Socket } from "node:net";
import type { Identity } from "@ambit/core";
import { hostKernel, warmThreadPool, type Kernel, type Netns } from "@ambit/linux";
import {
  commonRoutes, createLogger, errorText, LogLevels, Metrics, Readiness, serveHttp, systemClock, systemRandom,
  type Bound, type BoundServer, type Clock, type Logger, type Random,
} from "@ambit/runtime";
import { createControlPlane } from "@ambit/xds";
import { adminRoutes, watchDescriptors } from "./admin/routes.ts";
import type { DumpedCertificate } from "./admin/dump.ts";
import type { Config, ControlPlaneConfig } from "./config.ts";
import { followControlPlane, followIdentities } from "./control.ts";
import { createCaClient } from "./identity/ca-client.ts";
import { createCertStore, type CertStore } from "./identity/cert-store.ts";
import { PodManager, type RunningPod } from "./pod/manager.ts";
import { startListeners, type Listeners } from "./pod/pod-proxy.ts";
import { Connections } from "./proxy/connections.ts";
import { serveTunnel } from "./proxy/inbound.ts";
import { servePlaintext } from "./proxy/inbound-passthrough.ts";
import { createNeeds } from "./proxy/needs.ts";
import { serveOutbound } from "./proxy/outbound.ts";
import { createPodContext, cutPod, drainPod, type PodContext, type ProxyPorts } from "./proxy/pod-context.ts";
import { watchPolicies } from "./proxy/policy-watch.ts";
import { createResolver } from "./proxy/resolver.ts";
import { createTlsContexts } from "./proxy/tls-contexts.ts";
import { ProxyState } from "./state/proxy-state.ts";
import type { PodInfo } from "./state/view.ts";
import { TrafficMetrics } from "./telemetry/traffic-metrics.ts";

export type Certificates = Pick<CertStore, "fetch" | "prefetch" | "forget" | "list" | "close">;

/** What a test may replace. */
export interface Ports {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly random: Random;
  readonly certificates: Certificates;
  readonly log: Logger;
  readonly quit: () => void;
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
  const log = ports.log ?? createLogger("ztunnel", { levels });
  const metrics = new Metrics(clock.now);
  const traffic = new TrafficMetrics(metrics);
  const readiness = new Readiness();
  watchDescriptors(metrics);

  const state = new ProxyState(config.nodeName);
  const connections = new Connections();
  const plane = (c: ControlPlaneConfig) => createControlPlane({ ...c, clusterId: config.clusterId, clock });
  const xdsPlane = plane(config.xds);
  const caPlane = plane(config.ca);
  const caClient = createCaClient({ connect: caPlane, ttlMs: config.secretTtlMs, clock });
  const certificates = ports.certificates ?? createCertStore({ caClient, clock, random, log: log.child("identity"), metrics });
  const contexts = createTlsContexts((identity) => certificates.fetch(identity, "realtime"));
  const wishes = (ids: Certificates) => ({ prefetch: (id: Identity) => ids.prefetch(id), forget: (id: Identity) => { ids.forget(id); contexts.forget(id); } });
  const proxyPorts: ProxyPorts = {
    config, kernel, state, contexts, connections, clock, random, log: log.child("proxy"),
    needs: createNeeds({ state, clock, resolve: createResolver(clock, () => traffic.onDemandDns.with({}).inc()) }),
    telemetry: { metrics: traffic, access: log.child("access"), clock },
  };

  // Everything that can conflict is bound before anything is promised.
  const shared = commonRoutes({ readiness, metrics, levels });
  const pods = new PodProxies(config, kernel, proxyPorts, traffic);
  const startup = readiness.waitFor("proxy start");
  const stateReady = readiness.waitFor("state manager");
  let podsReady: (() => void) | undefined = readiness.waitFor("workload proxy manager");
  let manager: PodManager | undefined;
  const servers: BoundServer[] = [];
  try {
    servers.push(await serveHttp("127.0.0.1", config.adminPort, { ...shared, ...adminRoutes({
      config, view: () => state.view(), rejectedPolicies: () => state.rejectedPolicies(), connections, random,
      pods: () => [...(manager?.running ?? []).map((p) => ({ ...p, state: "Up" as const })), ...(manager?.pending ?? []).map((p) => ({ ...p, state: "Pending" as const }))],
      certificates: () => dumpedCertificates(certificates), quit: ports.quit ?? (() => process.kill(process.pid, "SIGTERM")),
    }) }));
    servers.push(await serveHttp("0.0.0.0", config.statsPort, pick(shared, "GET /metrics", "GET /stats/prometheus")));
    servers.push(await serveHttp("0.0.0.0", config.readinessPort, pick(shared, "GET /healthz/ready")));
  } catch (error) {
    await Promise.all(servers.map((s) => s.close()));
    throw error;
  }

  const stopIdentities = followIdentities(state, wishes(certificates));
  const stopPolicies = watchPolicies({ state, connections, clock, log: log.child("policy") });
  const xds = followControlPlane({ config, plane: xdsPlane, state, metrics: traffic, clock, random, log: log.child("xds") });
  void xds.whenReady().then(stateReady);

  await warmThreadPool();
  const following = new PodManager({
    socketPath: config.podSocket, kernel, clock, random, log: log.child("pods"),
    start: (uid, info, netns) => pods.start(uid, info, netns),
    onSettled: (settled) => {
      if (!settled) podsReady ??= readiness.waitFor("workload proxy manager");
      else { podsReady?.(); podsReady = undefined; }
    },
  });
  manager = following;
  metrics.onCollect(() => traffic.pendingProxies.set(following.pending.length));
  startup();
  const [admin, stats, ready] = servers;
  log.info("listening", { admin: admin?.port, stats: stats?.port, readiness: ready?.port });
  void readiness.whenReady().then(() => log.info("ready", { pods: following.running.length }));

  return {
    adminPort: admin?.port ?? 0, statsPort: stats?.port ?? 0, readinessPort: ready?.port ?? 0, connections, metrics,
    async drain() {
      readiness.waitFor("draining");
      following.close();
      log.info("draining", { connections: connections.size, deadline_ms: config.drainMs });
      await pods.drain(config.drainMs, clock, connections);
      following.stopAll();
      stopPolicies();
      stopIdentities();
      xds.close();
      certificates.close();
      caClient.close();
      xdsPlane.close();
      caPlane.close();
      await Promise.all(servers.map((s) => s.close()));
      log.info("drained");
    },
  };
}

/** The pods that are served: their listeners and what goes through them. */
class PodProxies {
  readonly #config: Config;
  readonly #kernel: Kernel;
  readonly #ports: ProxyPorts;
  readonly #traffic: TrafficMetrics;
  readonly #pods = new Map<PodContext, Listeners>();

  constructor(config: Config, kernel: Kernel, ports: ProxyPorts, traffic: TrafficMetrics) {
    this.#config = config;
    this.#kernel = kernel;
    this.#ports = ports;
    this.#traffic = traffic;
  }

  async start(uid: string, info: PodInfo, netns: Netns): Promise<RunningPod> {
    const { log } = this.#ports;
    const pod = createPodContext(this.#ports, uid, info, netns);
    const run = (serve: (pod: PodContext, socket: Socket) => Promise<void>) => (socket: Socket): void => {
      serve(pod, socket).catch((error: unknown) => {
        log.error("defect: a connection failed in an unforeseen way", { pod: uid, error: errorText(error), stack: error instanceof Error ? error.stack : undefined });
        socket.destroy();
      });
    };
    const listeners = await startListeners({
      kernel: this.#kernel, netns, mark: this.#config.packetMark, reusePort: this.#config.portReuse, ipv6: this.#config.ipv6, log,
      accept: { outbound: run(serveOutbound), plaintext: run(servePlaintext), tunnel: run(serveTunnel) },
    });
    this.#pods.set(pod, listeners);
    this.#traffic.proxiesStarted.inc();
    this.#traffic.activeProxies.set(this.#pods.size);
    log.info("pod proxy started", { pod: uid, name: `${info.namespace}/${info.name}` });
    return {
      uid, info,
      stop: () => {
        if (!this.#pods.delete(pod)) return;
        listeners.close();
        cutPod(pod);
        netns[Symbol.dispose]();
        this.#traffic.proxiesStopped.inc();
        this.#traffic.activeProxies.set(this.#pods.size);
      },
    };
  }

  /** Stops accepting, lets what is under way finish until the deadline, then ends it. */
  async drain(deadlineMs: number, clock: Clock, connections: Connections): Promise<void> {
    for (const listeners of this.#pods.values()) listeners.close();
    const tunnels = [...this.#pods.keys()].map((pod) => drainPod(pod, deadlineMs));
    const timer = clock.after(deadlineMs, () => connections.endAll(), { hold: true });
    await connections.whenIdle();
    timer.cancel();
    await Promise.all(tunnels);
  }
}

function pick(routes: ReturnType<typeof commonRoutes>, ...names: readonly string[]): ReturnType<typeof commonRoutes> {
  return Object.fromEntries(Object.entries(routes).filter(([name]) => names.includes(name)));
}

function dumpedCertificates(certificates: Certificates): DumpedCertificate[] {
  return certificates.list().map((c) => ({
    identity: c.identity, chainPem: c.chainPem, rootsPem: c.rootsPem,
    state: c.usable ? "Available" : c.error === undefined ? "Initializing" : `Unavailable: ${c.error}`,
  }));
}

