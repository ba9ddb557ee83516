// Owns ending the connections of a draining proxy: planned at each tick, gently, with the deadline as the last word.
import type { Clock } from "@ambit/runtime";
import { planDrainCuts } from "../plan/drain.ts";
import type { Connections, Live } from "./connections.ts";

/** Parts of the window, within bounds: even a short window is spread, a long one costs a look a second. */
const TICKS = 100;
const TICK_MIN_MS = 20;
const TICK_MAX_MS = 1_000;

/** Resolves when no connection is left. `windowMs`: at the end of it, everything ends at once. */
export async function drainConnections(connections: Connections, windowMs: number, clock: Clock): Promise<void> {
  const began = clock.monotonic();
  const seen = new Map<Live, { bytes: number; since: number }>();
  let gone = 0;
  const tick = (): void => {
    const now = clock.monotonic();
    if (now - began >= windowMs) return connections.endAll();
    const open = connections.open();
    const there = new Set(open.map((c) => c.live));
    for (const live of seen.keys()) if (!there.has(live)) { seen.delete(live); gone++; }
    const idleMs = open.map(({ live }) => {
      const bytes = live.moved();
      const known = seen.get(live);
      if (known?.bytes !== bytes) seen.set(live, { bytes, since: now });
      return known?.bytes === bytes ? now - known.since : 0;
    });
    for (const at of planDrainCuts({ elapsedMs: now - began, windowMs, gone, idleMs })) open[at]?.endGently();
  };
  tick();
  const timer = clock.every(Math.min(TICK_MAX_MS, Math.max(TICK_MIN_MS, windowMs / TICKS)), tick);
  await connections.whenIdle();
  timer.cancel();
}
