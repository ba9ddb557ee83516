// Owns field lines of HTTP/1 that were written lately, as octets: messages repeat themselves, and a line that is known is copied at once.
import { isRemembered } from "./known-names.ts";

/** A power of two. Each cell holds the last line that fell on it. */
const CELLS = 256;
/** Longer lines are written anew. */
const LINE_MAX = 160;
/** Where lines change all the time, learning them costs more than they are worth: one in so many that were not known is learned. A power of two. */
const LEARN_EVERY = 8;

const names: string[] = new Array<string>(CELLS).fill("");
const values: string[] = new Array<string>(CELLS).fill("");
const lines: (Uint8Array | undefined)[] = new Array<undefined>(CELLS).fill(undefined);
let missed = 0;

const cellOf = (name: string, value: string): number => (name.length * 11 + name.charCodeAt(0) + value.length * 5 + value.charCodeAt(value.length - 1)) & (CELLS - 1);

/** `name: value` CR LF. */
export function knownLine(name: string, value: string): Uint8Array | undefined {
  const cell = cellOf(name, value);
  return names[cell] === name && values[cell] === value ? lines[cell] : undefined;
}

/** `bytes[from, to)` is this line as it was written. */
export function rememberLine(name: string, value: string, bytes: Uint8Array, from: number, to: number): void {
  if ((missed++ & (LEARN_EVERY - 1)) !== 0 || to - from > LINE_MAX || !isRemembered(name)) return;
  const cell = cellOf(name, value);
  names[cell] = name;
  values[cell] = value;
  lines[cell] = bytes.slice(from, to);
}
