// Owns reading of the scalars that routes and traffic policies share: whole numbers, durations, shares, header names.
import { compileRegex, type Fraction } from "@ambit/core";
import type { Reader } from "../decode.ts";

/** A week in milliseconds: no timeout of a request is longer, and 32-bit timers stay far away. */
const DURATION_MAX_MS = 7 * 24 * 3_600_000;
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

export function integer(reader: Reader, value: unknown, path: string, min: number, max: number): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  return reader.refuse(path, `must be a whole number from ${min} to ${max}, not ${String(value).slice(0, 40)}`);
}

export function flag(reader: Reader, value: unknown, path: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "boolean" ? value : reader.refuse(path, "must be true or false");
}

/** GEP-2257: up to four of `h`, `m`, `s`, `ms`, whole numbers of at most five digits. Milliseconds. */
export function gatewayDuration(reader: Reader, value: unknown, path: string): number | undefined {
  const text = reader.text(value, path);
  if (text === undefined) return undefined;
  if (!/^([0-9]{1,5}(h|m|s|ms)){1,4}$/.test(text)) return reader.refuse(path, `"${text.slice(0, 40)}" is not a duration such as 1h30m or 500ms`);
  return bounded(reader, sum(text), path);
}

/** Go's and protobuf's way: the same with fractions (`1.5s`, `0.25s`). Milliseconds, rounded to the nearest. */
export function istioDuration(reader: Reader, value: unknown, path: string): number | undefined {
  const text = reader.text(value, path);
  if (text === undefined) return undefined;
  if (!/^([0-9]{1,9}(\.[0-9]{1,9})?(h|ms|m|s)){1,4}$/.test(text)) return reader.refuse(path, `"${text.slice(0, 40)}" is not a duration such as 5s or 1.5s`);
  return bounded(reader, Math.round(sum(text)), path);
}

const sum = (text: string): number =>
  [...text.matchAll(/([0-9.]+)(h|ms|m|s)/g)].reduce((total, [, n, unit]) => total + Number(n) * (UNIT_MS[unit ?? ""] ?? 0), 0);
const bounded = (reader: Reader, ms: number, path: string): number | undefined => (ms > DURATION_MAX_MS ? reader.refuse(path, "is longer than a week") : ms);

export const ALWAYS: Fraction = { numerator: 1, denominator: 1 };
/** 0 to 100, decimals allowed, as a fraction of a million. */
export function percentage(reader: Reader, value: unknown, path: string): Fraction | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !(value >= 0 && value <= 100)) return reader.refuse(path, `must be from 0 to 100, not ${String(value).slice(0, 40)}`);
  return value === 100 ? ALWAYS : { numerator: Math.round(value * 10_000), denominator: 1_000_000 };
}

const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}$/;
/** Lower case. Pseudo-names only where `pseudo` lists them. */
export function headerName(reader: Reader, value: unknown, path: string, pseudo: readonly string[] = []): string | undefined {
  const name = reader.text(value, path)?.toLowerCase();
  if (name === undefined || pseudo.includes(name)) return name;
  return TOKEN.test(name) ? name : reader.refuse(path, `"${name.slice(0, 40)}" is not the name of a header`);
}

/** The pattern, when it is one (RE2 syntax). */
export function regex(reader: Reader, text: string, path: string): string | undefined {
  const compiled = compileRegex(text);
  return compiled.ok ? text : reader.refuse(path, compiled.error);
}
