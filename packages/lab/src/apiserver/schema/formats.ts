// Owns the string and number formats of OpenAPI that Kubernetes checks; formats it does not know it lets pass.
import { RE2JS } from "re2js";

/** Longest text a format looks at. Everything below is linear, this only bounds the work. */
const MAX_TEXT = 1 << 20;

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const DATE_TIME = /^(\d{4}-\d{2}-\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$/;
const DURATION = /^[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$/;
const WORDY_DURATION = /^\d+(\.\d+)? ?(ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|wk|week)s?$/;
const LABEL = /^[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$/;
const UUID = /^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$/;
/** Kubernetes' own: a number with a binary, decimal or exponent suffix. */
const QUANTITY = /^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/;
const BASE64 = /^(?:[A-Za-z0-9+/\r\n]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function isDate(text: string): boolean {
  const found = DATE.exec(text);
  if (found === null) return false;
  const [year, month, day] = [Number(found[1]), Number(found[2]), Number(found[3])];
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
  return days !== undefined && day >= 1 && day <= days;
}

function isDateTime(text: string): boolean {
  const found = DATE_TIME.exec(text);
  return found?.[1] !== undefined && isDate(found[1]);
}

function isDuration(text: string): boolean {
  return text === "0" || DURATION.test(text) || WORDY_DURATION.test(text);
}

function isHostname(text: string): boolean {
  return text.length > 0 && text.length <= 253 && text.split(".").every((label) => LABEL.test(label));
}

export function isIpv4(text: string): boolean {
  return /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.|$)){4}$/.test(text) && !text.endsWith(".");
}

export function isIpv6(text: string): boolean {
  if (text.length > 45 || text.includes(":::")) return false;
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const groups: string[] = [];
  for (const half of halves) if (half !== "") groups.push(...half.split(":"));
  let count = 0;
  for (const [i, group] of groups.entries()) {
    if (group.includes(".")) {
      if (i !== groups.length - 1 || !isIpv4(group)) return false;
      count += 2;
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return false;
      count++;
    }
  }
  return halves.length === 2 ? count <= 7 : count === 8;
}

export function isCidr(text: string): boolean {
  const found = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  if (found?.[1] === undefined) return false;
  const bits = Number(found[2]);
  return isIpv4(found[1]) ? bits <= 32 : isIpv6(found[1]) && bits <= 128;
}

function isRegex(text: string): boolean {
  try {
    RE2JS.compile(text);
    return true;
  } catch {
    return false;
  }
}

const STRING_FORMATS: ReadonlyMap<string, (text: string) => boolean> = new Map([
  ["date", isDate],
  ["date-time", isDateTime],
  ["datetime", isDateTime],
  ["duration", isDuration],
  ["hostname", isHostname],
  ["ipv4", isIpv4],
  ["ipv6", isIpv6],
  ["cidr", isCidr],
  ["mac", (text) => /^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/.test(text)],
  ["uuid", (text) => UUID.test(text)],
  ["uuid3", (text) => UUID.test(text)],
  ["uuid4", (text) => UUID.test(text)],
  ["uuid5", (text) => UUID.test(text)],
  ["byte", (text) => BASE64.test(text)],
  ["email", (text) => /^[^\s@<>]+@[^\s@<>]+$/.test(text)],
  ["uri", (text) => URL.canParse(text) || /^\/[^\s]*$/.test(text)],
  ["regex", isRegex],
  ["quantity", (text) => QUANTITY.test(text)],
]);

/** The name of the format that `text` fails, or null. */
export function stringFormatHolds(format: string, text: string): boolean {
  const check = STRING_FORMATS.get(format);
  return check === undefined || (text.length <= MAX_TEXT && check(text));
}

export function numberFormatHolds(format: string, value: number): boolean {
  switch (format) {
    case "int32":
      return Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
    case "int64":
      return Number.isInteger(value) && value >= -(2 ** 63) && value <= 2 ** 63;
    case "uint32":
      return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
    case "float":
      return Math.abs(value) <= 3.4028234663852886e38;
    default:
      return true;
  }
}
