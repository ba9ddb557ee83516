// Owns what every sink of log lines has in common: its shape, how much may wait in it, and the words for what was lost.

/** Where lines end up. Neither function throws, and `write` never waits for a reader. */
export interface LineSink {
  write(lines: string): void;
  /** The process exits: writes what waits, within a bound. */
  finish(): void;
}

/** Octets that wait for a slow reader: seconds of access lines at any rate we can make them, and little beside a heap. */
export const WAITING_MAX = 4 << 20;

/** In the log's own shape. */
export const lossLine = (lines: number, error: string): string => `${JSON.stringify({ level: "warn", scope: "log", msg: "log lines were lost", lines, error })}\n`;

export const lineCount = (text: string): number => text.split("\n").length - 1;

/** Lines of a turn are written before the next come, so one buffer serves all turns: of its own, each would be memory outside of the heap, to be returned. */
const scratch = Buffer.allocUnsafeSlow(64 << 10);
/** A UTF-16 unit is at most so many octets of UTF-8. */
const OCTETS_OF_UNIT = 3;

/** Valid until the next call. */
export const octetsOf = (lines: string): Uint8Array => (lines.length * OCTETS_OF_UNIT > scratch.length ? Buffer.from(lines) : scratch.subarray(0, scratch.write(lines)));
