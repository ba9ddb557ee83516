// Owns what end-to-end tests ask of a cluster with the mesh in it, so that the same files run on the lab and on any Kubernetes.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { applyManifests, KINDS, parseManifests, type Kind, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";

const exec = promisify(execFile);
const OUTPUT_MAX = 64 * 1024 * 1024;

/** What tests kill or watch. */
export type Part = "istiod-lite" | "cni" | "ztunnel" | "dns" | "kubelet" | "apiserver" | "controllers";
/** Programs that tests run inside pods of the sample image. */
export type Program = "streams" | "resolve" | "authorizer" | "garbage" | "echo";
/** By where it runs: a pid of the node; on the lab, of this machine. */
export interface Process { readonly node: string | undefined; readonly pid: number }

export abstract class TestCluster {
  readonly client: KubeClient;
  readonly kubeconfig: string;
  /** Set: why tests of the lab's own programs cannot run here. */
  abstract readonly notLab: string | undefined;
  /** Options that make `ambit` talk to this cluster. */
  abstract readonly cliOptions: readonly string[];
  /** As this cluster's nodes and pods see it. */
  abstract readonly nodePath: string;

  protected constructor(client: KubeClient, kubeconfig: string) {
    this.client = client;
    this.kubeconfig = kubeconfig;
  }

  /** A lab of its own; or the cluster that AMBIT_E2E_KUBECONFIG names, where the mesh is installed already (`pnpm test:kube`). */
  static async start(): Promise<TestCluster> {
    const kubeconfig = process.env["AMBIT_E2E_KUBECONFIG"];
    if (kubeconfig !== undefined) return (await import("./kube.fixture.ts")).TestKube.open(kubeconfig);
    return (await import("./lab.fixture.ts")).TestLab.start();
  }

  abstract stop(): Promise<void>;
  /** A command in a node's network, with the tools of this machine or of the sample image. */
  abstract run(node: string, ...command: string[]): Promise<string>;
  /** A command in the network of one pod. */
  abstract inPodNetwork(pod: Pod, ...command: string[]): Promise<string>;
  abstract processes(part: Part): Promise<Process[]>;
  /** SIGKILL to every process of the part; resolves with the time of it. Throws where there is none. */
  abstract kill(part: Part): Promise<number>;
  /** The command of a container that runs a program. */
  abstract program(name: Program, ...args: string[]): string[];
  /** A command that writes what passes the link of node-1 as a capture to stdout, and says "listening on" when it has begun. */
  abstract listen(): Promise<string[]>;

  /** As on Kubernetes, a pod is refused until its namespace has got its service account: new namespaces are waited for. */
  async apply(yaml: string): Promise<KubeObject[]> {
    const objects = parseManifests(yaml, "test");
    const namespaces = objects.filter((o) => o.kind === "Namespace");
    const applied = await applyManifests(this.client, namespaces, { fieldManager: "test" });
    for (const { metadata } of namespaces) await this.until(KINDS.serviceAccounts, metadata.name, (accounts) => accounts.some((a) => a.metadata.name === "default"));
    return [...applied, ...(await applyManifests(this.client, objects.filter((o) => o.kind !== "Namespace"), { fieldManager: "test" }))];
  }

  /** kubectl's stdout; rejects with its stderr. */
  async kubectl(...args: string[]): Promise<string> {
    const { stdout } = await exec("kubectl", ["--kubeconfig", this.kubeconfig, ...args], { maxBuffer: OUTPUT_MAX });
    return stdout;
  }

  /** Resolves with the objects of a kind as soon as `test` holds of them; rejects after `limitMs` saying what was there. */
  async until<T extends KubeObject>(kind: Kind, namespace: string | undefined, test: (items: T[]) => boolean, limitMs = 30_000): Promise<T[]> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const { items, resourceVersion } = await this.client.list<T>(kind, namespace);
      if (test(items)) return items;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${kind.plural} did not become as expected within ${limitMs} ms: ${JSON.stringify(items.map((i) => [i.metadata.name, i.metadata.annotations, (i["status"] as { phase?: string; conditions?: unknown } | undefined)?.phase]))}`);
      await this.#nextChange(kind, namespace, resourceVersion, left);
    }
  }

  /** Every pod of the namespace is Ready, and enrolled or not as asked. */
  ready(namespace: string, options: { enrolled?: boolean; count?: number; limitMs?: number } = {}): Promise<Pod[]> {
    return this.until<Pod>(KINDS.pods, namespace, (pods) => pods.length > 0 && (options.count === undefined || pods.length === options.count) && pods.every((p) => isReady(p) && (options.enrolled === undefined || isEnrolled(p) === options.enrolled)), options.limitMs);
  }

  async #nextChange(kind: Kind, namespace: string | undefined, resourceVersion: string, limitMs: number): Promise<void> {
    const group = kind.group === "" ? "/api/v1" : `/apis/${kind.group}/${kind.version}`;
    const path = `${group}${namespace === undefined ? "" : `/namespaces/${namespace}`}/${kind.plural}`;
    const response = await this.client.open("GET", path, { query: { watch: true, resourceVersion, timeoutSeconds: Math.max(1, Math.ceil(limitMs / 1000)) }, timeoutMs: limitMs + 1000 });
    try {
      for await (const _ of response as AsyncIterable<Buffer>) return;
    } catch {
      // The connection ended with the API server: the next list says what is.
    } finally {
      response.destroy();
    }
  }
}

export const isReady = (p: Pod): boolean => p.metadata.deletionTimestamp === undefined && p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") === true;
export const isEnrolled = (p: Pod): boolean => p.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled";

/** Leaves a test out, and says why: nothing is skipped in silence. */
export function leaveOut(test: Mocha.Context, because: string): never {
  process.stdout.write(`    left out: ${test.runnable().fullTitle()}: ${because}\n`);
  return test.skip();
}
