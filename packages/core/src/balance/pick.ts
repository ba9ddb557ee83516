// Owns the final choice: random, weighted by capacity.

/** Weighted random; an item of weight 0 is never chosen, so all zero (or no items) gives undefined. `random` is uniform in [0, 1). */
export function pickWeighted<T>(items: readonly T[], weightOf: (item: T) => number, random: () => number): T | undefined {
  let total = 0;
  for (const item of items) total += weightOf(item);
  if (total <= 0) return undefined;
  let at = random() * total;
  let last: T | undefined;
  for (const item of items) {
    const weight = weightOf(item);
    if (weight <= 0) continue;
    last = item;
    at -= weight;
    if (at < 0) return item;
  }
  // Rounding may leave a remainder of nothing: the last item that has weight.
  return last;
}
