// Owns the fields of requests and answers as they pass: what is for one hop only, what is ours to say, what routes change.
import type { HeaderChange } from "@ambit/core";
import { endToEndFields, isFieldValue } from "@ambit/http";
import type { ForwardPlan } from "./options.ts";

/** Only proxies of the mesh may say these; a client's are dropped before anybody reads them. */
const OURS: ReadonlySet<string> = new Set(["x-forwarded-client-cert", "x-envoy-original-path", "x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "x-envoy-internal", "x-envoy-external-address",
  "x-envoy-decorator-operation", "x-envoy-peer-metadata", "x-envoy-peer-metadata-id"]);
/** Framing and addressing: each connection says them its own way. */
const FRAMING: ReadonlySet<string> = new Set(["host", "content-length"]);
const FRAMING_AND_EXPECT: ReadonlySet<string> = new Set([...FRAMING, "expect"]);
/** Of answers: what the connection to the client says itself, and what is between proxies. */
const NOT_ANSWERED: ReadonlySet<string> = new Set(["content-length", "x-envoy-decorator-operation"]);

/**
 * What policies and routes see: without hop-by-hop fields (of an upgrade `connection` and `upgrade` stay) and what is ours to say; with `x-request-id` and
 * `x-forwarded-proto`.
 */
export function seenFields(fields: readonly string[], upgrade: string | undefined, newId: () => string): { readonly fields: string[]; readonly requestId: string } {
  const out = endToEndFields(fields, OURS);
  if (upgrade !== undefined) out.push("connection", "upgrade", "upgrade", upgrade);
  let requestId = first(out, "x-request-id");
  if (requestId === undefined || requestId === "") out.push("x-request-id", (requestId = newId()));
  if (first(out, "x-forwarded-proto") === undefined) out.push("x-forwarded-proto", "http");
  return { fields: out, requestId };
}

export interface AttemptFields { readonly attempt: number; readonly expectedMs: number | undefined; readonly keepExpect: boolean }

/** What leaves for an endpoint. Undefined: a name or value (of a route, a token, a checker) that no message can carry. */
export function outgoingFields(planned: readonly string[], o: AttemptFields): string[] | undefined {
  const out = endToEndFields(planned, o.keepExpect ? FRAMING : FRAMING_AND_EXPECT);
  for (let i = 0; i + 1 < out.length; i += 2) if (!isFieldName(out[i] ?? "") || !isFieldValue(out[i + 1] ?? "")) return undefined;
  set(out, "x-envoy-attempt-count", o.attempt === 1 ? "1" : String(o.attempt));
  if (o.expectedMs !== undefined) set(out, "x-envoy-expected-rq-timeout-ms", String(Math.max(1, Math.ceil(o.expectedMs))));
  return out;
}

/** Of an upstream's answer or our own, as a client gets it. `serviceMs` undefined: it is our own. */
export function answerFields(fields: readonly string[], plan: ForwardPlan | undefined, o: { readonly serviceMs: number | undefined; readonly serverName: string | undefined; readonly now: number; readonly more: readonly string[] }): string[] {
  const out = endToEndFields(fields, NOT_ANSWERED);
  if (plan !== undefined) {
    for (const change of plan.answer) applyChange(out, change);
    if (plan.cors !== undefined) {
      set(out, "access-control-allow-origin", plan.cors.origin);
      if (plan.cors.rule.credentials) set(out, "access-control-allow-credentials", "true");
      if (plan.cors.rule.exposeHeaders.length > 0) set(out, "access-control-expose-headers", plan.cors.rule.exposeHeaders.join(","));
    }
  }
  for (let i = out.length - 2; i >= 0; i -= 2) if (!isFieldName(out[i] ?? "") || !isFieldValue(out[i + 1] ?? "")) out.splice(i, 2);
  for (const text of o.more) out.push(text);
  if (o.serviceMs !== undefined) set(out, "x-envoy-upstream-service-time", String(Math.round(o.serviceMs)));
  if (o.serverName !== undefined) set(out, "server", o.serverName);
  if (first(out, "date") === undefined) out.push("date", dateText(o.now));
  return out;
}

/** In place: remove, set, add. */
export function applyChange(fields: string[], change: HeaderChange): void {
  for (const name of change.remove) remove(fields, name);
  for (const [name, value] of change.set) set(fields, name, value);
  for (const [name, value] of change.add) fields.push(name, value);
}

export function first(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

export function set(fields: string[], name: string, value: string): void {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    fields[i + 1] = value;
    for (let j = fields.length - 2; j > i; j -= 2) if (fields[j] === name) fields.splice(j, 2);
    return;
  }
  fields.push(name, value);
}

export function remove(fields: string[], name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i] === name) fields.splice(i, 2);
}

/** Token characters without capitals, by code. */
const NAME_CODES = new Uint8Array(128);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") NAME_CODES[c.charCodeAt(0)] = 1;

function isFieldName(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (NAME_CODES[name.charCodeAt(i)] !== 1) return false;
  return name !== "";
}

let dateSecond = -1;
let dateValue = "";

/** IMF-fixdate, made once a second. */
function dateText(now: number): string {
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateValue = new Date(now).toUTCString();
  }
  return dateValue;
}

/** -1: not said. The codecs checked it. */
export function contentLength(fields: readonly string[]): number {
  const value = first(fields, "content-length");
  return value === undefined ? -1 : Number(value);
}

export function grpcStatusOf(fields: readonly string[]): number | undefined {
  const value = first(fields, "grpc-status");
  return value !== undefined && /^\d{1,5}$/.test(value) ? Number(value) : undefined;
}
