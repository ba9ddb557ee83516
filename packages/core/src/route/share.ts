// Owns the draws of a request: whether a share takes it, and which of several weighted backends does.
import { pickWeighted } from "../balance/pick.ts";
import type { Fraction, WeightedBackend } from "./route.ts";

/** `random` is uniform in [0, 1) and is drawn only where the outcome is open. 0 of n never, n of n always. */
export function drawShare(share: Fraction, random: () => number): boolean {
  if (share.numerator <= 0 || share.denominator <= 0) return false;
  return share.numerator >= share.denominator || random() * share.denominator < share.numerator;
}

/** By weight; one of weight 0 never, and one that cannot be resolved keeps its share. undefined: nothing weighs anything. */
export function chooseBackend(backends: readonly WeightedBackend[], random: () => number): WeightedBackend | undefined {
  const [only] = backends;
  if (backends.length === 1 && only !== undefined) return only.weight > 0 ? only : undefined;
  return pickWeighted(backends, (b) => b.weight, random);
}
