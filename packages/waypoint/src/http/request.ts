// Owns making facts of a request, and the refusals that need no policy.
import type { BodySize, Fields, H1RequestHead } from "@ambit/http";
import { CHUNKED, fieldValue } from "@ambit/http";
import { newUuid } from "@ambit/runtime";
import type { CheckFacts, ConnectionFacts, RequestFacts } from "../facts.ts";
import type { IncomingBody } from "./forwarded-request.ts";
import { contentLength, first, remove, seenFields } from "./fields.ts";
import type { HttpOptions } from "./options.ts";

const NO_CHECKS: ReadonlyMap<string, CheckFacts> = new Map();

export interface IncomingRequest {
  readonly facts: RequestFacts;
  readonly requestId: string;
  readonly body: IncomingBody;
  readonly refused: { readonly status: number; readonly body: string; readonly details: string } | undefined;
}

export function requestOf(head: H1RequestHead, connection: ConnectionFacts, o: HttpOptions): IncomingRequest {
  const size: BodySize = head.body === 0 ? "none" : head.body === CHUNKED ? "unknown" : head.body;
  // h2c by upgrade is not for proxies to follow, and a body before the switch would be nobody's: plain requests, both.
  const upgrade = head.upgrade === undefined || head.upgrade === "h2c" || head.upgrade.includes(",") || size !== "none" ? undefined : head.upgrade;
  const refused = head.method === "CONNECT" ? { status: 403, body: "CONNECT is not for this proxy", details: "upgrade_failed" }
    : head.minor === 0 && o.http10 !== true ? { status: 426, body: "HTTP/1.0 is not spoken here", details: "low_version" } : undefined;
  return make(connection, o, { protocol: head.minor === 0 ? "HTTP/1.0" : "HTTP/1.1", method: head.method, authority: head.authority, target: head.target, fields: head.fields, upgrade },
    { size, expectContinue: head.expectContinue }, refused);
}

export function h2RequestOf(fields: Fields, endStream: boolean, connection: ConnectionFacts, o: HttpOptions): IncomingRequest {
  let at = 0;
  while (fields[at]?.startsWith(":") === true) at += 2;
  const rest = fields.slice(at);
  const method = fieldValue(fields, ":method") ?? "";
  const protocol = fieldValue(fields, ":protocol")?.toLowerCase();
  const host = first(rest, "host");
  const named = fieldValue(fields, ":authority");
  const authority = named ?? host ?? "";
  remove(rest, "host");
  const joined = joinCookies(rest);
  const length = contentLength(rest);
  const size: BodySize = endStream || protocol !== undefined ? "none" : length >= 0 ? length : "unknown";
  const refused = method === "CONNECT" && protocol === undefined ? { status: 403, body: "CONNECT is not for this proxy", details: "upgrade_failed" }
    : named !== undefined && host !== undefined && named.toLowerCase() !== host.toLowerCase() ? { status: 400, body: ":authority and host differ", details: "invalid_authority" }
    : !/^[^@/\\?#,\s]*$/.test(authority) || authority === "" ? { status: 400, body: ":authority is not a host with a port", details: "invalid_authority" }
    : protocol !== undefined && endStream ? { status: 400, body: "an upgrade that ends before it began", details: "upgrade_failed" } : undefined;
  // RFC 8441: what is GET with Upgrade in HTTP/1.
  return make(connection, o, { protocol: "HTTP/2", method: protocol === undefined ? method : "GET", authority, target: fieldValue(fields, ":path") ?? "", fields: joined, upgrade: protocol },
    { size, expectContinue: first(rest, "expect")?.toLowerCase() === "100-continue" }, refused);
}

/** What could not be read at all, for its record and its answer. */
export function badRequest(connection: ConnectionFacts, o: HttpOptions): IncomingRequest {
  return make(connection, o, { protocol: "HTTP/1.1", method: "", authority: "", target: "", fields: [], upgrade: undefined }, { size: "none", expectContinue: false }, undefined);
}

type Line = Pick<RequestFacts, "protocol" | "method" | "authority" | "target" | "upgrade"> & { readonly fields: Fields };

function make(connection: ConnectionFacts, o: HttpOptions, line: Line, body: IncomingBody, refused: IncomingRequest["refused"]): IncomingRequest {
  const { fields, requestId } = seenFields(line.fields, line.upgrade, newUuid);
  const grpc = first(fields, "content-type")?.startsWith("application/grpc") ?? false;
  return {
    facts: { connection, protocol: line.protocol, method: line.method, scheme: first(fields, "x-forwarded-proto") === "https" ? "https" : "http", authority: line.authority, target: line.target,
      fields, grpc, upgrade: line.upgrade, now: o.clock.now(), token: undefined, checks: NO_CHECKS },
    requestId, body, refused,
  };
}

/** RFC 9113 §8.2.3: crumbs become one field for everybody behind. */
function joinCookies(fields: readonly string[]): readonly string[] {
  let count = 0;
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === "cookie") count++;
  if (count < 2) return fields;
  const out: string[] = [];
  const crumbs: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i] === "cookie") crumbs.push(fields[i + 1] ?? "");
    else out.push(fields[i] ?? "", fields[i + 1] ?? "");
  }
  return [...out, "cookie", crumbs.join("; ")];
}
