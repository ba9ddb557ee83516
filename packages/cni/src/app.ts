// Composes the agent: watches pods, captures them, serves the plugin and ztunnel, keeps the plugin installed.
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { inClusterConfig, isNotFound, KINDS, KubeClient, Reflector, type KubeObject, type Pod } from "@ambit/kube";
import { hostKernel, type Netns } from "@ambit/linux";
import { commonRoutes, LogLevels, Metrics, Readiness, serveHttp, systemClock, systemRandom, type Bound, type Logger } from "@ambit/runtime";
import { Agent, podIps } from "./agent.ts";
import { HostProbeRules } from "./apply.ts";
import type { Config } from "./config.ts";
import type { PodEvent } from "./plugin/event.ts";
import { serveEvents } from "./plugin/event-server.ts";
import { install } from "./plugin/install.ts";
import { openPodNetns } from "./pods/netns-finder.ts";
import { ZdsServer } from "./ztunnel/server.ts";

/** Below the plugin's own 5 s, so that it hears the reason rather than a timeout. */
const ZTUNNEL_WAIT_MS = 4_000;

export async function build(config: Config, log: Logger, levels: LogLevels): Promise<Bound> {
  const clock = systemClock;
  const metrics = new Metrics();
  const readiness = new Readiness();
  const chained = readiness.waitFor("CNI plugin installed");
  const listening = readiness.waitFor("pods adopted");
  const client = new KubeClient(inClusterConfig(process.env));
  const probes = new HostProbeRules(config);
  const routes = { ...commonRoutes({ readiness, metrics, levels }), "GET /readyz": commonRoutes({ readiness, metrics, levels })["GET /ready"]! };
  const health = await serveHttp("0.0.0.0", config.healthPort, routes);
  const scrape = await serveHttp("0.0.0.0", config.metricsPort, routes);

  const pods = new Reflector<Pod>(client, KINDS.pods, { fieldSelector: `spec.nodeName=${config.nodeName}`, log });
  const namespaces = new Reflector<KubeObject>(client, KINDS.namespaces, { log });
  const byUid = new Map<string, Pod>();
  const agent = new Agent({
    rules: { selectors: config.selectors, excludeNamespaces: config.excludeNamespaces, systemNamespace: config.podNamespace },
    podRules: { ipv6: config.ipv6, dnsCapture: config.dnsCapture, probeIpv4: config.probeIpv4, probeIpv6: config.probeIpv6 },
    pods: { byUid: (uid) => byUid.get(uid), namespaceLabels: (name) => namespaces.get(name)?.metadata.labels ?? {} },
    findNetns: (ips) => openPodNetns(join(config.hostRoot, "proc"), ips),
    client, probes, clock, random: systemRandom, log, metrics,
  });

  let started = false;
  const changed = (pod: Pod) => { if (started) void agent.sync(pod.metadata.uid ?? ""); };
  pods.handle({
    onAdd: (pod) => { byUid.set(pod.metadata.uid ?? "", pod); changed(pod); },
    onUpdate: (pod) => { byUid.set(pod.metadata.uid ?? "", pod); changed(pod); },
    onDelete: (pod) => { byUid.delete(pod.metadata.uid ?? ""); changed(pod); },
  });
  const relabelled = (ns: KubeObject) => { for (const pod of byUid.values()) if (pod.metadata.namespace === ns.metadata.name) changed(pod); };
  namespaces.handle({
    onAdd: relabelled,
    onUpdate: (ns, old) => { if (JSON.stringify(ns.metadata.labels) !== JSON.stringify(old.metadata.labels)) relabelled(ns); },
  });
  pods.start();
  namespaces.start();
  await Promise.all([pods.whenSynced(), namespaces.whenSynced()]);

  // Everything that is captured already is known again before a ztunnel may ask: its snapshot must be complete.
  await Promise.all([...byUid.keys()].map((uid) => agent.sync(uid)));
  started = true;
  const zds = new ZdsServer({ path: config.zdsPath, snapshot: () => agent.snapshot(), clock, log, metrics, onConnected: (count) => { if (count > 0) agent.resume(); wake(); } });
  agent.attach(zds);
  let waiting: (() => void)[] = [];
  const wake = () => { const all = waiting; waiting = []; for (const w of all) w(); };
  const ztunnelThere = async () => {
    if (zds.connected > 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.after(ZTUNNEL_WAIT_MS, resolve, { hold: true });
      waiting.push(() => { timer.cancel(); resolve(); });
    });
  };

  const events = await serveEvents(config.runDir, log, async (event) => {
    const pod = await findPod(client, pods, event);
    const selection = agent.selection(pod);
    if (!selection.enrolled) throw new Error(`pod ${event.namespace}/${event.name} is not to be enrolled: ${selection.because}`);
    const ips = event.ips.length > 0 ? event.ips : podIps(pod);
    await ztunnelThere();
    await agent.enrolNew(pod, openEventNetns(config, event.netns), ips);
  });
  const installation = install(config, clock, log, (installed) => { if (installed) chained(); });
  listening();
  log.info("agent is listening", { node: config.nodeName, zds: config.zdsPath });

  return {
    drain: async () => {
      if (await isUpgrade(client, config)) installation.close();
      else {
        installation.remove();
        await probes.remove().catch(() => undefined);
      }
      await Promise.all([events.close(), pods.stop(), namespaces.stop()]);
      await agent.close();
      await zds.close();
      await Promise.all([health.close(), scrape.close()]);
      client.close();
    },
  };
}

/** The informer may lag behind the kubelet: the API server is asked when it does. */
async function findPod(client: KubeClient, pods: Reflector<Pod>, event: PodEvent): Promise<Pod> {
  const known = pods.get(`${event.namespace}/${event.name}`);
  return known ?? client.get<Pod>(KINDS.pods, event.namespace, event.name);
}

/** The runtime's path is the node's; ours is below the mounts. */
function openEventNetns(config: Config, path: string): Netns {
  const candidates = [join(config.hostRoot, "var/run/netns", basename(path)), join(config.hostRoot, path), path];
  const found = candidates.find((p) => existsSync(p));
  if (found === undefined) throw new Error(`network namespace ${path} is not visible to the agent (looked at ${candidates.join(", ")})`);
  return hostKernel.openNetns(found);
}

/** Its DaemonSet still stands: another agent follows, and what is on the node must stay. */
async function isUpgrade(client: KubeClient, config: Config): Promise<boolean> {
  try {
    const owner = await client.get(KINDS.daemonSets, config.podNamespace, "istio-cni-node", { timeoutMs: 2_000 });
    return owner.metadata.deletionTimestamp === undefined;
  } catch (error) {
    // Unreachable says nothing: leaving things in place is the closed choice.
    return !isNotFound(error);
  }
}
