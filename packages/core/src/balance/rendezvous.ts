// Owns the choice that one client makes again and again: rendezvous hashing, weighted by capacity.

/**
 * The item with the highest score for this client: every process chooses the same, and when an item comes or goes only its own share of
 * clients moves. An item of weight 0 is never chosen. Source: Thaler and Ravishankar 1998, with logarithmic weights.
 */
export function pickForClient<T>(items: readonly T[], weightOf: (item: T) => number, nameOf: (item: T) => string, client: string): T | undefined {
  let best: { readonly item: T; readonly score: number } | undefined;
  for (const item of items) {
    const weight = weightOf(item);
    if (weight <= 0) continue;
    const score = -weight / Math.log(unit(`${client}|${nameOf(item)}`));
    if (best === undefined || score > best.score) best = { item, score };
  }
  return best?.item;
}

/** Uniform in (0, 1): FNV-1a, then the finalizer of MurmurHash3, since the last octets of similar names must matter as much as the first. */
function unit(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (((h ^ (h >>> 16)) >>> 0) + 0.5) / 2 ** 32;
}
