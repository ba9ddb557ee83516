// Owns the text forms of protobuf times and durations.
import { WireError } from "./wire.ts";

/** Seconds of the years 0001 to 9999, the range of RFC 3339. */
const MIN_SECONDS = -62_135_596_800n;
const MAX_SECONDS = 253_402_300_799n;

/** RFC 3339 in seconds or microseconds; null for Go's zero time. */
export function timeText(seconds: bigint, nanos: bigint, micro: boolean): string | null {
  if (seconds < MIN_SECONDS || seconds > MAX_SECONDS || nanos < 0n || nanos > 999_999_999n) throw new WireError(`time ${seconds}.${nanos} is out of range`);
  if (seconds === MIN_SECONDS && nanos === 0n) return null;
  const text = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return micro ? `${text}.${String(nanos / 1000n).padStart(6, "0")}Z` : `${text}Z`;
}

const UNITS: readonly (readonly [string, bigint])[] = [
  ["h", 3_600_000_000_000n],
  ["m", 60_000_000_000n],
];

/** Nanoseconds as Go prints a duration: 1h0m0s, 1.5s, 300ms. */
export function goDuration(nanos: bigint): string {
  if (nanos === 0n) return "0s";
  const sign = nanos < 0n ? "-" : "";
  let rest = nanos < 0n ? -nanos : nanos;
  if (rest < 1_000n) return `${sign}${rest}ns`;
  if (rest < 1_000_000n) return `${sign}${Number(rest) / 1e3}µs`;
  if (rest < 1_000_000_000n) return `${sign}${Number(rest) / 1e6}ms`;
  let text = "";
  for (const [unit, size] of UNITS) {
    if (text !== "" || rest >= size) text += `${rest / size}${unit}`;
    rest %= size;
  }
  return `${sign}${text}${Number(rest) / 1e9}s`;
}
