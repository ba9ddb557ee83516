// Owns the stage of the bench: a lab with one pair of pods outside the mesh and one inside, between the same two nodes, and the way
// to run one load in a pair and see what it cost whom.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { KINDS, type Pod } from "@ambit/kube";
import { documents, namespaceOf } from "../e2e/client-log.fixture.ts";
import { TestLab } from "../e2e/lab.fixture.ts";
import { choose, offerRealZtunnel, type Variant } from "../interop/real-ztunnel.fixture.ts";
import { argumentsOf, cpuSeconds, machine, residentMb, variableOf } from "./processes.ts";

export type Way = "plain" | Variant;
export interface LoadOptions { readonly count?: number; readonly size?: number; readonly seconds?: number }
/** One window: what was done, and CPU seconds of the proxy at the client, the one at the server, both pods, and of foreigners. */
export interface Sample { readonly seconds: number; readonly done: number; readonly p50_us?: number; readonly p99_us?: number; readonly cpu: readonly [client: number, server: number]; readonly foreign: number; readonly steal: number; readonly rss: readonly [client: number, server: number] }

const LOAD = join(import.meta.dirname, "load.ts");
const PORT = 7100;
export const NODES = ["node-1", "node-2"] as const;

const pod = (namespace: string, name: string, node: string, command: readonly string[]): string => JSON.stringify({
  apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels: { app: name } },
  spec: { nodeSelector: { "kubernetes.io/hostname": node }, terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "ambit/sample:lab", command }] },
});

/** A namespace in which pods may be made: its service account comes a moment later. */
export async function makeNamespace(lab: TestLab, name: string, ambient: boolean): Promise<void> {
  await lab.apply(namespaceOf(name, ambient));
  await lab.until(KINDS.serviceAccounts, name, (accounts) => accounts.length > 0);
}

export class Rig {
  readonly lab: TestLab;
  readonly #real: string | undefined;
  #variant: Variant = "ambit";

  static async start(real: string | undefined): Promise<Rig> {
    const lab = await TestLab.start({ nodes: NODES.length });
    const rig = new Rig(lab, real);
    try {
      if (real !== undefined) await offerRealZtunnel(lab, real);
      for (const ns of ["plain", "mesh"]) await makeNamespace(lab, ns, ns === "mesh");
      await lab.apply(documents(...["plain", "mesh"].flatMap((ns) => [pod(ns, "client", NODES[0], ["sleep", "infinity"]), pod(ns, "server", NODES[1], [process.execPath, LOAD, "serve", String(PORT)])])));
      await lab.ready("mesh", { enrolled: true, count: 2 });
      await lab.ready("plain", { enrolled: false, count: 2 });
      return rig;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  private constructor(lab: TestLab, real: string | undefined) {
    this.lab = lab;
    this.#real = real;
  }

  get ways(): readonly Way[] { return this.#real === undefined ? ["plain", "ambit"] : ["plain", "ambit", "real"]; }
  get variant(): Variant { return this.#variant; }

  /** Puts one of the two ztunnels in place on both nodes. */
  async use(variant: Variant): Promise<void> {
    if (variant === this.#variant) return;
    await choose(this.lab, { [NODES[0]]: variant, [NODES[1]]: variant });
    this.#variant = variant;
  }

  /** Process ids of the ztunnels on the client's and on the server's node. */
  ztunnels(): readonly [number, number] {
    const real = this.#real;
    const all = this.#variant === "real" && real !== undefined ? this.lab.pids(real).filter((p) => argumentsOf(p)[0] === real) : this.lab.pids("ztunnel/src/main.ts").filter((p) => argumentsOf(p)[1]?.endsWith("ztunnel/src/main.ts") === true);
    const [a, b] = NODES.map((node) => all.filter((pid) => variableOf(pid, "NODE_NAME") === node));
    if (a?.length !== 1 || b?.length !== 1) throw new Error(`${this.#variant}: expected one ztunnel on each node, found ${all.length} processes`);
    return [a[0] as number, b[0] as number];
  }

  async load(way: Way, kind: string, options: LoadOptions): Promise<Sample> {
    const namespace = way === "plain" ? "plain" : "mesh";
    const pids = way === "plain" ? undefined : this.ztunnels();
    const look = () => ({ cpu: pids?.map((p) => cpuSeconds(p) ?? NaN) ?? [0, 0], machine: machine(), lab: this.#labCpu() });
    let before = look();
    const session = await this.session(namespace, kind, options);
    try {
      await session.next("begin");
      if (kind !== "idle") before = look();
      const end = (await session.next("end")) as { seconds: number; done: number; p50_us?: number; p99_us?: number };
      const after = look();
      const cpu = (i: 0 | 1) => (after.cpu[i] ?? NaN) - (before.cpu[i] ?? NaN);
      const rss = (i: 0 | 1) => (pids === undefined ? 0 : residentMb(pids[i]) ?? NaN);
      const own = [...after.lab].reduce((sum, [pid, s]) => sum + s - (before.lab.get(pid) ?? 0), 0);
      return { ...end, cpu: [cpu(0), cpu(1)], rss: [rss(0), rss(1)], foreign: Math.max(0, (after.machine.busyS - before.machine.busyS - own) / end.seconds), steal: (after.machine.stealS - before.machine.stealS) / end.seconds };
    } finally {
      await session.close();
    }
  }

  /** Memory of the two ztunnels now, MB. */
  memory(): readonly [number, number] {
    const [a, b] = this.ztunnels();
    return [residentMb(a) ?? NaN, residentMb(b) ?? NaN];
  }

  async session(namespace: string, kind: string, options: LoadOptions): Promise<Session> {
    const server = await this.lab.client.get<Pod>(KINDS.pods, namespace, "server");
    const child = spawn("kubectl", ["--kubeconfig", this.lab.kubeconfig, "exec", "-i", "-n", namespace, "client", "--", process.execPath, LOAD, kind, server.status?.podIP ?? "", String(PORT), JSON.stringify(options)]);
    return new Session(child, `${kind} ${JSON.stringify(options)} in ${namespace}`);
  }

  /** CPU seconds of every process of the lab, and of the bench itself. */
  #labCpu(): Map<number, number> {
    return new Map([process.pid, ...this.lab.pids("")].map((pid) => [pid, cpuSeconds(pid) ?? 0]));
  }
}

/** One run of the load program, as lines. */
export class Session {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #name: string;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<void>;
  #error = "";

  constructor(child: ChildProcessWithoutNullStreams, name: string) {
    this.#child = child;
    this.#name = name;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stderr.on("data", (d: Buffer) => { this.#error += d.toString(); });
    child.stdin.on("error", () => undefined);
    this.#ended = new Promise((resolve) => child.once("close", () => resolve()));
  }

  /** The next line that has this key; throws with what the program said instead. */
  async next(key: string, test: (record: Record<string, unknown>) => boolean = () => true): Promise<Record<string, unknown>> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) { await this.#ended; throw new Error(`${this.#name}: ended before "${key}": ${this.#error.trim()}`); }
      const record = JSON.parse(value) as Record<string, unknown>;
      if (record["failed"] !== undefined) throw new Error(`${this.#name}: ${String(record["failed"])}`);
      if (key in record && test(record)) return record;
    }
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }
}
