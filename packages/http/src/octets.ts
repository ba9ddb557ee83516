// Owns what octets may be where in a head, and making text of them without a new string for what is well known.

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;

/** RFC 9110 §5.6.2 token characters, each with its lower-case form; 0: not one. */
export const NAME: Uint8Array = new Uint8Array(256);
/** Field content: SP, HTAB, VCHAR, obs-text. No control characters at all. */
export const VALUE: Uint8Array = new Uint8Array(256);
/** VCHAR without `#`: what a request target may be made of. */
export const TARGET: Uint8Array = new Uint8Array(256);

for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") NAME[c.charCodeAt(0)] = c.charCodeAt(0);
for (let c = 65; c <= 90; c++) NAME[c] = c + 32;
VALUE[HTAB] = 1;
for (let c = 0x20; c < 0x100; c++) VALUE[c] = c === 0x7f ? 0 : 1;
for (let c = 0x21; c < 0x7f; c++) TARGET[c] = c === 0x23 ? 0 : 1;

/** `String.fromCharCode` takes its octets as arguments: so many at a time. */
const APPLY_MAX = 4096;

/** What shells read into can make text by itself (node's Buffer): one call and no view, where the way below costs both. */
interface Latin1Source { latin1Slice(from: number, to: number): string }
const isLatin1Source = (bytes: Uint8Array): bytes is Uint8Array & Latin1Source => "latin1Slice" in bytes;

/** Latin-1. */
export function text(bytes: Uint8Array, from: number, to: number): string {
  if (isLatin1Source(bytes)) return bytes.latin1Slice(from, to);
  if (to - from <= APPLY_MAX) return String.fromCharCode.apply(null, bytes.subarray(from, to) as unknown as number[]);
  let all = "";
  for (let i = from; i < to; i += APPLY_MAX) all += String.fromCharCode.apply(null, bytes.subarray(i, Math.min(to, i + APPLY_MAX)) as unknown as number[]);
  return all;
}

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
/** Text that is a field value: no control characters but HTAB, no blank at either end, latin-1. */
export function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (VALUE[value.charCodeAt(i)] !== 1) return false;
  const first = value.charCodeAt(0);
  const end = value.charCodeAt(value.length - 1);
  return first !== SP && first !== HTAB && end !== SP && end !== HTAB;
}

/** Longer values are made anew. */
const REMEMBERED_MAX = 128;
/** A power of two, several times the number of names. */
const SLOTS = 1024;

const names: (string | undefined)[] = new Array<string | undefined>(SLOTS).fill(undefined);
const last: (string | undefined)[] = new Array<string | undefined>(SLOTS).fill(undefined);

/** The hash of a name in lower case, step by step. */
export const hashStep = (hash: number, octet: number): number => (Math.imul(hash, 31) + octet) | 0;

for (const name of WELL_KNOWN) {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = hashStep(hash, name.charCodeAt(i));
  let slot = hash & (SLOTS - 1);
  while (names[slot] !== undefined) slot = (slot + 1) & (SLOTS - 1);
  names[slot] = name;
  if (!NOT_REMEMBERED.has(name)) last[slot] = "";
}

/** The slot of the well-known name that is `bytes[from, to)` in any case; -1: not one. */
export function slotOf(hash: number, bytes: Uint8Array, from: number, to: number): number {
  for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
    const known = names[slot];
    if (known === undefined) return -1;
    if (known.length !== to - from) continue;
    let i = 0;
    while (i < known.length && NAME[bytes[from + i] ?? 0] === known.charCodeAt(i)) i++;
    if (i === known.length) return slot;
  }
}

export const nameAt = (slot: number): string => names[slot] ?? "";

/** The value of a field: the very string of the last message that had the same. */
export function valueText(slot: number, bytes: Uint8Array, from: number, to: number): string {
  const length = to - from;
  if (length === 0) return "";
  const before = slot < 0 ? undefined : last[slot];
  if (before === undefined || length > REMEMBERED_MAX) return text(bytes, from, to);
  if (before.length === length) {
    let i = 0;
    while (i < length && bytes[from + i] === before.charCodeAt(i)) i++;
    if (i === length) return before;
  }
  return (last[slot] = text(bytes, from, to));
}

/** Any token, lower case. */
function lowerText(bytes: Uint8Array, from: number, to: number): string {
  let all = "";
  for (let i = from; i < to; i++) all += String.fromCharCode(NAME[bytes[i] ?? 0] ?? 0);
  return all;
}

/** Names that are not well known are learned: a cell holds the last one that fell on it. So many cells, a power of two, and names up to so many octets. */
const LEARNED_CELLS = 512;
const LEARNED_MAX = 64;
const learned: (string | undefined)[] = new Array<string | undefined>(LEARNED_CELLS).fill(undefined);

/** The name `bytes[from, to)`, a token, in lower case: the very string of an earlier message where there was one. `hash` of `hashStep`. */
export function learnedName(hash: number, bytes: Uint8Array, from: number, to: number): string {
  const length = to - from;
  if (length > LEARNED_MAX) return lowerText(bytes, from, to);
  const cell = hash & (LEARNED_CELLS - 1);
  const before = learned[cell];
  if (before !== undefined && before.length === length) {
    let i = 0;
    while (i < length && NAME[bytes[from + i] ?? 0] === before.charCodeAt(i)) i++;
    if (i === length) return before;
  }
  // As a key it becomes the one string of its text that the engine compares by address.
  const [name = ""] = Object.keys({ [lowerText(bytes, from, to)]: 0 });
  return (learned[cell] = name);
}
