// Owns a Kubernetes that is there already, with the mesh installed, for one test file: what the file makes there goes with it; nodes are looked at
// from privileged pods of the sample image.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { applyManifests, isNotFound, KINDS, KubeClient, parseKubeconfig, parseManifests, type KubeObject, type Pod } from "@ambit/kube";
import { isReady, TestCluster, type Part, type Process, type Program } from "./cluster.fixture.ts";

const exec = promisify(execFile);
const OUTPUT_MAX = 64 * 1024 * 1024;
export const TOOLS_NAMESPACE = "ambit-test";
const SAMPLE_IMAGE = "ambit/sample:lab";
const NODE = "/usr/bin/node";
/** A namespace ends when its pods have ended: those get a second. */
const GONE_LIMIT_MS = 120_000;
/** No capture is longer: one whose reader has gone ends by itself. */
const LISTEN_LIMIT_S = 600;

/** Which container runs a part, or what its process is called on the node. */
const PARTS: Readonly<Record<Part, { readonly namespace: string; readonly label: string; readonly value: string } | { readonly name: string } | undefined>> = {
  "istiod-lite": { namespace: "istio-system", label: "app", value: "istiod" }, cni: { namespace: "istio-system", label: "k8s-app", value: "istio-cni-node" },
  ztunnel: { namespace: "istio-system", label: "app", value: "ztunnel" }, dns: { namespace: "kube-system", label: "k8s-app", value: "kube-dns" },
  kubelet: { name: "kubelet" }, apiserver: undefined, controllers: undefined,
};

/** A pod on each node that sees the node's processes, network and files (below /host), and may end what it sees. */
const TOOLS = `
apiVersion: v1
kind: Namespace
metadata: { name: ${TOOLS_NAMESPACE}, labels: { istio.io/dataplane-mode: none, pod-security.kubernetes.io/enforce: privileged } }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: tools, namespace: ${TOOLS_NAMESPACE} }
spec:
  selector: { matchLabels: { app: tools } }
  template:
    metadata: { labels: { app: tools } }
    spec:
      hostNetwork: true
      hostPID: true
      terminationGracePeriodSeconds: 0
      tolerations: [{ operator: Exists }]
      containers:
        - name: tools
          image: ${SAMPLE_IMAGE}
          command: [/bin/sh, -c, "while :; do sleep 3600; done"]
          securityContext: { privileged: true, runAsUser: 0 }
          volumeMounts: [{ name: host, mountPath: /host, readOnly: true, mountPropagation: HostToContainer }]
      volumes: [{ name: host, hostPath: { path: / } }]
`;

export class TestKube extends TestCluster {
  readonly notLab = "it is not a pod of this cluster, and its machine is out of a test's reach";
  readonly nodePath = NODE;
  readonly #made = new Set<string>();
  #tools = new Map<string, string>();

  /** Puts the tools there, if they are not yet. */
  static async open(kubeconfig: string): Promise<TestKube> {
    const kube = new TestKube(new KubeClient(parseKubeconfig(readFileSync(kubeconfig, "utf8"), kubeconfig)), kubeconfig);
    await applyManifests(kube.client, parseManifests(TOOLS, "tools"), { fieldManager: "test" });
    const nodes = (await kube.client.list(KINDS.nodes)).items.map((n) => n.metadata.name);
    for (const wanted of ["node-1", "node-2"]) if (!nodes.includes(wanted)) throw new Error(`the tests want nodes called node-1 and node-2; this cluster has ${nodes.join(", ")}`);
    const pods = await kube.until<Pod>(KINDS.pods, TOOLS_NAMESPACE, (all) => all.filter(isReady).length === nodes.length, 60_000);
    kube.#tools = new Map(pods.map((p) => [p.spec.nodeName ?? "", p.metadata.name]));
    return kube;
  }

  private constructor(client: KubeClient, kubeconfig: string) {
    super(client, kubeconfig);
  }

  get cliOptions(): readonly string[] { return ["--kubeconfig", this.kubeconfig]; }
  get nodes(): readonly string[] { return [...this.#tools.keys()].sort(); }

  override async apply(yaml: string): Promise<KubeObject[]> {
    for (const o of parseManifests(yaml, "test")) if (o.kind === "Namespace") this.#made.add(o.metadata.name);
    return super.apply(yaml);
  }

  /** What was made stays. */
  close(): void {
    this.client.close();
  }

  /** Also removes namespaces that somebody else made for the test. */
  async stop(...more: string[]): Promise<void> {
    try {
      await Promise.all([...this.#made, ...more].map((name) => this.#remove(name)));
    } finally {
      this.client.close();
    }
  }

  async #remove(namespace: string): Promise<void> {
    // Programs that do not hear SIGTERM as a pod's first process would take half a minute each.
    await this.kubectl("-n", namespace, "delete", "pods", "--all", "--grace-period=1", "--wait=false");
    await this.client.delete(KINDS.namespaces, undefined, namespace).catch((error: unknown) => { if (!isNotFound(error)) throw error; });
    await this.until(KINDS.namespaces, undefined, (all) => !all.some((n) => n.metadata.name === namespace), GONE_LIMIT_MS);
  }

  async run(node: string, ...command: string[]): Promise<string> {
    const { stdout } = await exec("kubectl", this.#inTools(node, command), { maxBuffer: OUTPUT_MAX });
    return stdout;
  }

  async inPodNetwork(pod: Pod, ...command: string[]): Promise<string> {
    const node = pod.spec.nodeName ?? "";
    const [pid] = await this.#pidsOf(node, [...containersOf(pod)]);
    if (pid === undefined) throw new Error(`no process of ${pod.metadata.name} was found on ${node}`);
    return this.run(node, "nsenter", `--net=/proc/${pid}/ns/net`, ...command);
  }

  async processes(part: Part): Promise<Process[]> {
    const how = PARTS[part];
    if (how === undefined) throw new Error(`${part}: ${this.notLab}`);
    if ("name" in how) return (await Promise.all(this.nodes.map(async (node) => (await this.#pidsNamed(node, how.name)).map((pid) => ({ node, pid }))))).flat();
    const pods = (await this.client.list<Pod>(KINDS.pods, how.namespace)).items.filter((p) => p.metadata.labels?.[how.label] === how.value);
    return (await Promise.all(pods.map(async (p) => (await this.#pidsOf(p.spec.nodeName ?? "", containersOf(p))).map((pid) => ({ node: p.spec.nodeName, pid }))))).flat();
  }

  async kill(part: Part): Promise<number> {
    const found = await this.processes(part);
    if (found.length === 0) throw new Error(`no process runs ${part}`);
    const began = Date.now();
    await Promise.all([...new Set(found.map((p) => p.node))].map((node) => this.run(node ?? "", "kill", "-9", ...found.filter((p) => p.node === node).map((p) => String(p.pid)))));
    return began;
  }

  program(name: Program, ...args: string[]): string[] {
    return [NODE, `/app/${name}.mjs`, ...args];
  }

  async listen(): Promise<string[]> {
    const link = /^default .*\bdev (\S+)/m.exec(await this.run("node-1", "ip", "route", "show"))?.[1];
    if (link === undefined) throw new Error("node-1 has no default route: which link goes to the others?");
    return ["kubectl", ...this.#inTools("node-1", ["timeout", String(LISTEN_LIMIT_S), "tcpdump", "-Z", "root", "-i", link, "-s", "0", "-U", "-n", "-w", "-", "tcp"])];
  }

  #inTools(node: string, command: readonly string[]): string[] {
    const pod = this.#tools.get(node);
    if (pod === undefined) throw new Error(`there are no tools on ${node}`);
    return ["--kubeconfig", this.kubeconfig, "-n", TOOLS_NAMESPACE, "exec", pod, "--", ...command];
  }

  /** Processes of containers, as the node numbers them: their control group names the container. */
  async #pidsOf(node: string, containers: readonly string[]): Promise<number[]> {
    if (containers.length === 0) return [];
    const text = await this.run(node, "sh", "-c", `grep -lE '${containers.join("|")}' /proc/[0-9]*/cgroup 2>/dev/null || :`);
    return [...text.matchAll(/^\/proc\/(\d+)\//gm)].map((m) => Number(m[1]));
  }

  async #pidsNamed(node: string, name: string): Promise<number[]> {
    const text = await this.run(node, "sh", "-c", `grep -lx '${name}' /proc/[0-9]*/comm 2>/dev/null || :`);
    return [...text.matchAll(/^\/proc\/(\d+)\//gm)].map((m) => Number(m[1]));
  }
}

const containersOf = (pod: Pod): string[] =>
  ((pod.status?.["containerStatuses"] as { containerID?: string }[] | undefined) ?? []).flatMap((c) => (c.containerID === undefined ? [] : [c.containerID.replace(/^.*:\/\//, "")]));
