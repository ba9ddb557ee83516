// Owns the pods that are served: each one's listeners, what goes through them, and how both end.
import { formatSocketAddress, type Ip } from "@ambit/core";
import type { Kernel, Netns } from "@ambit/linux";
import { errorText, type Clock } from "@ambit/runtime";
import type { TcpConnection } from "@ambit/transport";
import type { Config } from "../config.ts";
import type { ForwardBudget } from "../dns/forward-options.ts";
import { createForwarder } from "../dns/forward.ts";
import { DnsServer } from "../dns/server.ts";
import type { Connections } from "../proxy/connections.ts";
import { drainConnections } from "../proxy/drain.ts";
import { serveTunnel } from "../proxy/inbound.ts";
import { servePlaintext } from "../proxy/inbound-passthrough.ts";
import { serveOutbound } from "../proxy/outbound.ts";
import { ownWorkload } from "../proxy/needs.ts";
import { createPodContext, cutPod, drainPod, refuse, type PodContext, type ProxyPorts } from "../proxy/pod-context.ts";
import { PodShare, Shares } from "../proxy/pod-share.ts";
import type { PodInfo } from "@ambit/proxy/state";
import type { TrafficMetrics } from "../telemetry/traffic-metrics.ts";
import { earlyDenial } from "../telemetry/connection-record.ts";
import { descriptorLimit, descriptorsShort } from "./descriptors.ts";
import type { ListeningSocket } from "./handover-server.ts";
import type { RunningPod } from "./manager.ts";
import { startListeners, type DnsAcceptors, type Listeners } from "./pod-proxy.ts";

/**
 * DNS questions wait this long, once, for the control plane to tell about the pod: its first push brings the services too. Well below
 * the 5 s after which resolvers ask again.
 */
const DNS_STATE_WAIT_MS = 2_000;

export interface PodProxiesOptions {
  readonly config: Config;
  readonly kernel: Kernel;
  readonly ports: ProxyPorts;
  readonly traffic: TrafficMetrics;
  readonly nameServers: readonly Ip[];
  /** Which listeners are ours; the others are another thread's. Default: all. */
  readonly serve?: "all" | "traffic" | "dns";
  /** Where several threads share the tunnels of peers: each one that was accepted begins here, or goes to another thread. Default: all are ours. */
  readonly tunnels?: {
    /** False: another thread has it now, and nobody may touch it here. */
    begin(uid: string, connection: TcpConnection): boolean;
    /** One that began here is over. */
    end(): void;
  };
}

export interface ServedPod extends RunningPod {
  /** What listens in it now: a successor may take these over. */
  sockets(): readonly ListeningSocket[];
  /** A tunnel that another thread accepted and gave us: it counts as begun. */
  takeTunnel(connection: TcpConnection): void;
}

/** How long a drain waits for connections that were accepted just before: more than a handshake and a certificate take. */
const ARRIVALS_WAIT_MS = 2_000;

export class PodProxies {
  readonly #o: PodProxiesOptions;
  readonly #pods = new Map<PodContext, Listeners>();
  readonly #forwards: ForwardBudget = { taken: 0 };
  readonly #shares = new Shares();
  readonly #limit = descriptorLimit();

  constructor(options: PodProxiesOptions) {
    this.#o = options;
  }

  /** `inherited`: listening sockets of a predecessor in this pod, ours to use or to close. */
  async start(uid: string, info: PodInfo, netns: Netns, inherited: readonly ListeningSocket[] = []): Promise<ServedPod> {
    const { log } = this.#o.ports;
    const pod = createPodContext(this.#o.ports, uid, info, netns, new PodShare(this.#shares));
    const run = (serve: (pod: PodContext, connection: TcpConnection) => Promise<void>) => async (connection: TcpConnection): Promise<void> => {
      const short = descriptorsShort(connection.fd, this.#limit);
      if (short !== undefined) return this.#refuse(connection, serve === serveOutbound ? "outbound" : "inbound", short);
      try {
        await serve(pod, connection);
      } catch (error) {
        log.error("defect: a connection failed in an unforeseen way", { pod: uid, error: errorText(error), stack: error instanceof Error ? error.stack : undefined });
        connection.destroy();
      }
    };
    const runTunnel = run(serveTunnel);
    const { tunnels } = this.#o;
    const takeTunnel = (connection: TcpConnection): void => void runTunnel(connection).finally(() => tunnels?.end());
    const listeners = await startListeners({
      kernel: this.#o.kernel, netns, mark: this.#o.config.packetMark, reusePort: this.#o.config.portReuse, keepAlive: this.#o.config.keepAlive, ipv6: this.#o.config.ipv6, log,
      dns: this.#o.serve === "traffic" ? undefined : this.#dns(pod, netns),
      traffic: this.#o.serve !== "dns", inherited,
      accept: {
        outbound: run(serveOutbound), plaintext: run(servePlaintext),
        tunnel: tunnels === undefined ? runTunnel : (connection) => { if (tunnels.begin(uid, connection)) takeTunnel(connection); },
      },
    });
    this.#pods.set(pod, listeners);
    this.#o.traffic.proxiesStarted.inc();
    this.#o.traffic.activeProxies.set(this.#pods.size);
    if (this.#o.serve !== "traffic") log.info("pod proxy started", { pod: uid, name: `${info.namespace}/${info.name}` });
    return {
      uid, info, takeTunnel, sockets: () => listeners.sockets(),
      stop: () => {
        if (!this.#pods.delete(pod)) return;
        listeners.close();
        cutPod(pod);
        netns[Symbol.dispose]();
        this.#o.traffic.proxiesStopped.inc();
        this.#o.traffic.activeProxies.set(this.#pods.size);
      },
    };
  }

  /** Before the limit itself, at which nothing works any more and nobody is told why. */
  #refuse(connection: TcpConnection, direction: "inbound" | "outbound", error: string): void {
    const [src, dst] = [connection.peer, connection.local].map((a) => (a === undefined ? "?" : formatSocketAddress(a)));
    refuse(connection);
    earlyDenial(this.#o.ports.telemetry.access, src ?? "?", dst ?? "?", direction, { code: "overloaded", error });
  }

  #dns(pod: PodContext, netns: Netns): DnsAcceptors | undefined {
    const { dns, network, packetMark } = this.#o.config;
    if (dns === undefined) return undefined;
    const { state, clock, random, log, onDemand } = this.#o.ports;
    const forwarder = createForwarder({
      kernel: this.#o.kernel, netns, over: pod.over.signal, mark: packetMark, dial: pod.dial, servers: this.#o.nameServers, budget: this.#forwards, clock,
    });
    // Once for all questions of the pod: without a control plane names resolve all the same, only the first ones later.
    let informed: Promise<unknown> | undefined;
    return new DnsServer({
      pod: `${pod.info.namespace}/${pod.info.name}`, namespace: pod.info.namespace,
      view: () => state.view(), client: () => state.view().workloadOfPod(pod.info),
      whenInformed: async () => void (await (informed ??= ownWorkload({ state, clock, onDemand }, pod.info, DNS_STATE_WAIT_MS))),
      listen: dns.listen, network, domain: dns.domain, preferredNamespace: dns.preferredNamespace, forwarder, metrics: this.#o.traffic, clock, random, log,
    });
  }

  /** Stops accepting, lets what is under way finish, ends the rest spread over the time until the deadline. */
  async drain(deadlineMs: number, clock: Clock, connections: Connections): Promise<void> {
    const questions = [...this.#pods.values()].map((listeners) => listeners.drain());
    // Accepted a moment ago and still on the way to an upstream: draining the tunnels under these would refuse them.
    await Promise.all([...this.#pods.keys()].map((pod) => pod.arrivals.drain(Math.min(deadlineMs, ARRIVALS_WAIT_MS))));
    const tunnels = [...this.#pods.keys()].map((pod) => drainPod(pod, deadlineMs));
    await drainConnections(connections, deadlineMs, clock);
    await Promise.all([...tunnels, ...questions]);
  }
}
