// Owns the choice of one endpoint among those that may take a request.
import { pickWeighted, type Candidate, type TrafficSettings } from "@ambit/core";

export interface PickHints {
  readonly active: (uid: string) => number;
  /** Epoch milliseconds since when a workload is a member; undefined: since ever. */
  readonly memberSince: (uid: string) => number | undefined;
  readonly now: number;
  /** Counts requests to this destination. */
  readonly turn: number;
}

/** The share of its weight that an endpoint gets while it is new: from the minimum to all of it (Envoy slow start). */
export function warmShare(warmup: TrafficSettings["warmup"], sinceMs: number | undefined, now: number): number {
  if (warmup === undefined || sinceMs === undefined || warmup.durationMs <= 0) return 1;
  const age = Math.max(now - sinceMs, 1);
  if (age >= warmup.durationMs) return 1;
  return Math.max(warmup.minimumPercent / 100, (age / warmup.durationMs) ** (1 / warmup.aggression));
}

/** By weight two are drawn, and the one with fewer requests under way for its weight takes it. Nothing is drawn where there is one. */
export function pickLeastRequest<C extends Candidate>(candidates: readonly C[], weightOf: (c: C) => number, { active }: Pick<PickHints, "active">, random: () => number): C | undefined {
  const [only] = candidates;
  if (candidates.length === 1 && only !== undefined) return weightOf(only) > 0 ? only : undefined;
  const first = pickWeighted(candidates, weightOf, random);
  const second = pickWeighted(candidates, weightOf, random);
  if (first === undefined || second === undefined || first === second) return first;
  return (active(second.workload.uid) + 1) / weightOf(second) < (active(first.workload.uid) + 1) / weightOf(first) ? second : first;
}

const GOLDEN = 0.618_033_988_749_894_9;

/** One after the other; where weights differ, turn by turn along a sequence that spreads evenly over all of them. */
export function pickInTurn<C extends Candidate>(candidates: readonly C[], weightOf: (c: C) => number, turn: number): C | undefined {
  const ordered = candidates.filter((c) => weightOf(c) > 0).toSorted((a, b) => (a.workload.uid < b.workload.uid ? -1 : 1));
  const [first] = ordered;
  if (first === undefined) return undefined;
  const weight = weightOf(first);
  if (ordered.every((c) => weightOf(c) === weight)) return ordered[turn % ordered.length];
  return pickWeighted(ordered, weightOf, () => (turn * GOLDEN) % 1);
}
