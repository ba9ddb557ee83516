// Owns the rules for field blocks (RFC 9113 §8): pseudo-fields, allowed octets, connection-specific fields, content length.
import type { Fields } from "../hpack/decoder.ts";
import { isFieldValue } from "../octets.ts";

/** RFC 9110 token in lower case. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** §8.2.2: they speak about a connection of HTTP/1. */
const CONNECTION_SPECIFIC = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);
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

export type HeadResult = { readonly head: MessageHead } | { readonly malformed: string };

const REQUEST_PSEUDO = new Set([":method", ":scheme", ":authority", ":path"]);
const EXTENDED_PSEUDO = new Set([...REQUEST_PSEUDO, ":protocol"]);

/** The first block of a request. A CONNECT may come without `:authority`: that is answered, not reset. `extended`: we said that we take RFC 8441. */
export function requestHead(fields: Fields, extended: boolean): HeadResult {
  const seen = new Map<string, string>();
  const regular = pseudoFields(fields, extended ? EXTENDED_PSEUDO : REQUEST_PSEUDO, seen);
  if (typeof regular === "string") return { malformed: regular };
  const method = seen.get(":method");
  if (method === undefined || !/^[!#$%&'*+\-.^_`|~0-9A-Z]+$/.test(method)) return { malformed: ":method is missing or not a token in upper case" };
  const scheme = seen.get(":scheme");
  const path = seen.get(":path");
  const protocol = seen.get(":protocol");
  if (protocol !== undefined && (method !== "CONNECT" || !NAME.test(protocol.toLowerCase()) || seen.get(":authority") === undefined))
    return { malformed: ":protocol is not a token, or not of a CONNECT with :authority" };
  if (method === "CONNECT" && protocol === undefined) {
    if (scheme !== undefined || path !== undefined) return { malformed: "CONNECT with :scheme or :path" };
  } else {
    if (scheme === undefined || scheme === "" || path === undefined) return { malformed: ":scheme or :path is missing" };
    if (!(path.startsWith("/") || (path === "*" && method === "OPTIONS"))) return { malformed: ":path is neither absolute nor * of OPTIONS" };
    if (/[^\x21-\x7e]|#/.test(path)) return { malformed: ":path has a blank, a fragment or an octet beyond ASCII" };
  }
  return regularFields(fields, regular, { method, status: 0, contentLength: -1 });
}

const RESPONSE_PSEUDO = new Set([":status"]);

/** The first block of a response, or an informational one. */
export function responseHead(fields: Fields): HeadResult {
  const seen = new Map<string, string>();
  const regular = pseudoFields(fields, RESPONSE_PSEUDO, seen);
  if (typeof regular === "string") return { malformed: regular };
  const status = seen.get(":status") ?? "";
  if (!/^[1-5]\d\d$/.test(status) || status === "101") return { malformed: `:status is ${JSON.stringify(status)}` };
  return regularFields(fields, regular, { method: "", status: Number(status), contentLength: -1 });
}

/** Trailers: no pseudo-fields at all. Returns why they are malformed. */
export function trailersProblem(fields: Fields): string | undefined {
  const result = regularFields(fields, 0, { method: "", status: 0, contentLength: -1 });
  return "malformed" in result ? result.malformed : undefined;
}

/** The value of the first field of that name. */
export function fieldValue(fields: Fields, name: string): string | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

/** Reads leading pseudo-fields into `seen`; returns where regular fields begin, or what is wrong. */
function pseudoFields(fields: Fields, allowed: ReadonlySet<string>, seen: Map<string, string>): number | string {
  let i = 0;
  for (; i + 1 < fields.length && fields[i]?.startsWith(":"); i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (!allowed.has(name)) return `pseudo-field ${printable(name)} is not allowed here`;
    if (seen.has(name)) return `pseudo-field ${name} comes twice`;
    if (!isFieldValue(value)) return `${name} has octets that are not allowed`;
    seen.set(name, value);
  }
  return i;
}

function regularFields(fields: Fields, from: number, head: MessageHead): HeadResult {
  let contentLength = -1;
  for (let i = from; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (!NAME.test(name)) return { malformed: `field name ${printable(name)} is not a lower-case token, or a pseudo-field out of place` };
    if (!isFieldValue(value)) return { malformed: `${name} has octets that are not allowed` };
    if (CONNECTION_SPECIFIC.has(name) || (name === "te" && value !== "trailers")) return { malformed: `connection-specific field ${name}` };
    if (name !== "content-length") continue;
    if (!CONTENT_LENGTH.test(value) || (contentLength !== -1 && contentLength !== Number(value))) return { malformed: "bad content-length" };
    contentLength = Number(value);
  }
  return { head: { ...head, contentLength } };
}

const PRINTED_MAX = 60;
const printable = (text: string): string => JSON.stringify(text.slice(0, PRINTED_MAX));
