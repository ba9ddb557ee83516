// Owns reading the heads of requests and responses (RFC 9112 §3, §4): start line, fields, and what they mean for the body.
import { readFieldLines, type HostLines } from "./field-lines.ts";
import { CHUNKED, headFacts, TUNNEL, UNTIL_CLOSE } from "./framing.ts";
import { H1Error } from "./limits.ts";
import { CR, LF, SP, TARGET, text } from "../octets.ts";

export interface H1RequestHead {
  readonly method: string;
  /** Path and query, or `*`; of a CONNECT its authority. Absolute form was taken apart. */
  readonly target: string;
  /** Of the target when it is absolute, else of Host; empty in HTTP/1.0 without. */
  readonly authority: string;
  /** As sent, Host left out. The receiver's: nothing here keeps the list. */
  readonly fields: string[];
  readonly minor: 0 | 1;
  /** Octets of the body, or CHUNKED. */
  readonly body: number;
  readonly keepAlive: boolean;
  /** Asked for properly: `Connection: upgrade` and `Upgrade`. Lower case. */
  readonly upgrade: string | undefined;
  readonly expectContinue: boolean;
}

export interface H1ResponseHead {
  readonly status: number;
  /** The receiver's, as a request's. */
  readonly fields: string[];
  readonly minor: 0 | 1;
  /** Octets of the body, CHUNKED, UNTIL_CLOSE or TUNNEL. */
  readonly body: number;
  readonly keepAlive: boolean;
}

/** Upper-case tokens. Methods are case-sensitive (RFC 9110 §9.1); nobody means `get`. */
const METHOD_OCTETS_MAX = 32;
const METHODS: readonly string[] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
const METHOD = /^[A-Z0-9!#$%&'*+.^_`|~-]+$/;
/** RFC 3986 host and port, as far as we look: no userinfo, no path. */
const AUTHORITY = /^(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(:\d{0,5})?$/;
const ABSOLUTE = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?]*)(.*)$/;

/** Clients mostly ask for the same: the last one that was an authority need not be looked at again. */
let lastAuthority = "";

export function isAuthority(value: string): boolean {
  if (value === lastAuthority) return true;
  if (!AUTHORITY.test(value)) return false;
  lastAuthority = value;
  return true;
}

/** `bytes[from, to)` is a whole head with its empty line. Throws H1Error. */
export function readRequestHead(bytes: Uint8Array, from: number, to: number, fieldsMax: number): H1RequestHead {
  let at = from;
  while (at < to && bytes[at] !== SP && bytes[at] !== CR) at++;
  if (bytes[at] !== SP || at === from || at - from > METHOD_OCTETS_MAX) throw new H1Error(400, "no request line");
  const method = readMethod(bytes, from, at);
  const targetFrom = ++at;
  while (TARGET[bytes[at] ?? 0] === 1) at++;
  if (bytes[at] !== SP || at === targetFrom) throw new H1Error(400, "the request target has an octet that is not allowed");
  const raw = text(bytes, targetFrom, at);
  const minor = readVersion(bytes, at + 1);
  at += 9; // SP and HTTP/1.1
  if (bytes[at] !== CR || bytes[at + 1] !== LF) throw new H1Error(400, "the request line does not end after its version");
  const fields: string[] = [];
  const host: HostLines = { lines: 0, value: "" };
  readFieldLines(bytes, at + 2, to - 2, fields, fieldsMax, host);
  const facts = headFacts(fields, minor);
  if (host.lines > 1) throw new H1Error(400, "Host comes twice");
  if (host.lines === 0 && minor === 1) throw new H1Error(400, "Host is missing");
  if (!isAuthority(host.value)) throw new H1Error(400, "Host is not a host with a port");
  const { target, authority } = readTarget(method, raw, host.value);
  const upgrade = facts.upgrades && minor === 1 && facts.upgrade !== undefined && facts.upgrade !== "" ? facts.upgrade.toLowerCase() : undefined;
  return { method, target, authority, fields, minor, body: facts.chunked ? CHUNKED : Math.max(0, facts.contentLength), keepAlive: facts.keepAlive, upgrade,
    expectContinue: facts.expectContinue && minor === 1 };
}

/** Of what is none: not a number, nor is anything counted with it. */
function digit(bytes: Uint8Array, at: number): number {
  const value = (bytes[at] ?? 0) - 48;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

/** `expected`: what was asked. Throws H1Error. */
export function readResponseHead(bytes: Uint8Array, from: number, to: number, fieldsMax: number, expected: { readonly method: string; readonly upgrade: boolean }): H1ResponseHead {
  const minor = readVersion(bytes, from);
  let at = from + 8;
  const status = digit(bytes, at + 1) * 100 + digit(bytes, at + 2) * 10 + digit(bytes, at + 3);
  if (bytes[at] !== SP || !(status >= 100 && status <= 599)) throw new H1Error(400, "no status line");
  at += 4;
  if (bytes[at] !== SP && bytes[at] !== CR) throw new H1Error(400, "the status is not three digits");
  for (; bytes[at] !== CR; at++) if ((bytes[at] ?? 0) < SP && bytes[at] !== 9) throw new H1Error(400, "the reason has an octet that is not allowed");
  if (bytes[at + 1] !== LF) throw new H1Error(400, "a bare CR");
  const fields: string[] = [];
  readFieldLines(bytes, at + 2, to - 2, fields, fieldsMax);
  if (status === 101) {
    if (!expected.upgrade || minor === 0) throw new H1Error(400, "101 though no upgrade was asked for");
    if (fields.some((name, i) => i % 2 === 0 && (name === "content-length" || name === "transfer-encoding"))) throw new H1Error(400, "101 with a body");
    return { status, fields, minor, body: TUNNEL, keepAlive: false };
  }
  if (status < 200) return { status, fields, minor, body: 0, keepAlive: true };
  const facts = headFacts(fields, minor);
  const bodiless = expected.method === "HEAD" || status === 204 || status === 304;
  const body = bodiless ? 0 : facts.chunked ? CHUNKED : facts.contentLength >= 0 ? facts.contentLength : UNTIL_CLOSE;
  return { status, fields, minor, body, keepAlive: facts.keepAlive && body !== UNTIL_CLOSE };
}

function readMethod(bytes: Uint8Array, from: number, to: number): string {
  for (const method of METHODS) if (method.length === to - from && isText(bytes, from, method)) return method;
  const method = text(bytes, from, to);
  if (!METHOD.test(method)) throw new H1Error(400, "the method is not a token in upper case");
  return method;
}

function isText(bytes: Uint8Array, from: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text.charCodeAt(i)) return false;
  return true;
}

function readVersion(bytes: Uint8Array, at: number): 0 | 1 {
  const name = bytes[at] === 72 && bytes[at + 1] === 84 && bytes[at + 2] === 84 && bytes[at + 3] === 80 && bytes[at + 4] === 47 && bytes[at + 6] === 46;
  const major = (bytes[at + 5] ?? 0) - 48;
  const minor = (bytes[at + 7] ?? 0) - 48;
  if (!name || major < 0 || major > 9 || minor < 0 || minor > 9) throw new H1Error(400, "no HTTP version");
  if (major !== 1 || minor > 1) throw new H1Error(505, `HTTP/${major}.${minor}`);
  return minor === 1 ? 1 : 0;
}

function readTarget(method: string, raw: string, host: string): { target: string; authority: string } {
  if (method === "CONNECT") {
    if (!isAuthority(raw) || !/:\d{1,5}$/.test(raw)) throw new H1Error(400, "the target of CONNECT is not host:port");
    return { target: raw, authority: raw };
  }
  if (raw.startsWith("/") || (raw === "*" && method === "OPTIONS")) return { target: raw, authority: host };
  const absolute = ABSOLUTE.exec(raw);
  if (absolute === null) throw new H1Error(400, "the request target is neither a path nor absolute");
  const [, scheme = "", authority = "", rest = ""] = absolute;
  if (scheme.toLowerCase() !== "http") throw new H1Error(400, `an absolute target with scheme ${scheme.slice(0, 16)}`);
  if (authority === "" || !isAuthority(authority)) throw new H1Error(400, "an absolute target without a proper authority");
  // RFC 9112 §3.2.2: it replaces Host. An empty path is `/`, of OPTIONS `*`.
  const target = rest === "" ? (method === "OPTIONS" ? "*" : "/") : rest.startsWith("?") ? `/${rest}` : rest;
  return { target, authority };
}
