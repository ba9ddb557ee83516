// Owns a lab for a test file: started once, with the mesh, taken down at the end; and the few ways tests look into it.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { KubeClient, parseKubeconfig, type Pod } from "@ambit/kube";
import { enterCommand, startLab, type Lab } from "@ambit/lab/supervisor";
import { installMesh, meshReady } from "@ambit/cli/mesh";
import { TestCluster, type Part, type Process, type Program } from "./cluster.fixture.ts";

const ROOT = join(import.meta.dirname, "../..");
const exec = promisify(execFile);
const OUTPUT_MAX = 64 * 1024 * 1024;
const LINK = "port-1";
const PROGRAMS: Readonly<Record<Program, string>> = { streams: "e2e/programs/streams.ts", resolve: "e2e/programs/resolve.ts", authorizer: "e2e/programs/authorizer.ts", garbage: "e2e/programs/garbage.ts", echo: "conformance/echo.ts" };
/** As it is on their command lines. */
const PARTS: Readonly<Record<Part, string>> = {
  "istiod-lite": "istiod-lite/src/main.ts", cni: "packages/cni/src/main.ts", ztunnel: "ztunnel/src/main.ts", dns: "lab/src/dns/main.ts", kubelet: "kubelet", apiserver: "lab/src/apiserver/main.ts", controllers: "lab/src/controllers/main.ts",
};

export class TestLab extends TestCluster {
  readonly notLab = undefined;
  readonly nodePath = process.execPath;
  readonly #lab: Lab;
  readonly #folder: string;

  static override async start(options: { nodes?: number; mesh?: boolean } = {}): Promise<TestLab> {
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
    const { kubeconfig } = lab.layout;
    super(new KubeClient(parseKubeconfig(readFileSync(kubeconfig, "utf8"), kubeconfig)), kubeconfig);
    this.#lab = lab;
    this.#folder = folder;
  }

  get record(): Lab["record"] { return this.#lab.record; }
  get cliOptions(): readonly string[] { return ["--state", dirname(this.kubeconfig)]; }
  get logs(): string { return this.#lab.layout.logs; }
  /** Folder of the lab's images. */
  get images(): string { return this.#lab.layout.images; }

  async stop(): Promise<void> {
    this.client.close();
    await this.#lab.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** A command on the fabric, or in a node's network namespace. */
  async run(node: string | undefined, ...command: string[]): Promise<string> {
    const [program = "", ...args] = enterCommand(this.record, node, command);
    const { stdout } = await exec(program, args, { maxBuffer: OUTPUT_MAX });
    return stdout;
  }

  async inPodNetwork(pod: Pod, ...command: string[]): Promise<string> {
    const own = new RegExp(`\\|-- ${(pod.status?.podIP ?? "no address").replaceAll(".", "\\.")}\\n\\s+/32 host LOCAL`);
    const inside = this.pids("").find((pid) => {
      try {
        return own.test(readFileSync(`/proc/${pid}/net/fib_trie`, "utf8"));
      } catch {
        return false; // It ended meanwhile.
      }
    });
    if (inside === undefined) throw new Error(`no process is in the network of ${pod.metadata.name}`);
    const { stdout } = await exec("nsenter", [`--net=/proc/${inside}/ns/net`, ...command], { maxBuffer: OUTPUT_MAX });
    return stdout;
  }

  async processes(part: Part): Promise<Process[]> {
    return this.pids(PARTS[part]).map((pid) => ({ node: undefined, pid }));
  }

  async kill(part: Part): Promise<number> {
    const pids = this.pids(PARTS[part]);
    if (pids.length === 0) throw new Error(`no process runs ${part}`);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    return Date.now();
  }

  program(name: Program, ...args: string[]): string[] {
    return [process.execPath, join(ROOT, "test", PROGRAMS[name]), ...args];
  }

  async listen(): Promise<string[]> {
    return enterCommand(this.record, undefined, ["tcpdump", "-i", LINK, "-s", "0", "-U", "-n", "-w", "-", "tcp"]);
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
}
