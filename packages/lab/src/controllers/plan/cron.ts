// Owns cron schedules: the five fields, their macros, and the instants they name in a time zone.

/** Minutes looked at for the next instant: a schedule like "29 February" recurs within this. */
const HORIZON_DAYS = 366 * 8;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

export interface Schedule {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Cron's odd rule: when both day fields are restricted, either may match. */
  readonly eitherDay: boolean;
}

const MACROS: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
};
const MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const WEEKDAYS = "sun mon tue wed thu fri sat".split(" ");

/** The schedule, or what is wrong with it. */
export function parseSchedule(text: string): Schedule | { readonly problem: string } {
  const fields = (MACROS[text.trim().toLowerCase()] ?? text).trim().split(/\s+/);
  if (fields.length !== 5) return { problem: `"${text}" has ${fields.length} fields instead of 5` };
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = fields;
  try {
    const weekdays = new Set([...readField(weekday, 0, 7, WEEKDAYS)].map((d) => d % 7));
    const starred = (field: string): boolean => field.startsWith("*") || field.startsWith("?");
    return {
      minutes: readField(minute, 0, 59), hours: readField(hour, 0, 23), days: readField(day, 1, 31), months: readField(month, 1, 12, MONTHS, 1), weekdays,
      eitherDay: !starred(day) && !starred(weekday),
    };
  } catch (error) {
    return { problem: `"${text}": ${error instanceof Error ? error.message : String(error)}` };
  }
}

function readField(field: string, min: number, max: number, names: readonly string[] = [], offset = 0): Set<number> {
  const out = new Set<number>();
  for (const part of field.split(",")) {
    const match = /^(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:\/(\d+))?$/i.exec(part);
    if (match === null) throw new Error(`"${part}" is not a value, a range or a step`);
    const value = (word: string): number => {
      const named = names.indexOf(word.toLowerCase());
      const n = named === -1 ? Number(word) : named + offset;
      if (!Number.isInteger(n) || n < min || n > max) throw new Error(`"${word}" is not from ${min} to ${max}`);
      return n;
    };
    const any = match[1] === "*" || match[1] === "?";
    if (any && match[2] !== undefined) throw new Error(`"${part}" is not a value, a range or a step`);
    const first = any ? min : value(match[1] ?? "");
    const last = match[2] !== undefined ? value(match[2]) : any || match[3] !== undefined ? max : first;
    const step = match[3] === undefined ? 1 : Number(match[3]);
    if (step < 1 || last < first) throw new Error(`"${part}" is an empty range`);
    for (let n = first; n <= last; n += step) out.add(n);
  }
  return out;
}

/** The first matching minute after `after` (milliseconds), or undefined when the schedule never comes (31 February). */
export function nextAfter(schedule: Schedule, after: number, timeZone = "UTC"): number | undefined {
  const wall = wallClock(timeZone);
  const end = after + HORIZON_DAYS * DAY_MS;
  let at = (Math.floor(after / MINUTE_MS) + 1) * MINUTE_MS;
  while (at < end) {
    const { month, day, weekday, hour, minute } = wall(at);
    if (!schedule.months.has(month) || !isDay(schedule, day, weekday)) {
      // To the next local midnight: no zone is further than an hour from it after this many.
      at += Math.max(MINUTE_MS, ((23 - hour) * 60 + (60 - minute)) * MINUTE_MS - (hour < 22 ? 2 * 60 * MINUTE_MS : 0));
    } else if (!schedule.hours.has(hour)) at += (60 - minute) * MINUTE_MS;
    else if (!schedule.minutes.has(minute)) at += MINUTE_MS;
    else return at;
  }
  return undefined;
}

function isDay({ days, weekdays, eitherDay }: Schedule, day: number, weekday: number): boolean {
  return eitherDay ? days.has(day) || weekdays.has(weekday) : days.has(day) && weekdays.has(weekday);
}

interface Wall { month: number; day: number; weekday: number; hour: number; minute: number }

/** Throws RangeError for a zone that does not exist. */
function wallClock(timeZone: string): (at: number) => Wall {
  if (timeZone === "UTC" || timeZone === "Etc/UTC") {
    return (at) => {
      const d = new Date(at);
      return { month: d.getUTCMonth() + 1, day: d.getUTCDate(), weekday: d.getUTCDay(), hour: d.getUTCHours(), minute: d.getUTCMinutes() };
    };
  }
  const format = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", month: "numeric", day: "numeric", weekday: "short", hour: "numeric", minute: "numeric" });
  return (at) => {
    const part = new Map(format.formatToParts(at).map((p) => [p.type, p.value]));
    const number = (type: Intl.DateTimeFormatPartTypes): number => Number(part.get(type));
    return { month: number("month"), day: number("day"), weekday: WEEKDAYS.indexOf((part.get("weekday") ?? "").toLowerCase()), hour: number("hour"), minute: number("minute") };
  };
}
