// `pnpm bench:threads`: what two traffic threads of ztunnel carry beside one. Two processors are too few to show that with a load on them, so each traffic thread gets a slow
// processor of its own (a fifth of a real one); the load, and what V8 and libuv do beside the threads, have the rest.
import { parseArgs } from "node:util";
import { KINDS, type KubeObject, type Pod } from "@ambit/kube";
import { isReady } from "../e2e/cluster.fixture.ts";
import { median } from "./results.ts";
import { Rig } from "./rig.ts";
import { SlowCores, threadsOf } from "./slow-cores.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" }, seconds: { type: "string", default: "4" }, share: { type: "string", default: "0.2" } } });
const share = Number(values.share);
const seconds = Number(values.seconds);
const COUNTS = [1, 2] as const;
const LOADS = [
  { name: "new connections, 128 in flight, /s", kind: "connections", count: 128, unit: 1 },
  { name: "32 streams, MB/s", kind: "stream", count: 32, unit: 1e6 },
  { name: "64 x 1 KiB there and back, /s", kind: "ping", count: 64, size: 1024, unit: 1 },
] as const;
/** At full speed and with every load, so that compilers and certificates are not what is measured. */
const WARM_UP_S = 5;
const ROLLOUT_LIMIT_MS = 120_000;

interface DaemonSet extends KubeObject { readonly spec: { readonly template: { readonly spec: { readonly containers: readonly { readonly env?: readonly { readonly name: string; readonly value?: string }[] }[] } } } }

async function useThreads(rig: Rig, threads: number): Promise<void> {
  const [ds] = (await rig.lab.client.list<DaemonSet>(KINDS.daemonSets, "istio-system")).items.filter((d) => d.metadata.name === "ztunnel");
  const [container] = ds?.spec.template.spec.containers ?? [];
  if (ds === undefined || container === undefined) throw new Error("there is no DaemonSet ztunnel");
  if (container.env?.some((e) => e.name === "ZTUNNEL_WORKER_THREADS" && e.value === String(threads)) === true) return;
  const env = [...(container.env ?? []).filter((e) => e.name !== "ZTUNNEL_WORKER_THREADS"), { name: "ZTUNNEL_WORKER_THREADS", value: String(threads) }];
  const spec = { ...ds.spec.template.spec, containers: [{ ...container, env }] };
  const before = new Set((await rig.lab.client.list<Pod>(KINDS.pods, "istio-system")).items.map((p) => p.metadata.uid));
  await rig.lab.client.patch(KINDS.daemonSets, "istio-system", "ztunnel", { spec: { template: { spec } } });
  await rig.lab.until<Pod>(KINDS.pods, "istio-system", (pods) => {
    const ztunnels = pods.filter((p) => p.metadata.labels?.["app"] === "ztunnel");
    return ztunnels.length === 2 && ztunnels.every((p) => isReady(p) && !before.has(p.metadata.uid));
  }, ROLLOUT_LIMIT_MS);
}

/** With one thread the main thread carries the traffic itself. */
function trafficThreads(pid: number, threads: number): readonly number[] {
  const found = threads === 1 ? [pid] : threadsOf(pid, (name) => name.startsWith("traffic-"));
  if (found.length !== threads) throw new Error(`process ${pid} has ${found.length} traffic threads, not ${threads}`);
  return found;
}

const figures = new Map<string, number[]>();
const rig = await Rig.start(undefined);
const cores = new SlowCores();
const stop = (): void => { void rig.lab.stop().finally(() => { cores.release(); process.exit(130); }); };
process.once("SIGINT", stop).once("SIGTERM", stop);
try {
  for (let round = 0; round < Number(values.rounds); round++) for (const threads of round % 2 === 0 ? COUNTS : COUNTS.toReversed()) {
    await useThreads(rig, threads);
    for (const { kind, ...load } of LOADS) await rig.load("ambit", kind, { ...load, seconds: WARM_UP_S });
    for (const pid of rig.ztunnels()) for (const tid of trafficThreads(pid, threads)) cores.put(tid, share);
    for (const { name, kind, unit, ...load } of LOADS) {
      const sample = await rig.load("ambit", kind, { ...load, seconds });
      const key = `${name} ${threads}`;
      figures.set(key, [...(figures.get(key) ?? []), sample.done / sample.seconds / unit]);
      process.stderr.write(`${threads} thread${threads === 1 ? "" : "s"}: ${name} ${(sample.done / sample.seconds / unit).toFixed(0)}; CPU of the proxies ${sample.cpu.map((c) => (c / sample.seconds).toFixed(2)).join(" and ")}, of others ${sample.foreign.toFixed(2)} processors\n`);
    }
    cores.release();
  }
} finally {
  await rig.lab.stop();
  cores.release();
}
const row = (name: string): string => {
  const [one, two] = COUNTS.map((threads) => median(figures.get(`${name} ${threads}`) ?? []));
  return `| ${name} | ${one?.toFixed(0)} | ${two?.toFixed(0)} | ${((two ?? NaN) / (one ?? NaN)).toFixed(2)} |`;
};
process.stdout.write(`| each thread on ${share} of a processor | 1 thread | 2 threads | ratio |\n|---|---:|---:|---:|\n${LOADS.map((l) => row(l.name)).join("\n")}\n`);
