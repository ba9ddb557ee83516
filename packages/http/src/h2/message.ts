// Owns the rules for field blocks (RFC 9113 §8): pseudo-fields, allowed octets, connection-specific fields, content length.
import type { Fields } from "../hpack/decoder.ts";
import { NameLists, NOT_MET } from "../name-lists.ts";
import { isFieldName, isFieldValue, NAME, TARGET } from "../octets.ts";

/** §8.2.2: they speak about a connection of HTTP/1. */
const CONNECTION_SPECIFIC = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);
/** Bit n: a name of n octets may be one that is looked at; most are passed over by that. */
const LENGTHS = [...CONNECTION_SPECIFIC, "te", "content-length"].reduce((bits, name) => bits | (1 << name.length), 0);
/** Digits a content length may have: beyond 2^53 nothing can be counted. */
const CONTENT_LENGTH = /^\d{1,15}$/;

interface MessageHead {
  /** Requests: the method. */
  readonly method: string;
  /** Responses: 100–599; 0 for a request. */
  readonly status: number;
  /** -1: not said. */
  readonly contentLength: number;
}

/** Or why it is malformed. */
export type HeadResult = MessageHead | string;

/** RFC 9110 token without small letters. */
function isMethod(method: string): boolean {
  for (let i = 0; i < method.length; i++) {
    const c = method.charCodeAt(i);
    const lower = NAME[c] ?? 0;
    if (lower === 0 || (lower === c && c >= 97 && c <= 122)) return false;
  }
  return method !== "";
}

function isPath(path: string): boolean {
  for (let i = 0; i < path.length; i++) if (TARGET[path.charCodeAt(i)] !== 1) return false;
  return true;
}

/**
 * The first block of a request. A CONNECT may come without `:authority`: that is answered, not reset. `extended`: we said that we take RFC 8441. `clean`,
 * here and below: names and values are known to be made of allowed octets (`HpackDecoder.clean`).
 */
export function requestHead(fields: Fields, extended: boolean, clean: boolean): HeadResult {
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let protocol: string | undefined;
  let i = 0;
  for (; i + 1 < fields.length && isPseudo(fields[i] ?? ""); i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (!clean && !isFieldValue(value)) return `${printable(name)} has octets that are not allowed`;
    let before: string | undefined;
    switch (name) {
      case ":method": before = method; method = value; break;
      case ":scheme": before = scheme; scheme = value; break;
      case ":authority": before = authority; authority = value; break;
      case ":path": before = path; path = value; break;
      case ":protocol":
        if (!extended) return notAllowed(name);
        before = protocol;
        protocol = value;
        break;
      default: return notAllowed(name);
    }
    if (before !== undefined) return `pseudo-field ${name} comes twice`;
  }
  if (method === undefined || !isMethod(method)) return ":method is missing or not a token in upper case";
  if (protocol !== undefined && (method !== "CONNECT" || !isFieldName(protocol.toLowerCase()) || authority === undefined))
    return ":protocol is not a token, or not of a CONNECT with :authority";
  if (method === "CONNECT" && protocol === undefined) {
    if (scheme !== undefined || path !== undefined) return "CONNECT with :scheme or :path";
  } else {
    if (scheme === undefined || scheme === "" || path === undefined) return ":scheme or :path is missing";
    if (!(path.startsWith("/") || (path === "*" && method === "OPTIONS"))) return ":path is neither absolute nor * of OPTIONS";
    if (!isPath(path)) return ":path has a blank, a fragment or an octet beyond ASCII";
  }
  return regularFields(fields, i, method, 0, clean);
}

const isPseudo = (name: string): boolean => name.charCodeAt(0) === 0x3a;

const notAllowed = (name: string): HeadResult => `pseudo-field ${printable(name)} is not allowed here`;

/** The first block of a response, or an informational one. */
export function responseHead(fields: Fields, clean: boolean): HeadResult {
  const [name = "", text = ""] = fields;
  if (name !== ":status") return isPseudo(name) ? notAllowed(name) : ":status is missing";
  if (fields[2] === ":status") return "pseudo-field :status comes twice";
  const status = text === "200" ? 200 : /^[1-5]\d\d$/.test(text) ? Number(text) : 101;
  if (status === 101) return `:status is ${JSON.stringify(text.slice(0, PRINTED_MAX))}`;
  return regularFields(fields, 2, "", status, clean);
}

/** Trailers: no pseudo-fields at all. Returns why they are malformed. */
export function trailersProblem(fields: Fields, clean: boolean): string | undefined {
  const result = regularFields(fields, 0, "", 0, clean);
  return typeof result === "string" ? result : undefined;
}

/** The value of the first field of that name. */
export function fieldValue(fields: Fields, name: string): string | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

/** Lists of proper names that say nothing about framing or the connection, but perhaps `te: trailers`. */
const ORDINARY = new NameLists();

function regularFields(fields: Fields, from: number, method: string, status: number, clean: boolean): HeadResult {
  if (clean && ORDINARY.recall(fields, from) !== NOT_MET) return { method, status, contentLength: -1 };
  let contentLength = -1;
  let trailers = -1;
  let ordinary = clean;
  for (let i = from; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (clean ? isPseudo(name) : !isFieldName(name)) return `field name ${printable(name)} is not a lower-case token, or a pseudo-field out of place`;
    if (!clean && !isFieldValue(value)) return `${name} has octets that are not allowed`;
    if (((LENGTHS >>> name.length) & 1) === 0 || name.length > 31) continue;
    if (CONNECTION_SPECIFIC.has(name) || (name === "te" && value !== "trailers")) return `connection-specific field ${name}`;
    if (name === "te") {
      ordinary &&= trailers < 0;
      trailers = i + 1;
    }
    if (name !== "content-length") continue;
    ordinary = false;
    if (!CONTENT_LENGTH.test(value) || (contentLength !== -1 && contentLength !== Number(value))) return "bad content-length";
    contentLength = Number(value);
  }
  if (ordinary) ORDINARY.remember(fields, from, 0, trailers);
  return { method, status, contentLength };
}

const PRINTED_MAX = 60;
const printable = (text: string): string => JSON.stringify(text.slice(0, PRINTED_MAX));
