// Composes the agent: watches pods, captures them, serves the plugin and ztunnel, keeps the plugin installed.
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { inClusterConfig, isNotFound, KINDS, KubeClient, type Pod } from "@ambit/kube";
import { hostKernel, type Netns } from "@ambit/linux";
import { commonRoutes, errorText, LogLevels, Metrics, Readiness, serveHttp, systemClock, systemRandom, type Bound, type Logger } from "@ambit/runtime";
import { Agent } from "./agent.ts";
import { podRedirection } from "./apply.ts";
import type { Config } from "./config.ts";
import { HostProbeRules } from "./host-probes.ts";
import type { PodEvent } from "./plugin/event.ts";
import { serveEvents } from "./plugin/event-server.ts";
import { install, SERVICE_ACCOUNT_DIR, type Installation } from "./plugin/install.ts";
import { keepToken } from "./plugin/token.ts";
import { podIps } from "./pods/facts.ts";
import { KnownPods } from "./pods/known.ts";
import { openPodNetns } from "./pods/netns-finder.ts";
import { Reporter } from "./pods/report.ts";
import { ZdsServer } from "./ztunnel/server.ts";

/** Both together below the plugin's own 5 s, so that it hears the reason rather than a timeout. */
const ZTUNNEL_WAIT_MS = 3_000;
/** The plugin asked the API server itself; our watch is behind by at most a moment. */
const WATCH_LAG_MS = 1_000;

export async function build(config: Config, log: Logger, levels: LogLevels): Promise<Bound> {
  const clock = systemClock;
  const metrics = new Metrics();
  const readiness = new Readiness();
  const chained = readiness.waitFor("CNI plugin installed");
  const listening = readiness.waitFor("pods adopted");
  const client = new KubeClient(inClusterConfig(process.env));
  const probes = new HostProbeRules(config);
  const common = commonRoutes({ readiness, metrics, levels });
  const routes = { ...common, "GET /readyz": common["GET /ready"]! };
  const health = await serveHttp("0.0.0.0", config.healthPort, routes);
  const scrape = await serveHttp("0.0.0.0", config.metricsPort, routes);

  const pods = new KnownPods(client, config.nodeName, clock, log);
  const agent = new Agent({
    rules: { selectors: config.selectors, excludeNamespaces: config.excludeNamespaces, systemNamespace: config.podNamespace },
    podRules: { ipv6: config.ipv6, dnsCapture: config.dnsCapture, probeIpv4: config.probeIpv4, probeIpv6: config.probeIpv6 },
    drainMs: config.drainMs, pods, redirection: podRedirection(config.nativeNft), reporter: new Reporter(client, config.nodeName, () => clock.now()),
    findNetns: (uid, ips) => openPodNetns(join(config.hostRoot, "proc"), uid, ips),
    client, probes, clock, random: systemRandom, log, metrics,
  });

  await pods.start();
  // Everything that is captured already is known again before a ztunnel may ask: its snapshot must be complete.
  const adopting: Promise<void>[] = [];
  pods.listen({
    changed: (uid) => void adopting.push(agent.sync(uid)),
    deleted: (uid) => void adopting.push(agent.deleted(uid)),
  });
  await Promise.all(adopting);
  pods.listen({ changed: (uid) => void agent.sync(uid), deleted: (uid) => void agent.deleted(uid) });

  let waiting: (() => void)[] = [];
  const zds = new ZdsServer({
    path: config.zdsPath, snapshot: () => agent.snapshot(), clock, log, metrics, onTaken: (pod, error) => agent.taken(pod, error),
    onConnected: (count) => {
      agent.ztunnels(count);
      if (count > 0) for (const wake of waiting.splice(0)) wake();
    },
  });
  agent.attach(zds);
  const ztunnelThere = async () => {
    if (zds.connected > 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.after(ZTUNNEL_WAIT_MS, resolve, { hold: true });
      waiting.push(() => { timer.cancel(); resolve(); });
    });
  };

  const events = await serveEvents(config.runDir, log, async (event, abandoned) => {
    const pod = await findPod(client, pods, event);
    await pods.until(() => agent.selection(pod).enrolled, WATCH_LAG_MS);
    const selection = agent.selection(pod);
    if (!selection.enrolled) throw new Error(`pod ${event.namespace}/${event.name} is not to be enrolled: ${selection.because}`);
    const ips = event.ips.length > 0 ? event.ips : podIps(pod);
    await ztunnelThere();
    await agent.enrolNew(pod, openEventNetns(config, event.netns), ips, abandoned);
  });
  let installed: Installation | undefined;
  const pluginToken = await keepToken(client, readFileSync(join(SERVICE_ACCOUNT_DIR, "token"), "utf8").trim(), clock, log, () => installed?.renew());
  const installation = installed = install(config, clock, log, (there) => { if (there) chained(); }, () => pluginToken.token);
  const verify = clock.every(config.verifyMs, () => void agent.verify());
  listening();
  log.info("agent is listening", { node: config.nodeName, zds: config.zdsPath });

  return {
    drain: async () => {
      verify.cancel();
      waiting = [];
      pluginToken.close();
      const leaves = !(await isUpgrade(client, config));
      if (leaves) installation.remove();
      else installation.close();
      await Promise.all([events.close(), pods.stop()]);
      if (leaves) await agent.leaveAll();
      await agent.close();
      await zds.close();
      if (leaves) {
        await probes.remove().catch((error: unknown) => log.warn("cannot remove the node's probe rule", { error: errorText(error) }));
        removeFolders(config, log);
      }
      await Promise.all([health.close(), scrape.close()]);
      client.close();
    },
  };
}

/** Names are used again (a StatefulSet's pod): only the uid says which one this is. */
async function findPod(client: KubeClient, pods: KnownPods, event: PodEvent): Promise<Pod> {
  const known = pods.byName(event.namespace, event.name);
  if (known !== undefined && event.uid !== undefined && known.metadata.uid === event.uid) return known;
  const pod = await client.get<Pod>(KINDS.pods, event.namespace, event.name, { timeoutMs: WATCH_LAG_MS });
  if (event.uid !== undefined && pod.metadata.uid !== event.uid) throw new Error(`pod ${event.namespace}/${event.name} was replaced by another of its name`);
  return pod;
}

/** The runtime's path is the node's; ours is below the mounts. */
function openEventNetns(config: Config, path: string): Netns {
  const candidates = [join(config.hostRoot, "var/run/netns", basename(path)), join(config.hostRoot, path), path];
  const found = candidates.find((p) => existsSync(p));
  if (found === undefined) throw new Error(`network namespace ${path} is not visible to the agent (looked at ${candidates.join(", ")})`);
  return hostKernel.openNetns(found);
}

/** What only the mesh uses on a node; the kubelet made it for our mounts, which cannot be removed by themselves: we go by the node's own root. */
function removeFolders(config: Config, log: Logger): void {
  for (const folder of [config.runDir, dirname(config.zdsPath)]) {
    try {
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true });
      // An absolute link, as /var/run is, would lead back into our own root.
      rmdirSync(join(config.hostRoot, "proc/1/root", folder.replace(/^\/var\/run\//, "/run/")));
    } catch (error) {
      log.debug("a folder of the mesh stays on the node", { folder, error: errorText(error) });
    }
  }
}

/** Its DaemonSet still stands: another agent follows, and what is on the node must stay. */
async function isUpgrade(client: KubeClient, config: Config): Promise<boolean> {
  try {
    const owner = await client.get(KINDS.daemonSets, config.podNamespace, "istio-cni-node", { timeoutMs: 2_000 });
    return owner.metadata.deletionTimestamp === undefined;
  } catch (error) {
    // Unreachable says nothing, nor does a right that is gone (a pod that was deleted by force has lost its token): leaving things in place is the closed choice.
    return !isNotFound(error);
  }
}
