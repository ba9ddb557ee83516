// Owns what a test may say about memory: octets that something still holds, not garbage that nobody has collected yet.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Of the heap and of buffers, after everything was collected: twice, for what a first collection only lets go. */
export function heldOctets(): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
