// Owns the load scenarios: which load each runs and which figures it makes of it.
import { NODES, type Rig, type Sample, type Way } from "./rig.ts";
import type { Results } from "./results.ts";

export interface Pace { readonly seconds: number; readonly idle: readonly number[] }
export type Scenario = (rig: Rig, way: Way, pace: Pace, results: Results, note: (way: Way, name: string, sample: Sample) => void) => Promise<void>;

const STREAMS = [1, 4, 16] as const;
const IN_FLIGHT = 32;
const NAMES = ["client side", "server side"] as const;

/** CPU of the two proxies per unit of work, each side and together. */
function cost(results: Results, way: Way, metric: string, unit: string, sample: Sample, per: number): void {
  if (way === "plain") return;
  results.add(way, `${metric}: both`, unit, (sample.cpu[0] + sample.cpu[1]) * per);
  NAMES.forEach((name, i) => results.add(way, `${metric}: ${name}`, unit, (sample.cpu[i] ?? NaN) * per));
}

export const SCENARIOS: Readonly<Record<"tput" | "cps" | "ping" | "idle", Scenario>> = {
  async tput(rig, way, pace, results, note) {
    for (const count of STREAMS) {
      const sample = await rig.load(way, "stream", { count, seconds: pace.seconds });
      const name = `${count} stream${count === 1 ? "" : "s"}`;
      note(way, name, sample);
      results.add(way, name, "Gbit/s", (sample.done * 8) / 1e9 / sample.seconds);
      cost(results, way, `${name}, cpu`, "s/GB", sample, 1e9 / sample.done);
    }
  },

  async cps(rig, way, pace, results, note) {
    const sample = await rig.load(way, "connections", { count: IN_FLIGHT, seconds: pace.seconds });
    note(way, "new connections", sample);
    results.add(way, `new connections, ${IN_FLIGHT} in flight`, "/s", sample.done / sample.seconds);
    results.add(way, "new connection p50", "ms", (sample.p50_us ?? NaN) / 1000);
    results.add(way, "new connection p99", "ms", (sample.p99_us ?? NaN) / 1000);
    cost(results, way, "new connection, cpu", "µs", sample, 1e6 / sample.done);
  },

  async ping(rig, way, pace, results, note) {
    for (const [count, size, name] of [[1, 1, "round trip 1 B"], [64, 1024, "round trip 64 x 1 KiB"]] as const) {
      const sample = await rig.load(way, "ping", { count, size, seconds: pace.seconds });
      note(way, name, sample);
      if (count > 1) results.add(way, `${name}, rate`, "/s", sample.done / sample.seconds);
      results.add(way, `${name} p50`, "µs", sample.p50_us ?? NaN);
      results.add(way, `${name} p99`, "µs", sample.p99_us ?? NaN);
      cost(results, way, `${name}, cpu`, "µs", sample, 1e6 / sample.done);
    }
  },

  async idle(rig, way, pace, results, note) {
    if (way === "plain") return;
    const before = rig.memory();
    NODES.forEach((_, i) => results.add(way, `memory before, ${NAMES[i]}`, "MB", before[i] ?? NaN));
    for (const count of pace.idle) {
      const sample = await rig.load(way, "idle", { count });
      note(way, `${count} idle`, sample);
      NODES.forEach((_, i) => results.add(way, `memory with ${count} idle, ${NAMES[i]}`, "MB", sample.rss[i] ?? NaN));
      results.add(way, `memory per idle connection, ${count}, both`, "KB", ((sample.rss[0] + sample.rss[1] - before[0] - before[1]) * 1024) / count);
    }
  },
};
