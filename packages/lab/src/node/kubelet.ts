// Owns the composition of one node: its root, its network, its pods, its server, in the order they must start and stop.
import { cpus, totalmem } from "node:os";
import { mkdirSync, readFileSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { KINDS, KubeClient, loadClientConfig, Reflector, type EndpointSlice, type Node, type Service } from "@ambit/kube";
import { systemClock, type Bound, type Clock, type Logger } from "@ambit/runtime";
import { startServiceNetwork } from "../network/service-network.ts";
import { createCni } from "./cni.ts";
import { createEvents } from "./events.ts";
import { keepLogWriter } from "./logs/keeper.ts";
import { prepareNodeRoot } from "./node-root.ts";
import { reportNode } from "./node-status.ts";
import type { NodePod } from "./plan/pod-spec.ts";
import { parseIdMap } from "./plan/privileges.ts";
import type { NodePorts } from "./pods/context.ts";
import { Limit } from "./pods/limit.ts";
import { PodManager } from "./pods/pod-manager.ts";
import { hostPortsOf } from "./pods/sandbox.ts";
import { createStatusWriter } from "./pods/status-writer.ts";
import { createRuntime, type Runtime } from "./runtime.ts";
import { isApiServer, KUBELET_PORT, serveKubelet, type KubeletServer } from "./server/server.ts";
import { serveStreaming } from "./streaming/server.ts";
import { createObjectCache } from "./volumes/object-cache.ts";

export interface KubeletOptions {
  readonly node: string; readonly kubeconfig: string; readonly state: string; readonly images: string; readonly pki: string;
  readonly nodeIp: string; readonly podCidr: string; readonly clusterDns: string; readonly clusterDomain: string;
}
export interface Kubelet extends Bound { readonly pods: PodManager; readonly server: KubeletServer; readonly runtime: Runtime }

const VERSION = "v1.35.0";
/** More at once only makes each slower: a start is mostly CPU. */
const STARTS_AT_ONCE = 8;
/** Changes of the images' list and the CNI folder come in bursts. */
const SETTLE_MS = 50;

/** Must run inside the node's network namespace. Pods go on when it stops. */
export async function startKubelet(options: KubeletOptions, log: Logger, clock: Clock = systemClock): Promise<Kubelet> {
  const client = new KubeClient(loadClientConfig({ kubeconfig: options.kubeconfig }));
  const root = await prepareNodeRoot(options.state);
  const cni = createCni(root.root, options.podCidr);
  mkdirSync(options.images, { recursive: true });
  const logWriter = keepLogWriter(root.logRequests);
  const services = new Reflector<Service>(client, KINDS.services, { log });
  const slices = new Reflector<EndpointSlice>(client, KINDS.endpointSlices, { log });
  const nodes = new Reflector<Node>(client, KINDS.nodes, { log });
  const podReflector = PodManager.reflector({ client, log, nodeName: options.node });
  const ports: NodePorts = {
    client, clock, log, root, cni, nodeName: options.node, hostIP: options.nodeIp, images: options.images,
    objects: createObjectCache(client, log), events: createEvents(client, clock, log, options.node),
    status: createStatusWriter(client, clock, log, (pod) => podReflector.get(`${pod.metadata.namespace}/${pod.metadata.name}`) as unknown as NodePod | undefined),
    dns: { clusterDns: options.clusterDns, clusterDomain: options.clusterDomain, nodeName: options.node, nodeResolvConf: readText("/etc/resolv.conf") },
    services: () => services.items(), starts: new Limit(STARTS_AT_ONCE), cpuMillis: cpus().length * 1000, memoryBytes: totalmem(),
    ids: { uids: parseIdMap(readText("/proc/self/uid_map")), gids: parseIdMap(readText("/proc/self/gid_map")), setgroups: readText("/proc/self/setgroups").trim() !== "deny" },
  };
  const pods = new PodManager(ports, podReflector);
  const server = await serveKubelet({ host: "0.0.0.0", port: KUBELET_PORT }, options.pki, options.node, pods, log);
  const runtime = createRuntime(pods, root.loader);
  const streaming = serveStreaming(server.server, { runtime, log, clock, authorize: isApiServer });
  const network = await startServiceNetwork({ nodeName: options.node, nodeIp: options.nodeIp, podCidr: options.podCidr, services, slices, nodes, clock, log, hostPorts: () => hostPorts(pods) });
  pods.onChange(() => network.changed());
  for (const r of [services, slices, nodes]) r.start();
  const reporter = reportNode(client, clock, log, { name: options.node, ip: options.nodeIp, podCidr: options.podCidr, version: VERSION }, () => { const found = cni.config(); return "problem" in found ? found.problem : undefined; });
  // A pod's environment and a container's network need the Services that exist.
  await Promise.all([services.whenSynced(), slices.whenSynced(), nodes.whenSynced()]);
  pods.start();
  const watchers = [
    settled(options.images, () => pods.imagesChanged()),
    settled(join(root.root, "etc/cni/net.d"), () => reporter.check()),
    settled(join(root.root, "opt/cni/bin"), () => reporter.check()),
  ];
  log.info("kubelet is running", { node: options.node, ip: options.nodeIp });
  return {
    pods, server, runtime,
    async drain() {
      for (const w of watchers) w.close();
      reporter.close();
      streaming.close();
      await server.close();
      await pods.close();
      ports.status.close();
      await network.close();
      await Promise.all([services, slices, nodes].map((r) => r.stop()));
      await ports.objects.close();
      logWriter.close();
      client.close();
    },
  };
}

const hostPorts = (pods: PodManager) => pods.workers().filter((w) => w.podIP !== "").flatMap((w) => hostPortsOf(w.pod).map((p) => ({ ...p, podIP: w.podIP })));

function settled(dir: string, task: () => void): FSWatcher {
  let timer: NodeJS.Timeout | undefined;
  const watcher = watch(dir, () => {
    clearTimeout(timer);
    timer = setTimeout(task, SETTLE_MS);
    timer.unref();
  });
  watcher.on("error", () => undefined); // the folder went away with its node
  return watcher;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
