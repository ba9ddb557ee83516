// Owns the functions that Kubernetes adds to CEL: lists, regular expressions, URLs, addresses, optionals.
import { celEnv, celFunc, celMethod, CelScalar, isCelList, isCelMap, listType, type CelFunc, type CelInput, type CelValue } from "@bufbuild/cel";
import { strings } from "@bufbuild/cel/ext";
import { RE2JS } from "re2js";
import { isCidr, isIpv4, isIpv6 } from "./formats.ts";
import { METER, OPTIONAL_CHAIN, OPTIONAL_SELECT } from "./cel-rewrite.ts";

const { BOOL, DYN, INT, STRING } = CelScalar;
const LIST = listType(DYN);

/** Loop steps that one rule may take on one value. Kubernetes bounds the same by estimated cost. */
const MAX_STEPS = 1_000_000;

/** Steps left to the rule that runs now: evaluation is synchronous, so that one counter is enough. */
let stepsLeft = MAX_STEPS;

export function resetMeter(): void {
  stepsLeft = MAX_STEPS;
}

function items(value: CelValue): CelValue[] {
  if (!isCelList(value)) throw new Error("not a list");
  return [...value];
}

function isNumber(value: CelValue): value is bigint | number {
  return typeof value === "bigint" || typeof value === "number";
}

/** Order of two values of one kind; NaN never comes out of JSON. */
function compare(a: CelValue, b: CelValue): number {
  const comparable = (isNumber(a) && isNumber(b)) || (typeof a === "string" && typeof b === "string") || (typeof a === "boolean" && typeof b === "boolean");
  if (!comparable) throw new Error("values cannot be compared");
  return a < b ? -1 : a > b ? 1 : 0;
}

function same(a: CelValue, b: CelValue): boolean {
  return isNumber(a) && isNumber(b) ? a == b : a === b; // eslint-disable-line eqeqeq -- bigint and number compare by value
}

function extreme(list: CelValue, sign: 1 | -1): CelInput {
  const all = items(list);
  const [first, ...rest] = all;
  if (first === undefined) throw new Error("min and max of an empty list");
  return rest.reduce((best, item) => (compare(item, best) * sign > 0 ? item : best), first);
}

function sum(list: CelValue): CelInput {
  const all = items(list);
  if (all.every((item) => typeof item === "bigint")) return all.reduce((total, item) => total + item, 0n);
  return all.reduce<number>((total, item) => {
    if (!isNumber(item)) throw new Error("sum of what is not a number");
    return total + Number(item);
  }, 0);
}

const LISTS: CelFunc[] = [
  celMethod("sum", LIST, [], DYN, function () {
    return sum(this);
  }),
  celMethod("min", LIST, [], DYN, function () {
    return extreme(this, -1);
  }),
  celMethod("max", LIST, [], DYN, function () {
    return extreme(this, 1);
  }),
  celMethod("isSorted", LIST, [], BOOL, function () {
    const all = items(this);
    return all.every((item, i) => i === 0 || compare(all[i - 1] ?? null, item) <= 0);
  }),
  celMethod("indexOf", LIST, [DYN], INT, function (wanted) {
    return BigInt(items(this).findIndex((item) => same(item, wanted)));
  }),
  celMethod("lastIndexOf", LIST, [DYN], INT, function (wanted) {
    return BigInt(items(this).findLastIndex((item) => same(item, wanted)));
  }),
];

function find(text: string, pattern: string, limit: number): string[] {
  const matcher = RE2JS.compile(pattern).matcher(text);
  const found: string[] = [];
  while (found.length < limit && matcher.find()) found.push(matcher.group() ?? "");
  return found;
}

const REGEX: CelFunc[] = [
  celMethod("find", STRING, [STRING], STRING, function (pattern) {
    return find(String(this), pattern, 1)[0] ?? "";
  }),
  celMethod("findAll", STRING, [STRING], LIST, function (pattern) {
    return find(String(this), pattern, Infinity);
  }),
  celMethod("findAll", STRING, [STRING, INT], LIST, function (pattern, limit) {
    return find(String(this), pattern, limit < 0n ? Infinity : Number(limit));
  }),
];

/** Member that tells a URL from any other map. */
const URL_MARK = "\u0000url";

function parseUrl(text: string): Map<string, CelInput> | null {
  if (text.startsWith("/")) {
    const [path = "", query = ""] = text.split("?", 2);
    return urlValue("", "", "", "", path, query);
  }
  if (!/^[a-zA-Z][a-zA-Z0-9+.-]*:\/\//.test(text) || !URL.canParse(text)) return null;
  const url = new URL(text);
  return urlValue(url.protocol.replace(/:$/, ""), url.host, url.hostname, url.port, url.pathname, url.search.replace(/^\?/, ""));
}

function urlValue(scheme: string, host: string, hostname: string, port: string, path: string, query: string): Map<string, CelInput> {
  const parameters = new Map<string, string[]>();
  for (const [name, value] of new URLSearchParams(query)) parameters.set(name, [...(parameters.get(name) ?? []), value]);
  return new Map<string, CelInput>([
    [URL_MARK, true],
    ["getScheme", scheme],
    ["getHost", host],
    ["getHostname", hostname],
    ["getPort", port],
    ["getEscapedPath", path],
    ["getQuery", parameters],
  ]);
}

const URLS: CelFunc[] = [
  celFunc("isURL", [STRING], BOOL, (text) => parseUrl(text) !== null),
  celFunc("url", [STRING], DYN, (text) => {
    const url = parseUrl(text);
    if (url === null) throw new Error(`URL parse error: ${JSON.stringify(text)}`);
    return url;
  }),
  ...["getScheme", "getHost", "getHostname", "getPort", "getEscapedPath", "getQuery"].map((name) =>
    celMethod(name, DYN, [], DYN, function () {
      const part = isCelMap(this) && this.has(URL_MARK) ? this.get(name) : undefined;
      if (part === undefined) throw new Error(`${name}: not a URL`);
      return part;
    }),
  ),
];

const ADDRESSES: CelFunc[] = [
  celFunc("isIP", [STRING], BOOL, (text) => isIpv4(text) || isIpv6(text)),
  celFunc("isCIDR", [STRING], BOOL, (text) => isCidr(text)),
];

function member(value: CelValue, name: string): CelInput[] {
  const found = isCelMap(value) ? value.get(name) : undefined;
  return found === undefined ? [] : [found];
}

function held(optional: CelValue): CelValue | undefined {
  return items(optional)[0];
}

const OPTIONALS: CelFunc[] = [
  celFunc(OPTIONAL_SELECT, [DYN, STRING], DYN, (value, name) => member(value, name)),
  celFunc(OPTIONAL_CHAIN, [DYN, STRING], DYN, (optional, name) => {
    const value = held(optional);
    return value === undefined ? [] : member(value, name);
  }),
  celFunc("optional.of", [DYN], DYN, (value) => [value]),
  celFunc("optional.none", [], DYN, () => []),
  celMethod("hasValue", LIST, [], BOOL, function () {
    return held(this) !== undefined;
  }),
  celMethod("value", LIST, [], DYN, function () {
    const value = held(this);
    if (value === undefined) throw new Error("optional.none() dereference");
    return value;
  }),
  celMethod("orValue", LIST, [DYN], DYN, function (otherwise) {
    return held(this) ?? otherwise;
  }),
  celMethod("or", LIST, [DYN], DYN, function (otherwise) {
    return held(this) === undefined ? otherwise : this;
  }),
];

const METERS: CelFunc[] = [
  celFunc(METER, [DYN], DYN, (condition) => {
    stepsLeft--;
    if (stepsLeft < 0) throw new Error(`the rule takes more than ${MAX_STEPS} steps`);
    return condition;
  }),
];

export const ENVIRONMENT = celEnv({
  funcs: [...strings, ...LISTS, ...REGEX, ...URLS, ...ADDRESSES, ...OPTIONALS, ...METERS],
});

/** Functions whose name has a dot: the parser reads them as methods of a variable. */
export const DOTTED_NAMES: ReadonlySet<string> = new Set(
  [...ENVIRONMENT.funcs].map((func) => func.name).filter((name) => name.includes(".")),
);
