// Owns field names that are well known or were met before, and the last values of the former: the very strings of earlier messages instead of new ones.
import { COLON, NAME, text } from "./octets.ts";

/** Names that most messages are made of. */
const WELL_KNOWN = ["accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges", "access-control-allow-credentials", "access-control-allow-headers",
  "access-control-allow-methods", "access-control-allow-origin", "access-control-request-headers", "access-control-request-method", "age", "allow", "authorization", "b3", "baggage",
  "cache-control", "connection", "content-disposition", "content-encoding", "content-language", "content-length", "content-range", "content-security-policy", "content-type", "cookie",
  "date", "end-user", "etag", "expect", "expires", "forwarded", "from", "grpc-accept-encoding", "grpc-encoding", "grpc-message", "grpc-status", "grpc-timeout", "host", "if-match",
  "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "last-modified", "link", "location", "origin", "pragma", "proxy-connection", "range", "referer",
  "retry-after", "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version", "server", "set-cookie",
  "strict-transport-security", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "upgrade-insecure-requests", "user-agent", "vary", "via", "www-authenticate",
  "x-b3-sampled", "x-b3-spanid", "x-b3-traceid", "x-content-type-options", "x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "x-envoy-original-path",
  "x-envoy-upstream-service-time", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-frame-options", "x-powered-by", "x-request-id"];
/** Differ in every message, or are secrets: no memory of their last value. */
const NOT_REMEMBERED = new Set(["authorization", "cookie", "set-cookie", "traceparent", "tracestate", "b3", "x-b3-spanid", "x-b3-traceid", "x-request-id", "etag", "sec-websocket-key"]);

/** Names up to so many octets are learned. */
const NAME_MAX = 64;
/** Longer values are made anew. */
const VALUE_MAX = 128;
/** A power of two, several times the number of well-known names. */
const SLOTS = 1024;
/** Of learned names: each holds the last one that fell on it. A power of two. */
const CELLS = 512;

/** Names by number: first the well-known ones, then the cells. Their octets, in lower case, are at `number * NAME_MAX`. */
const FIRST_CELL = WELL_KNOWN.length;
const names: string[] = WELL_KNOWN.concat(new Array<string>(CELLS).fill(""));
const nameOctets = new Uint8Array(names.length * NAME_MAX);
const nameLengths = new Uint8Array(names.length);
/** What came behind a name the last time; behind START, at the beginning. */
const followers = new Int16Array(names.length + 1).fill(-1);
export const START = names.length;

/** Of well-known names; a length of 0: none, or not to be remembered. */
const values: string[] = new Array<string>(FIRST_CELL).fill("");
const valueOctets = new Uint8Array(FIRST_CELL * VALUE_MAX);
const valueLengths = new Uint8Array(names.length);
const REMEMBERED: ReadonlySet<string> = new Set(WELL_KNOWN.filter((name) => !NOT_REMEMBERED.has(name)));

/** Whether values of that name may be kept beyond their message: it is well known, and they are neither secrets nor different in every message. */
export const isRemembered = (name: string): boolean => REMEMBERED.has(name);

/** Open addressing: numbers of well-known names. */
const slots = new Int16Array(SLOTS).fill(-1);

/** The hash of a name in lower case, step by step. */
export const hashStep = (hash: number, octet: number): number => (Math.imul(hash, 31) + octet) | 0;

WELL_KNOWN.forEach((name, number) => {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = hashStep(hash, name.charCodeAt(i));
  let slot = hash & (SLOTS - 1);
  while (slots[slot] !== -1) slot = (slot + 1) & (SLOTS - 1);
  slots[slot] = number;
  setOctets(number, name);
});

function setOctets(number: number, name: string): void {
  for (let i = 0; i < name.length; i++) nameOctets[number * NAME_MAX + i] = name.charCodeAt(i);
  nameLengths[number] = name.length;
}

export const nameAt = (number: number): string => names[number] ?? "";
export const nameLength = (number: number): number => nameLengths[number] ?? 0;

/** Is it the name of that number, in any case, that begins at `bytes[at]`? */
function isName(number: number, bytes: Uint8Array, at: number): boolean {
  const from = number * NAME_MAX;
  const length = nameLengths[number] ?? 0;
  for (let i = 0; i < length; i++) if (NAME[bytes[at + i] ?? 0] !== nameOctets[from + i]) return false;
  return true;
}

/** Messages repeat themselves: the number of the name at `bytes[at]`, with a colon behind it, if it is the one that came behind `before` the last time; -1: another. */
export function expectedName(before: number, bytes: Uint8Array, at: number): number {
  const number = followers[before] ?? -1;
  return number >= 0 && bytes[at + (nameLengths[number] ?? 0)] === COLON && nameLengths[number] !== 0 && isName(number, bytes, at) ? number : -1;
}

/** `number` came behind `before`. */
export function noteOrder(before: number, number: number): void {
  followers[before] = number;
}

/** The number of the name `bytes[from, to)`, a token in any case, whose hash is given; a name that is not well known is learned. -1: too long for that. */
export function findName(hash: number, bytes: Uint8Array, from: number, to: number): number {
  const length = to - from;
  for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
    const number = slots[slot] ?? -1;
    if (number === -1) break;
    if (nameLengths[number] === length && isName(number, bytes, from)) return number;
  }
  if (length > NAME_MAX) return -1;
  const number = FIRST_CELL + (hash & (CELLS - 1));
  if (nameLengths[number] === length && isName(number, bytes, from)) return number;
  // As a key it becomes the one string of its text that the engine compares by address.
  const [name = ""] = Object.keys({ [lowerText(bytes, from, to)]: 0 });
  names[number] = name;
  setOctets(number, name);
  return number;
}

/** Any token, lower case. */
export function lowerText(bytes: Uint8Array, from: number, to: number): string {
  let all = "";
  for (let i = from; i < to; i++) all += String.fromCharCode(NAME[bytes[i] ?? 0] ?? 0);
  return all;
}

/** How many octets at `bytes[at]` are the last value of that name, which is `lastValue` then; 0: it has none, or they are others. The value may go on behind them. */
export function sameValue(number: number, bytes: Uint8Array, at: number): number {
  const length = valueLengths[number] ?? 0;
  const from = number * VALUE_MAX;
  for (let i = 0; i < length; i++) if (bytes[at + i] !== valueOctets[from + i]) return 0;
  return length;
}

export const lastValue = (number: number): string => values[number] ?? "";

/** The value `bytes[from, to)`, remembered where it may be. `number` -1: of a name without one. */
export function valueText(number: number, bytes: Uint8Array, from: number, to: number): string {
  const length = to - from;
  if (length === 0) return "";
  const value = text(bytes, from, to);
  if (length > VALUE_MAX || number < 0 || !isRemembered(nameAt(number))) return value;
  for (let i = 0; i < length; i++) valueOctets[number * VALUE_MAX + i] = bytes[from + i] ?? 0;
  valueLengths[number] = length;
  return (values[number] = value);
}
