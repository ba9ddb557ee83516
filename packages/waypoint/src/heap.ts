// Owns how V8 keeps what requests make: all of it in the young generation, where what has ended costs nothing.
import { setFlagsFromString } from "node:v8";

/**
 * Before anything is compiled that serves. V8 notices that much of what a request makes outlives a collection (with many under way it must), and from then on makes
 * such objects in the old generation at once, where they stay, with all they point to, until the whole heap is marked. Requests end within milliseconds, so
 * that is never right here. (NODE_OPTIONS does not take this flag; the size of the young generation comes from there.) Figures: docs/performance.md.
 */
export function prepareHeap(): void {
  setFlagsFromString("--no-allocation-site-pretenuring");
}
