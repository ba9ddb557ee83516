// Owns the short human durations of tables ("5d", "3h12m", "45s"), rounded as kubectl users know them.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

/** Age of an RFC 3339 instant, "<unknown>" without one. */
export function ageText(since: string, now: number): string {
  const then = Date.parse(since);
  return Number.isNaN(then) ? "<unknown>" : humanDuration((now - then) / 1000);
}

/** Two units while the larger one is small, then one: 90s, 5m30s, 45m, 3h20m, 30h, 3d4h, 20d, 2y10d, 9y. */
export function humanDuration(seconds: number): string {
  const s = Math.trunc(seconds);
  if (s < -1) return "<invalid>";
  if (s <= 0) return "0s";
  if (s < 2 * MINUTE) return `${s}s`;
  if (s < 10 * MINUTE) return two(s, MINUTE, "m", 1, "s");
  if (s < 3 * HOUR) return `${Math.floor(s / MINUTE)}m`;
  if (s < 8 * HOUR) return two(s, HOUR, "h", MINUTE, "m");
  if (s < 2 * DAY) return `${Math.floor(s / HOUR)}h`;
  if (s < 8 * DAY) return two(s, DAY, "d", HOUR, "h");
  if (s < 2 * YEAR) return `${Math.floor(s / DAY)}d`;
  if (s < 8 * YEAR) return two(s, YEAR, "y", DAY, "d");
  return `${Math.floor(s / YEAR)}y`;
}

function two(s: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((s % large) / small);
  const head = `${Math.floor(s / large)}${largeUnit}`;
  return rest === 0 ? head : `${head}${rest}${smallUnit}`;
}
