// Owns the count of octets read in bulk, and when the young generation is worth collecting for them.

/** A collection of the young generation takes some tenths of a millisecond; the buffers of so many octets fit the caches no more anyway. */
const COLLECT_EVERY_OCTETS = 32 << 20;

let collect: (() => void) | undefined;
let since = 0;

/**
 * Buffers of bulk reads lie outside the heap and die within a turn or two. Left to V8 they are found dead by markings of the whole heap, because the few small objects
 * that stand for them do not fill the young generation. `task` collects it.
 */
export function collectAfterBulk(task: () => void): void {
  collect = task;
}

/** Octets in buffers of their own. */
export function readBulk(octets: number): void {
  since += octets;
  if (since < COLLECT_EVERY_OCTETS) return;
  since = 0;
  collect?.();
}
