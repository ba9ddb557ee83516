// Owns what a VirtualService's route does to a request: fault, redirect, answer, rewrite, headers, CORS, retries (l7-traffic.md §2, §3).
import { checkSubstitution, compileRegex, type Cors, type Fault, type HeaderChange, type PathRewrite, type Redirect, type RequestMatch, type RetryCondition, type RetryPolicy, type Rewrite, type RouteAction } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import { headerValue } from "./filters.ts";
import { ALWAYS, flag, headerName, integer, istioDuration, percentage } from "./read.ts";
import { BACKOFF_CAP, BACKOFF_MS, DEFAULT_RETRY, RETRIES_MAX } from "./rule-settings.ts";
import { textMatch } from "./vs-match.ts";

const GRPC_STATUSES = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"];

export function faultOf(reader: Reader, value: unknown, path: string): Fault | undefined {
  const fields = reader.object(value, path, ["delay", "abort"]);
  if (fields === undefined) return undefined;
  const delay = reader.object(fields["delay"], `${path}.delay`, ["fixedDelay", "percentage", "percent"]);
  const abort = reader.object(fields["abort"], `${path}.abort`, ["httpStatus", "grpcStatus", "percentage"]);
  const share = (f: Fields | undefined, at: string) => percentage(reader, reader.object(f?.["percentage"], `${at}.percentage`, ["value"])?.["value"] ?? f?.["percent"], `${at}.percentage.value`);
  const ms = istioDuration(reader, delay?.["fixedDelay"], `${path}.delay.fixedDelay`);
  if (delay !== undefined && ms === undefined) reader.refuse(`${path}.delay.fixedDelay`, "is missing");
  const status = integer(reader, abort?.["httpStatus"], `${path}.abort.httpStatus`, 200, 599);
  const name = reader.text(abort?.["grpcStatus"], `${path}.abort.grpcStatus`);
  const grpcStatus = name === undefined ? -1 : /^\d+$/.test(name) ? Number(name) : GRPC_STATUSES.indexOf(name.toUpperCase());
  if (name !== undefined && (grpcStatus < 0 || grpcStatus >= GRPC_STATUSES.length)) reader.refuse(`${path}.abort.grpcStatus`, `"${name}" is not a gRPC status`);
  if (abort !== undefined && (status === undefined) === (name === undefined)) reader.refuse(`${path}.abort`, "must have one of httpStatus and grpcStatus");
  return {
    // Istio's ways: a delay without a share never happens, an abort without one always.
    delay: ms === undefined ? undefined : { ms, fraction: share(delay, `${path}.delay`) ?? { numerator: 0, denominator: 1 } },
    abort: abort === undefined ? undefined : { fraction: share(abort, `${path}.abort`) ?? ALWAYS, answer: status === undefined ? { grpcStatus } : { httpStatus: status } },
  };
}

export function vsRedirect(reader: Reader, value: unknown, path: string): Redirect | undefined {
  const fields = reader.object(value, path, ["uri", "authority", "port", "derivePort", "scheme", "redirectCode"]);
  if (fields === undefined) return undefined;
  const code = integer(reader, fields["redirectCode"], `${path}.redirectCode`, 300, 399) || 301;
  if (![301, 302, 303, 307, 308].includes(code)) reader.refuse(`${path}.redirectCode`, `${code} is none of 301, 302, 303, 307, 308`);
  const authority = reader.text(fields["authority"], `${path}.authority`) || undefined;
  const parts = authority === undefined ? undefined : /^(\[[^\]]+\]|[^:/\s]+)(?::(\d{1,5}))?$/.exec(authority);
  if (parts === null) reader.refuse(`${path}.authority`, `"${authority ?? ""}" is not HOST or HOST:PORT`);
  const derive = reader.oneOf(fields["derivePort"], `${path}.derivePort`, ["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]);
  const port = fields["port"] === undefined ? (parts?.[2] === undefined ? undefined : Number(parts[2])) : reader.port(fields["port"], `${path}.port`);
  const uri = reader.text(fields["uri"], `${path}.uri`) || undefined;
  const scheme = reader.text(fields["scheme"], `${path}.scheme`) || undefined;
  if (scheme !== undefined && !/^[a-z][a-z0-9+.-]*$/.test(scheme)) reader.refuse(`${path}.scheme`, `"${scheme}" is not a scheme`);
  return {
    scheme, hostname: parts?.[1], status: code, path: uri === undefined ? undefined : { kind: "full", value: uri },
    port: port ?? (derive === "FROM_PROTOCOL_DEFAULT" ? "derive-from-scheme" : undefined),
  };
}

/** Characters of a body that a route answers itself: Istio's bound is one mebibyte for all. */
const BODY_MAX = 64 * 1024;

export function directResponse(reader: Reader, value: unknown, path: string): Extract<RouteAction, { kind: "respond" }> | undefined {
  const fields = reader.object(value, path, ["status", "body"]);
  if (fields === undefined) return undefined;
  const status = integer(reader, fields["status"], `${path}.status`, 200, 599) ?? reader.refuse(`${path}.status`, "is missing") ?? 500;
  const body = reader.object(fields["body"], `${path}.body`, ["string", "bytes"]);
  const text = body?.["bytes"] === undefined ? (reader.text(body?.["string"], `${path}.body.string`) ?? "") : decoded(reader, body["bytes"], `${path}.body.bytes`);
  if (text.length > BODY_MAX) reader.refuse(`${path}.body`, `has more than ${BODY_MAX} characters`);
  return { kind: "respond", status, body: text };
}

function decoded(reader: Reader, value: unknown, path: string): string {
  const text = reader.text(value, path) ?? "";
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return reader.refuse(path, "is not base64") ?? "";
  const bytes = atob(text);
  // Text is all that an answer of ours is made of.
  return /^[\t\n\r\x20-\x7e]*$/.test(bytes) ? bytes : (reader.refuse(path, "is not plain text, which is all that can be answered here") ?? "");
}

export function rewriteOf(reader: Reader, value: unknown, path: string): (match: RequestMatch) => Rewrite | undefined {
  const fields = reader.object(value, path, ["uri", "authority", "uriRegexRewrite"]);
  if (fields === undefined) return () => undefined;
  const hostname = reader.text(fields["authority"], `${path}.authority`) || undefined;
  const uri = reader.text(fields["uri"], `${path}.uri`);
  const by = reader.object(fields["uriRegexRewrite"], `${path}.uriRegexRewrite`, ["match", "rewrite"]);
  if (uri !== undefined && by !== undefined) reader.refuse(path, "uri and uriRegexRewrite exclude each other");
  const regex = by === undefined ? undefined : regexRewrite(reader, by, `${path}.uriRegexRewrite`);
  return (match) => {
    const prefix = match.path?.kind === "prefix" || match.path?.kind === "path-prefix";
    return { hostname, path: regex ?? (uri === undefined ? undefined : { kind: prefix ? "prefix" : "full", value: uri }) };
  };
}

function regexRewrite(reader: Reader, fields: Fields, path: string): PathRewrite {
  const pattern = reader.text(fields["match"], `${path}.match`) ?? "";
  const substitution = reader.text(fields["rewrite"], `${path}.rewrite`) ?? "";
  const compiled = compileRegex(pattern);
  const wrong = compiled.ok ? checkSubstitution(compiled.value, substitution) : compiled.error;
  if (wrong !== undefined) reader.refuse(path, wrong);
  return { kind: "regex", pattern, substitution };
}

/** `Host` and `:authority` may be set; other pseudo-headers may not be touched. */
export interface VsHeaders { readonly request: HeaderChange | undefined; readonly response: HeaderChange | undefined }

export function headersOf(reader: Reader, value: unknown, path: string): VsHeaders {
  const fields = reader.object(value, path, ["request", "response"]) ?? {};
  const change = (name: "request" | "response"): HeaderChange | undefined => {
    const at = `${path}.${name}`;
    const o = reader.object(fields[name], at, ["set", "add", "remove"]);
    if (o === undefined) return undefined;
    const pairs = (what: "set" | "add") => Object.entries(reader.map(o[what], `${at}.${what}`) ?? {}).flatMap(([k, v]): [string, string][] => {
      const text = headerValue(reader, v, `${at}.${what}.${k}`);
      const header = headerName(reader, k, `${at}.${what}.${k}`, name === "request" && what === "set" ? [":authority"] : []);
      return header === undefined || text === undefined ? [] : [[header, text]];
    });
    return { set: pairs("set"), add: pairs("add"), remove: (reader.list(o["remove"], `${at}.remove`) ?? []).flatMap((h, i) => headerName(reader, h, `${at}.remove[${i}]`) ?? []) };
  };
  return { request: change("request"), response: change("response") };
}

export function vsCors(reader: Reader, value: unknown, path: string): Cors | undefined {
  const fields = reader.object(value, path, ["allowOrigins", "allowOrigin", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials", "unmatchedPreflights"]);
  if (fields === undefined) return undefined;
  const texts = (name: string): readonly string[] => (fields[name] === undefined ? [] : (reader.texts(fields[name], `${path}.${name}`) ?? []));
  const age = istioDuration(reader, fields["maxAge"], `${path}.maxAge`);
  return {
    origins: [
      ...(reader.list(fields["allowOrigins"], `${path}.allowOrigins`) ?? []).map((o, i) => {
        const origin = textMatch(reader, o, `${path}.allowOrigins[${i}]`);
        return origin.kind === "exact" && origin.value === "*" ? ({ kind: "present" } as const) : origin;
      }),
      ...texts("allowOrigin").map((o) => (o === "*" ? ({ kind: "present" } as const) : ({ kind: "exact", value: o } as const))),
    ],
    methods: texts("allowMethods"), headers: texts("allowHeaders").map((h) => h.toLowerCase()), exposeHeaders: texts("exposeHeaders").map((h) => h.toLowerCase()),
    maxAgeS: age === undefined ? undefined : Math.round(age / 1_000), credentials: flag(reader, fields["allowCredentials"], `${path}.allowCredentials`) ?? false,
    unmatchedPreflight: reader.oneOf(fields["unmatchedPreflights"], `${path}.unmatchedPreflights`, ["UNSPECIFIED", "FORWARD", "IGNORE"]) === "IGNORE" ? "answer" : "forward",
  };
}

const CONDITIONS: readonly RetryCondition[] = ["5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "refused-stream", "retriable-4xx", "retriable-status-codes",
  "envoy-ratelimited", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

export function vsRetry(reader: Reader, value: unknown, path: string): { retry: RetryPolicy | undefined; perTryMs: number | undefined } {
  const fields = reader.object(value, path, ["attempts", "perTryTimeout", "retryOn", "retryRemoteLocalities", "retryIgnorePreviousHosts", "backoff"]);
  if (fields === undefined) return { retry: undefined, perTryMs: undefined };
  const samePlaces = flag(reader, fields["retryIgnorePreviousHosts"], `${path}.retryIgnorePreviousHosts`) === false;
  if (flag(reader, fields["retryRemoteLocalities"], `${path}.retryRemoteLocalities`) === true) reader.refuse(`${path}.retryRemoteLocalities`, "is not available");
  const retry = retryPolicy(reader, fields, path);
  return { retry: samePlaces ? { ...retry, samePlaces } : retry, perTryMs: istioDuration(reader, fields["perTryTimeout"], `${path}.perTryTimeout`) || undefined };
}

/** Also of MeshConfig's defaultHttpRetryPolicy. */
export function retryPolicy(reader: Reader, fields: Fields, path: string): RetryPolicy {
  const words = (reader.text(fields["retryOn"], `${path}.retryOn`) ?? "").split(",").map((w) => w.trim()).filter((w) => w !== "");
  const statuses = words.filter((w) => /^[1-5][0-9]{2}$/.test(w)).map(Number);
  const on = words.filter((w) => !/^\d+$/.test(w)).flatMap((w) => CONDITIONS.find((c) => c === w) ?? reader.refuse(`${path}.retryOn`, `"${w}" is not a condition that is known here`) ?? []);
  for (const w of words) if (/^\d+$/.test(w) && !statuses.includes(Number(w))) reader.refuse(`${path}.retryOn`, `"${w}" is not a status`);
  const backoffMs = istioDuration(reader, fields["backoff"], `${path}.backoff`) || BACKOFF_MS;
  return {
    retries: integer(reader, fields["attempts"], `${path}.attempts`, 0, RETRIES_MAX) ?? 0,
    on: words.length === 0 ? DEFAULT_RETRY.on : statuses.length > 0 && !on.includes("retriable-status-codes") ? [...on, "retriable-status-codes"] : on,
    statuses, backoffMs, backoffMaxMs: backoffMs * BACKOFF_CAP,
  };
}
