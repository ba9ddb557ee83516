// Owns a lab for a test file: started once, with the mesh, taken down at the end; and the few ways tests look into it.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { applyManifests, KINDS, KubeClient, parseKubeconfig, parseManifests, type Kind, type KubeObject, type Pod } from "@ambit/kube";
import { enterCommand, startLab, type Lab } from "@ambit/lab/supervisor";
import { installMesh, meshReady } from "@ambit/cli/mesh";

const ROOT = join(import.meta.dirname, "../..");
const exec = promisify(execFile);
const OUTPUT_MAX = 64 * 1024 * 1024;

export class TestLab {
  readonly client: KubeClient;
  readonly #lab: Lab;
  readonly #folder: string;

  static async start(options: { nodes?: number; mesh?: boolean } = {}): Promise<TestLab> {
    // Socket paths are short: the state folder's must be too.
    const folder = mkdtempSync(join(tmpdir(), "ae-"));
    const lab = await startLab({ state: join(folder, "s"), nodes: options.nodes ?? 2, port: 0 });
    const test = new TestLab(lab, folder);
    try {
      if (options.mesh !== false) {
        await installMesh(test.client, () => undefined);
        await meshReady(test.client, () => undefined);
      }
      return test;
    } catch (error) {
      await test.stop();
      throw error;
    }
  }

  private constructor(lab: Lab, folder: string) {
    this.#lab = lab;
    this.#folder = folder;
    this.client = new KubeClient(parseKubeconfig(readFileSync(lab.layout.kubeconfig, "utf8"), lab.layout.kubeconfig));
  }

  get record(): Lab["record"] { return this.#lab.record; }
  get kubeconfig(): string { return this.#lab.layout.kubeconfig; }
  get logs(): string { return this.#lab.layout.logs; }
  /** Folder of the lab's images. */
  get images(): string { return this.#lab.layout.images; }

  async stop(): Promise<void> {
    this.client.close();
    await this.#lab.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

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

  /** A command on the fabric, or in a node's network namespace. */
  async run(node: string | undefined, ...command: string[]): Promise<string> {
    const [program = "", ...args] = enterCommand(this.record, node, command);
    const { stdout } = await exec(program, args, { maxBuffer: OUTPUT_MAX });
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

  /** Pids of the lab's processes (as this machine numbers them) whose command line has `part`; never those of other labs. */
  pids(part: string): number[] {
    return readdirSync("/proc").filter((p) => /^\d+$/.test(p)).map(Number).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").includes(part) && this.#isInside(pid);
      } catch {
        return false;
      }
    });
  }

  /** Power off and on: every process of the node ends in one moment; its pods' networks, its /run and its kernel's tables are gone. */
  async reboot(node: string): Promise<void> {
    const root = join(this.#folder, "s", "nodes", node, "root");
    const networks = await this.run(undefined, "sh", "-c", `stat -L -c %i /run/netns/${node} ${root}/run/netns/*`);
    const inodes = new Set(networks.trim().split("\n").map(BigInt));
    const doomed = readdirSync("/proc").filter((p) => /^\d+$/.test(p)).map(Number).filter((pid) => {
      try {
        return inodes.has(statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino) && this.#isInside(pid);
      } catch {
        return false; // It ended meanwhile.
      }
    });
    for (const pid of doomed) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended meanwhile.
      }
    }
    // umount looks into /proc, which shows the lab's processes: it has to be one of them.
    const [enter = "", ...how] = enterCommand(this.record, undefined, ["sh", "-ec", `for n in ${root}/run/netns/*; do umount -l $n; rm $n; done; rm -rf ${root}/run/istio-cni/* ${root}/run/ztunnel/*`]);
    await exec(enter, ["-p", ...how]);
    await this.run(node, "nft", "flush", "ruleset");
  }

  #isInside(pid: number): boolean {
    for (let at = pid; at > 1; ) {
      if (at === this.record.init) return true;
      const stat = readFileSync(`/proc/${at}/stat`, "utf8");
      at = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    }
    return false;
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
export const sampleCommand = ["node", join(ROOT, "packages/lab/src/sample/main.ts")];
