// Owns the node's own objects: the Node with its addresses, capacity and conditions, and the Lease that says it lives.
import { cpus, totalmem } from "node:os";
import { readFileSync } from "node:fs";
import { isNotFound, KINDS, type Condition, type KubeClient, type Node } from "@ambit/kube";
import { errorText, type Clock, type Logger } from "@ambit/runtime";

export interface NodeIdentity { readonly name: string; readonly ip: string; readonly podCidr: string; readonly version: string }

/** As upstream: a lease is renewed every 10 s and held for 40 s. */
const LEASE_MS = 10_000;
const LEASE_SECONDS = 40;
/** Node status is written on change, and this often without one. */
const STATUS_MS = 60_000;
const RETRY_MS = 1_000;
const PODS_MAX = "250";
const LEASE_NAMESPACE = "kube-node-lease";

export interface NodeReporter {
  /** Looks at readiness again now. */
  check(): void;
  close(): void;
}

/** `notReady` gives the reason why pods with a network of their own cannot start, or undefined when they can. */
export function reportNode(client: KubeClient, clock: Clock, log: Logger, node: NodeIdentity, notReady: () => string | undefined): NodeReporter {
  const stop = new AbortController();
  let sent: string | undefined;
  let sentAtMs = 0;
  let running: Promise<void> | undefined;
  let again = false;
  const now = () => `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;

  const write = async (): Promise<void> => {
    const problem = notReady();
    const state = problem ?? "";
    if (state === sent && clock.now() - sentAtMs < STATUS_MS) return;
    let current: Node;
    try {
      current = await client.get<Node>(KINDS.nodes, undefined, node.name);
      const want = nodeLabels(node);
      const missing = Object.entries(want).some(([k, v]) => current.metadata.labels?.[k] !== v) || current.spec?.podCIDR === undefined;
      if (missing) current = await client.patch<Node>(KINDS.nodes, undefined, node.name, { metadata: { labels: want }, spec: { ...(current.spec?.podCIDR === undefined ? { podCIDR: node.podCidr, podCIDRs: [node.podCidr] } : {}) } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      current = await client.create<Node>(KINDS.nodes, undefined, { apiVersion: "v1", kind: "Node", metadata: { name: node.name, labels: nodeLabels(node) }, spec: { podCIDR: node.podCidr, podCIDRs: [node.podCidr] } });
    }
    await client.patch(KINDS.nodes, undefined, node.name, { status: nodeStatus(node, current, problem, now()) }, { subresource: "status", signal: stop.signal });
    if (sent !== state) log.info(problem === undefined ? "node is ready" : "node is not ready", problem === undefined ? {} : { problem });
    sent = state;
    sentAtMs = clock.now();
  };
  const loop = async (): Promise<void> => {
    do {
      again = false;
      try {
        await write();
      } catch (error) {
        if (stop.signal.aborted) return;
        log.warn("cannot write the node's status, will try again", { error: errorText(error) });
        await clock.sleep(RETRY_MS, stop.signal).catch(() => undefined);
        again = true;
      }
    } while (again && !stop.signal.aborted);
  };
  const check = () => {
    again = true;
    running ??= loop().finally(() => { running = undefined; });
  };

  const renew = async (): Promise<void> => {
    const spec = { holderIdentity: node.name, leaseDurationSeconds: LEASE_SECONDS, renewTime: `${new Date(clock.now()).toISOString().slice(0, 23)}000Z` };
    try {
      await client.patch(KINDS.leases, LEASE_NAMESPACE, node.name, { spec });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await client.create(KINDS.leases, LEASE_NAMESPACE, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: node.name, namespace: LEASE_NAMESPACE }, spec });
    }
  };
  const beat = () => { renew().catch((error: unknown) => { if (!stop.signal.aborted) log.warn("cannot renew the node's lease", { error: errorText(error) }); }); };
  beat();
  check();
  const timers = [clock.every(LEASE_MS, beat), clock.every(LEASE_MS, check)];
  return { check, close: () => { stop.abort(); for (const t of timers) t.cancel(); } };
}

const ARCHITECTURE: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

function nodeLabels(node: NodeIdentity): Record<string, string> {
  const arch = ARCHITECTURE[process.arch] ?? process.arch;
  const zone = /-(\d+)$/.exec(node.name)?.[1] ?? "1";
  return {
    "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch, "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch,
    "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": `zone-${zone}`,
  };
}

function nodeStatus(node: NodeIdentity, current: Node, problem: string | undefined, now: string): Record<string, unknown> {
  const before = new Map((current.status?.conditions ?? []).map((c) => [c.type, c]));
  const condition = (type: string, status: Condition["status"], reason: string, message: string) => {
    const old = before.get(type);
    return { type, status, reason, message, lastHeartbeatTime: now, lastTransitionTime: old?.status === status && old.lastTransitionTime !== undefined ? old.lastTransitionTime : now };
  };
  const own = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
  const amounts = { cpu: String(cpus().length), memory: `${Math.floor(totalmem() / 1024)}Ki`, pods: PODS_MAX };
  return {
    addresses: [{ type: "InternalIP", address: node.ip }, { type: "Hostname", address: node.name }],
    capacity: amounts, allocatable: amounts,
    conditions: [
      ...(current.status?.conditions ?? []).filter((c) => !own.includes(c.type)),
      condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
      condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
      condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
      problem === undefined ? condition("Ready", "True", "KubeletReady", "kubelet is posting ready status") : condition("Ready", "False", "KubeletNotReady", `container runtime network not ready: ${problem}`),
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    nodeInfo: {
      architecture: ARCHITECTURE[process.arch] ?? process.arch, operatingSystem: "linux", osImage: osName(), kernelVersion: kernelVersion(), kubeletVersion: node.version, kubeProxyVersion: "",
      containerRuntimeVersion: `ambit://${node.version.replace(/^v/, "")}`, machineID: node.name, systemUUID: node.name, bootID: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
    },
  };
}

const kernelVersion = (): string => readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
function osName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux";
  } catch {
    return "Linux";
  }
}
