// Owns how far V8's heap may grow before it is marked: enough that bulk traffic seldom causes it, no more than the node can spare.
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock, Timer } from "@ambit/runtime";
import { collectAfterBulk } from "@ambit/transport";

/** What may pile up on top of what lives, megabytes. At 4 Gbit/s that is a marking some ten times a second at worst. */
const GROWTH_MB = 64;
/** Percent of what lives. V8's own bounds are 10 and 300; below 30 it would mark most of the time. */
const GROWTH_MIN = 30;
const GROWTH_MAX = 300;
/** While the first state comes in most of what is allocated stays: a small allowance keeps the peak low. */
const GROWTH_AT_START = 70;
/** What lives changes with the mesh: in minutes, not in seconds. */
const ADJUST_EVERY_MS = 10_000;

/** Percent for a heap of which so much lives (bytes). */
export const heapGrowth = (usedBytes: number): number => Math.round(Math.min(GROWTH_MAX, Math.max(GROWTH_MIN, (GROWTH_MB * 1e8) / Math.max(1, usedBytes))));

const allow = (percent: number): void => setFlagsFromString(`--heap-growing-percent=${percent}`);

/**
 * Every large read of a socket is a buffer outside the heap that dies soon. By default V8 answers each 64 MB of them with a marking of the whole heap: half
 * of all CPU under bulk traffic. Instead they count into the heap's own limit, and the small young generation that the manifest asks for (NODE_OPTIONS)
 * frees them long before. Figures: docs/performance.md.
 */
export function prepareHeap(): void {
  setFlagsFromString("--external-memory-accounted-in-global-limit");
  allow(GROWTH_AT_START);
}

type Collect = (options: { readonly type: "minor" | "major"; readonly flavor?: "last-resort" }) => void;

/** V8's own `gc`, which is there for whoever asks; of the thread that asks. */
function collector(): Collect | undefined {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("typeof gc === 'function' ? gc : undefined");
  return typeof gc === "function" ? (options) => void gc(options) : undefined;
}

/** A first state that leaves so much, megabytes, came in messages and objects that are worth a pause: nothing is served yet. */
const COLLECT_FROM_MB = 48;

/**
 * The octets of the first push and what it was decoded through would stay until the heap has grown by GROWTH_AT_START, which in a calm mesh may be never.
 * Takes a tenth of a second with 50,000 workloads.
 */
function collectFirstState(gc: Collect): void {
  if (getHeapStatistics().used_heap_size < COLLECT_FROM_MB << 20) return;
  // The second takes what the first only loosened, and gives the emptied pages back: 35 MB after 50,000 workloads.
  for (let i = 0; i < 2; i++) gc({ type: "major", flavor: "last-resort" });
}

/** Of the thread that calls, once its first state is there: each has a heap of its own. Returns what stops it. */
export function adjustHeap(clock: Clock): Timer {
  const gc = collector();
  if (gc !== undefined) {
    collectFirstState(gc);
    collectAfterBulk(() => gc({ type: "minor" }));
  }
  const adjust = (): void => allow(heapGrowth(getHeapStatistics().used_heap_size));
  adjust();
  return clock.every(ADJUST_EVERY_MS, adjust);
}
