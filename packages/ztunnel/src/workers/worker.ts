// Owns a traffic thread: listeners in every pod, connections, tunnels and a state of its own. What comes from outside the node comes over the port.
import { parentPort, workerData } from "node:worker_threads";
import { formatIdentity, type Identity } from "@ambit/core";
import { closeDescriptor, duplicateDescriptor, hostKernel } from "@ambit/linux";
import { comply, createPeerTrust, createTlsContexts, openCrlFile, type CertBundle } from "@ambit/proxy/identity";
import { guardedLoop } from "@ambit/proxy/loop-guard";
import { ProxyState } from "@ambit/proxy/state";
import { createLogger, LogLevels, LoopWatch, Metrics, systemClock, systemRandom } from "@ambit/runtime";
import { adoptConnection } from "@ambit/transport";
import { adjustHeap } from "../heap.ts";
import { PodProxies, type ServedPod } from "../pod/pod-proxies.ts";
import type { ListeningSocket } from "../pod/handover-server.ts";
import { Connections } from "../proxy/connections.ts";
import { createNeeds } from "../proxy/needs.ts";
import { createOnDemand } from "../proxy/on-demand.ts";
import type { ProxyPorts } from "../proxy/pod-context.ts";
import { watchPolicies } from "../proxy/policy-watch.ts";
import { createResolver } from "../proxy/resolver.ts";
import { PushQueue } from "../push-queue.ts";
import { Wires } from "../proxy/wires.ts";
import { expireSeries } from "../telemetry/expire.ts";
import { TrafficMetrics } from "../telemetry/traffic-metrics.ts";
import { watchTrust } from "../trust-watch.ts";
import { answer, Asking } from "./asking.ts";
import type { Answered, FromWorker, GivenTunnel, Questions, ToWorker, WorkerQuestions, WorkerStart } from "./messages.ts";
import { TunnelTally } from "./tunnel-tally.ts";

/** The main thread has these, once. */
const OF_THE_PROCESS = /^(?:istio_build$|workload_manager_|istio_xds_|istio_dns_)/;

const port = parentPort;
if (port === null) throw new Error("this file runs only as a worker thread");
const { config, index, guarded, tally: tallied } = workerData as WorkerStart;
comply(config.compliance);
const clock = systemClock;
const levels = new LogLevels(config.logFilter);
const log = createLogger("ztunnel", { levels, format: config.logFormat });
const post = (m: FromWorker): void => port.postMessage(m);
const asking = new Asking<WorkerQuestions>((m) => port.postMessage(m));

const metrics = new Metrics(clock.now);
const traffic = new TrafficMetrics(metrics);
const state = new ProxyState(config.nodeName);
const loop = new LoopWatch(clock, guarded ? guardedLoop(config.watchdogMs, `traffic-${index}`, log, config.logFormat) : undefined);
loop.start(metrics, log.child("loop"));
const pushes = new PushQueue({ state, clock, loop });
const connections = new Connections(clock);
const wires = new Wires(hostKernel, clock);
wires.collectInto(metrics);
expireSeries({ metrics, view: () => state.view(), clock });

/** The main thread has all certificates; these are known to be current until it says otherwise. */
const bundles = new Map<string, CertBundle>();
const contexts = createTlsContexts(async (identity) => {
  const uri = formatIdentity(identity);
  const known = bundles.get(uri);
  if (known !== undefined) return known;
  const bundle = await asking.ask("certificate", identity);
  bundles.set(uri, bundle);
  return bundle;
});
const rotations = new Set<(c: CertBundle & { readonly identity: Identity }) => void>();
const crls = config.crlPath === undefined ? undefined : await openCrlFile({ path: config.crlPath, clock, log: log.child("identity") });
const trust = createPeerTrust({ crls: () => crls?.current ?? [], onRevoked: (reporter) => traffic.revoked(reporter) });
watchTrust({ trust, crls, log: log.child("identity"), certificates: { onRotate: (listener) => { rotations.add(listener); return () => void rotations.delete(listener); } } });

const onDemand = config.onDemand ? createOnDemand({ ask: (name) => asking.ask("lookup", name), clusterId: config.clusterId, clock }) : undefined;
const ports: ProxyPorts = {
  config, onDemand, kernel: hostKernel, state, contexts, trust, connections, clock, random: systemRandom, log: log.child("proxy"),
  needs: createNeeds({ state, clock, onDemand, resolve: createResolver(clock), onName: (pod, hostname) => traffic.onDemandDns(state.view().workloadOfPod(pod), hostname) }),
  telemetry: { metrics: traffic, access: log.child("access"), clock, openAtInfo: config.logOpen }, wires,
  trials: { metrics: traffic, log: log.child("policy"), loud: config.trialsAtInfo },
};
const tally = new TunnelTally(tallied, index);
const tunnels = metrics.gauge("ambit_thread_tunnels", "Tunnels of peers that a traffic thread carries.").with({ thread: String(index) });
metrics.onCollect(() => tunnels.set(tally.own));
const pods = new PodProxies({ config, kernel: hostKernel, ports, traffic, nameServers: [], serve: "traffic", tunnels: {
  begin(uid, connection) {
    const to = tally.least;
    const fd = to === index ? undefined : again(connection.fd);
    tally.begin(fd === undefined ? index : to);
    if (fd === undefined) return true;
    post({ kind: "tunnel", to, uid, fd });
    connection.destroy();
    return false;
  },
  end: () => tally.end(),
} });
const running = new Map<string, ServedPod>();
/** The main thread asks all threads before one of them listens, so what is given to us is of a pod that we know or begin. */
const starting = new Map<string, Promise<ServedPod>>();
watchPolicies({ state, connections, clock, log: log.child("policy") });
adjustHeap(clock);

port.on("message", (m: ToWorker) => {
  switch (m.kind) {
    case "push": return pushes.take(m.part);
    case "stop":
      running.get(m.uid)?.stop();
      return void running.delete(m.uid);
    case "rotated":
      if (bundles.has(formatIdentity(m.identity))) bundles.set(formatIdentity(m.identity), m.bundle);
      for (const listener of rotations) listener({ ...m.bundle, identity: m.identity });
      return;
    case "forget":
      bundles.delete(formatIdentity(m.identity));
      return contexts.forget(m.identity);
    case "levels": return void levels.set(m.filter);
    case "tunnel": return void takeTunnel(m);
    case "start": return answer(m.id, () => start(m.ask), post);
    case "live": return answer(m.id, () => ({ connections: connections.list(), wires: wires.list() }), post);
    case "metrics": return answer(m.id, () => metrics.snapshot().filter((f) => !OF_THE_PROCESS.test(f.name)), post);
    case "drain": return answer(m.id, () => pods.drain(m.ask.deadlineMs, clock, connections), post);
    case "answer": return asking.answered(m satisfies Answered);
  }
});

/** Undefined: the peer is gone, or there are no descriptors left. Then it stays here, and is refused as any other. */
function again(fd: number): number | undefined {
  try {
    return duplicateDescriptor(fd);
  } catch {
    return undefined;
  }
}

/** The other thread may listen in the pod a moment before we do: its tunnel waits for us, as a successor's first connections must not be lost. */
async function takeTunnel({ uid, fd }: GivenTunnel): Promise<void> {
  const pod = running.get(uid) ?? await starting.get(uid)?.catch(() => undefined);
  if (pod !== undefined) return pod.takeTunnel(adoptConnection(fd));
  tally.end();
  closeDescriptor(fd);
}

async function start({ uid, info, netnsFd, inherited }: Questions["start"]["ask"]): Promise<readonly ListeningSocket[]> {
  // A descriptor of our own: the main thread closes its when it likes.
  const netns = hostKernel.openNetns(`/proc/self/fd/${netnsFd}`);
  try {
    const begun = pods.start(uid, info, netns, inherited);
    starting.set(uid, begun);
    const pod = await begun;
    running.set(uid, pod);
    return pod.sockets();
  } catch (error) {
    netns[Symbol.dispose]();
    throw error;
  } finally {
    starting.delete(uid);
  }
}
