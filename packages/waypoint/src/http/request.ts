// Owns making facts of a request, and the refusals that need no policy.
import type { BodySize, H1RequestHead } from "@ambit/http";
import { CHUNKED } from "@ambit/http";
import { newUuid } from "@ambit/runtime";
import type { CheckFacts, ConnectionFacts, RequestFacts } from "../facts.ts";
import { contentLength, dropFirst, expectsContinue, hostOf, marksOf, remove, seenFields, type SeenFields } from "./fields.ts";
import type { EventTime } from "./event-time.ts";
import type { IncomingBody } from "./forwarded-request.ts";

const COLON = 58;
const NO_CHECKS: ReadonlyMap<string, CheckFacts> = new Map();

export interface IncomingRequest extends IncomingBody {
  readonly facts: RequestFacts;
  readonly seen: SeenFields;
  readonly refused: Refusal | undefined;
}

interface Refusal { readonly status: number; readonly body: string; readonly details: string }

const CONNECT_REFUSED: Refusal = { status: 403, body: "CONNECT is not for this proxy", details: "upgrade_failed" };
const LOW_VERSION: Refusal = { status: 426, body: "HTTP/1.0 is not spoken here", details: "low_version" };
const TWO_AUTHORITIES: Refusal = { status: 400, body: ":authority and host differ", details: "invalid_authority" };
const NO_AUTHORITY: Refusal = { status: 400, body: ":authority is not a host with a port", details: "invalid_authority" };
const ENDED_UPGRADE: Refusal = { status: 400, body: "an upgrade that ends before it began", details: "upgrade_failed" };

/** `head.fields` are changed: they become the facts' fields. */
export function requestOf(head: H1RequestHead, connection: ConnectionFacts, http10: boolean, time: EventTime): IncomingRequest {
  const size: BodySize = head.body === 0 ? "none" : head.body === CHUNKED ? "unknown" : head.body;
  // h2c by upgrade is not for proxies to follow, and a body before the switch would be nobody's: plain requests, both.
  const upgrade = head.upgrade === undefined || head.upgrade === "h2c" || head.upgrade.includes(",") || size !== "none" ? undefined : head.upgrade;
  const refused = head.method === "CONNECT" ? CONNECT_REFUSED : head.minor === 0 && !http10 ? LOW_VERSION : undefined;
  const seen = seenFields(head.fields, marksOf(head.fields), upgrade, false, newUuid);
  return {
    facts: factsOf(connection, head.minor === 0 ? "HTTP/1.0" : "HTTP/1.1", head.method, head.authority, head.target, seen, upgrade, time.now),
    seen, size, expectContinue: head.expectContinue, refused,
  };
}

/** `list` is changed: it becomes the facts' fields. */
export function h2RequestOf(list: string[], endStream: boolean, connection: ConnectionFacts, time: EventTime): IncomingRequest {
  let method = "";
  let target = "";
  let named: string | undefined;
  let protocol: string | undefined;
  let at = 0;
  for (; at + 1 < list.length && list[at]?.charCodeAt(0) === COLON; at += 2) {
    const value = list[at + 1] ?? "";
    switch (list[at]) {
      case ":method": method = value; break;
      case ":path": target = value; break;
      case ":authority": named = value; break;
      case ":protocol": protocol = value.toLowerCase(); break;
      default: break;
    }
  }
  dropFirst(list, at);
  const marks = marksOf(list);
  const host = hostOf(list, marks);
  if (host !== undefined) remove(list, "host");
  const authority = named ?? host ?? "";
  const length = contentLength(list, marks);
  const size: BodySize = endStream || protocol !== undefined ? "none" : length >= 0 ? length : "unknown";
  const refused = method === "CONNECT" && protocol === undefined ? CONNECT_REFUSED
    : named !== undefined && host !== undefined && named.toLowerCase() !== host.toLowerCase() ? TWO_AUTHORITIES
    : !isAuthority(authority) ? NO_AUTHORITY
    : protocol !== undefined && endStream ? ENDED_UPGRADE : undefined;
  const expectContinue = expectsContinue(list, marks);
  const seen = seenFields(list, marks, protocol, true, newUuid);
  return {
    // RFC 8441: what is GET with Upgrade in HTTP/1.
    facts: factsOf(connection, "HTTP/2", protocol === undefined ? method : "GET", authority, target, seen, protocol, time.now),
    seen, size, expectContinue, refused,
  };
}

/** What could not be read at all, for its record and its answer. */
export function badRequest(connection: ConnectionFacts, time: EventTime): IncomingRequest {
  const seen = seenFields([], 0, undefined, false, newUuid);
  return { facts: factsOf(connection, "HTTP/1.1", "", "", "", seen, undefined, time.now), seen, size: "none", expectContinue: false, refused: undefined };
}

/** Without user, path, list or blank. */
const AUTHORITY = /^[^@/\\?#,\s]+$/;
/** Clients mostly ask for the same: the last one that was one. */
let lastAuthority: string | undefined;

function isAuthority(text: string): boolean {
  if (text === lastAuthority) return true;
  if (!AUTHORITY.test(text)) return false;
  lastAuthority = text;
  return true;
}

/** The only place where facts are made, so that all have one shape. */
function factsOf(connection: ConnectionFacts, protocol: RequestFacts["protocol"], method: string, authority: string, target: string, seen: SeenFields, upgrade: string | undefined, now: number): RequestFacts {
  return { connection, protocol, method, scheme: seen.https ? "https" : "http", authority, target, fields: seen.fields, grpc: seen.grpc, upgrade, now, token: undefined, checks: NO_CHECKS };
}
