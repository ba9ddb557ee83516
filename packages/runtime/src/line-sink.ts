// Owns what every sink of log lines has in common: its shape, how much may wait in it, and the words for what was lost.

/** Where lines end up. Neither function throws, and `write` never waits for a reader. The octets of `lines` are the caller's again when it returns. */
export interface LineSink {
  write(lines: Uint8Array): void;
  /** The process exits: writes what waits, within a bound. */
  finish(): void;
}

/** Octets that wait for a slow reader: seconds of access lines at any rate we can make them, and little beside a heap. */
export const WAITING_MAX = 4 << 20;

/** In the log's own shape. */
export const lossLine = (lines: number, error: string): string => `${JSON.stringify({ level: "warn", scope: "log", msg: "log lines were lost", lines, error })}\n`;

export function lineCount(lines: Uint8Array): number {
  let count = 0;
  for (const octet of lines) if (octet === NEWLINE) count++;
  return count;
}
const NEWLINE = 10;
