// Owns the argument of START_TIME: a time of an access line as its format asks (strftime's letters, and Envoy's fractions of a second), in UTC.
import { err, ok, type Result } from "../result.ts";

interface Civil { readonly ms: number; readonly year: number; readonly month: number; readonly day: number; readonly yearDay: number; readonly weekDay: number; readonly hour: number; readonly minute: number; readonly second: number; readonly millisecond: number }
type Part = (time: Civil) => string;

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const two = (n: number): string => String(n).padStart(2, "0");
const fraction = (digits: number): Part => ({ millisecond }) => `${String(millisecond).padStart(3, "0")}000000`.slice(0, digits);

const LETTERS: Readonly<Record<string, Part>> = {
  Y: (t) => String(t.year).padStart(4, "0"), y: (t) => two(t.year % 100), m: (t) => two(t.month), d: (t) => two(t.day), e: (t) => String(t.day).padStart(2, " "), j: (t) => String(t.yearDay).padStart(3, "0"),
  H: (t) => two(t.hour), I: (t) => two(t.hour % 12 || 12), M: (t) => two(t.minute), S: (t) => two(t.second), p: (t) => (t.hour < 12 ? "AM" : "PM"),
  b: (t) => (MONTHS[t.month - 1] ?? "").slice(0, 3), B: (t) => MONTHS[t.month - 1] ?? "", a: (t) => (DAYS[t.weekDay] ?? "").slice(0, 3), A: (t) => DAYS[t.weekDay] ?? "", u: (t) => String(t.weekDay || 7), w: (t) => String(t.weekDay),
  F: (t) => `${String(t.year).padStart(4, "0")}-${two(t.month)}-${two(t.day)}`, T: (t) => `${two(t.hour)}:${two(t.minute)}:${two(t.second)}`, R: (t) => `${two(t.hour)}:${two(t.minute)}`, D: (t) => `${two(t.month)}/${two(t.day)}/${two(t.year % 100)}`,
  z: () => "+0000", Z: () => "UTC", s: (t) => String(Math.floor(t.ms / 1000)), f: fraction(9), n: () => " ", t: () => "\t", "%": () => "%",
};

/** Writes epoch milliseconds. The error names the letter. */
export function compileTime(format: string): Result<(ms: number) => string, string> {
  const parts: (string | Part)[] = [];
  for (const [whole, digits, letter] of format.matchAll(/%([1-9]?)(.?)|[^%]+/gs)) {
    if (letter === undefined) { parts.push(whole); continue; }
    const part = digits !== undefined && digits !== "" ? (letter === "f" ? fraction(Number(digits)) : undefined) : Object.hasOwn(LETTERS, letter) ? LETTERS[letter] : undefined;
    if (part === undefined) return err(`${JSON.stringify(whole)} of a time is not known`);
    parts.push(part);
  }
  return ok((ms) => {
    const time = civilOf(ms);
    return parts.map((p) => (typeof p === "string" ? p : p(time))).join("");
  });
}

const DAY_MS = 86_400_000;
/** Days of 400 years of the Gregorian calendar, after which it repeats. */
const ERA_DAYS = 146_097;

/** Years that begin in March have their leap day last: months have a pattern then. */
function civilOf(ms: number): Civil {
  const days = Math.floor(ms / DAY_MS);
  const inDay = ms - days * DAY_MS;
  // From 1 March of year 0.
  const shifted = days + 719_468;
  const era = Math.floor(shifted / ERA_DAYS);
  const dayOfEra = shifted - era * ERA_DAYS;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  // 1 January is day 306 of the year that began in March before it.
  const yearDay = month <= 2 ? dayOfYear - 306 + 1 : dayOfYear + 60 + (leap ? 1 : 0);
  return {
    ms, year, month, day: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1, yearDay, weekDay: (((days + 4) % 7) + 7) % 7,
    hour: Math.floor(inDay / 3_600_000), minute: Math.floor(inDay / 60_000) % 60, second: Math.floor(inDay / 1_000) % 60, millisecond: Math.floor(inDay) % 1_000,
  };
}
