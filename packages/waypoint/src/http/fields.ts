// Owns the fields of requests and answers as they pass: what is for one hop only, what is ours to say, what routes change.
// A codec gives its list away, so what comes is changed in place. Facts keep that list; it leaves as it is where nothing in it changes, and is copied only where something does.
import type { HeaderChange } from "@ambit/core";
import { isFieldName, isFieldValue, NameLists, NOT_MET } from "@ambit/http";
import type { EventTime } from "./event-time.ts";
import type { ForwardPlan } from "./options.ts";

/** What a name means on the way, as bits. A name without any passes as it is. */
const HOP = 1;
/** For one hop unless its value is `trailers`. */
const TE = 2;
/** Only proxies of the mesh may say it; a client's is dropped before anybody reads it. */
const OURS = 4;
/** Framing and addressing: each connection says them its own way. */
const FRAMING = 8;
const EXPECT = 16;
/** Between proxies. */
const DECORATOR = 32;
const LENGTH = 64;
const REQUEST_ID = 128;
const PROTO = 256;
const TYPE = 512;
const COOKIE = 1024;
const SERVICE_TIME = 2048;
const SERVER = 4096;
const DATE = 8192;
const GRPC_STATUS = 16_384;
const HOST = 32_768;
const ATTEMPT = 65_536;
const EXPECTED = 131_072;
/** No name's: the list has values that no codec judged. */
const UNJUDGED = 262_144;

const MARKS: ReadonlyMap<string, number> = new Map([
  // RFC 9110 §7.6.1
  ["connection", HOP], ["keep-alive", HOP], ["proxy-connection", HOP], ["transfer-encoding", HOP], ["upgrade", HOP], ["te", TE],
  ["x-forwarded-client-cert", OURS], ["x-envoy-original-path", OURS], ["x-envoy-attempt-count", OURS | ATTEMPT], ["x-envoy-expected-rq-timeout-ms", OURS | EXPECTED], ["x-envoy-internal", OURS],
  ["x-envoy-external-address", OURS], ["x-envoy-decorator-operation", OURS | DECORATOR], ["x-envoy-peer-metadata", OURS], ["x-envoy-peer-metadata-id", OURS],
  ["host", FRAMING | HOST], ["content-length", FRAMING | LENGTH], ["expect", EXPECT], ["x-request-id", REQUEST_ID], ["x-forwarded-proto", PROTO], ["content-type", TYPE], ["cookie", COOKIE],
  ["x-envoy-upstream-service-time", SERVICE_TIME], ["server", SERVER], ["date", DATE], ["grpc-status", GRPC_STATUS],
]);

const marked = new NameLists();

/** Which kinds of names there are, for those who ask for one of them; `te` as it should be does not count. */
export function marksOf(fields: readonly string[]): number {
  const known = marked.recall(fields);
  if (known !== NOT_MET) return known;
  let marks = 0;
  let te = -1;
  let once = true;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const mark = MARKS.get(fields[i] ?? "");
    if (mark === undefined) continue;
    if (mark === TE) {
      once &&= te < 0;
      te = i + 1;
      if (fields[te] === "trailers") continue;
    }
    marks |= mark;
  }
  return once ? marked.remember(fields, 0, marks, te) : marks;
}

/** In place: without what is meant for one connection (RFC 9110 §7.6.1: hop-by-hop fields, what Connection names, `te` other than trailers), and without `drop`. */
function keepEndToEnd(fields: string[], drop: number): void {
  const named = namedByConnection(fields);
  let kept = 0;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    let value = fields[i + 1] ?? "";
    const mark = MARKS.get(name) ?? 0;
    if ((mark & (HOP | drop)) !== 0) continue;
    if (mark === TE) {
      if (!/(^|,)\s*trailers\s*(,|$)/i.test(value)) continue;
      value = "trailers";
    } else if (named !== undefined && named.includes(name)) continue;
    fields[kept++] = name;
    fields[kept++] = value;
  }
  while (fields.length > kept) fields.pop();
}

/** undefined: nothing that would not go anyway. */
function namedByConnection(fields: readonly string[]): readonly string[] | undefined {
  let named: string[] | undefined;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i] !== "connection") continue;
    const value = (fields[i + 1] ?? "").toLowerCase();
    if (value !== "keep-alive") named = (named ?? []).concat(value.split(",").map((o) => o.trim()));
  }
  return named;
}

/** In place. */
export function dropFirst(fields: string[], count: number): void {
  for (let i = count; i < fields.length; i++) fields[i - count] = fields[i] ?? "";
  for (let i = 0; i < count; i++) fields.pop();
}

export interface SeenFields {
  readonly fields: readonly string[];
  /** Of the names in `fields`, for `outgoingFields`. */
  readonly marks: number;
  readonly requestId: string;
  readonly https: boolean;
  readonly grpc: boolean;
}

/**
 * What policies and routes see, in place: without hop-by-hop fields (of an upgrade `connection` and `upgrade` stay) and what is ours to say; with
 * `x-request-id` and `x-forwarded-proto`. `met`: the marks of `fields`; `crumbs`: cookies may have come in pieces (HTTP/2).
 */
export function seenFields(fields: string[], met: number, upgrade: string | undefined, crumbs: boolean, newId: () => string): SeenFields {
  let marks = met;
  if (crumbs && (marks & COOKIE) !== 0 && joinCookies(fields)) marks |= UNJUDGED;
  if ((marks & (HOP | TE | OURS)) !== 0) {
    keepEndToEnd(fields, OURS);
    marks = marksOf(fields) | (marks & UNJUDGED);
  }
  if (upgrade !== undefined) {
    fields.push("connection", "upgrade", "upgrade", upgrade);
    marks |= HOP;
  }
  let requestId = (marks & REQUEST_ID) === 0 ? undefined : first(fields, "x-request-id");
  if (requestId === undefined || requestId === "") fields.push("x-request-id", (requestId = newId()));
  const https = (marks & PROTO) !== 0 && first(fields, "x-forwarded-proto") === "https";
  if ((marks & PROTO) === 0) fields.push("x-forwarded-proto", "http");
  const grpc = (marks & TYPE) !== 0 && first(fields, "content-type")?.startsWith("application/grpc") === true;
  return { fields, marks, requestId, https, grpc };
}

/** RFC 9113 §8.2.3: crumbs become one field for everybody behind, in place. False: there was one at most. */
function joinCookies(fields: string[]): boolean {
  const crumbs: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === "cookie") crumbs.push(fields[i + 1] ?? "");
  if (crumbs.length < 2) return false;
  remove(fields, "cookie");
  fields.push("cookie", crumbs.join("; "));
  return true;
}

/**
 * What of the planned fields leaves for an endpoint: the list itself where all may. `seen`: what the request came with, which a codec judged; `timed`: how long it may
 * take will be added. Undefined: a name or value (of a route, a token, a checker) that no message can carry.
 */
export function passedFields(planned: readonly string[], seen: Pick<SeenFields, "fields" | "marks">, timed: boolean, keepExpect: boolean): readonly string[] | undefined {
  const drop = FRAMING | ATTEMPT | (timed ? EXPECTED : 0) | (keepExpect ? 0 : EXPECT);
  const asCame = planned === seen.fields;
  if (asCame && (seen.marks & (HOP | TE | UNJUDGED | drop)) === 0) return planned;
  let passed = planned;
  if (((asCame ? seen.marks : marksOf(planned)) & (HOP | TE | drop)) !== 0) {
    const out = planned.slice();
    keepEndToEnd(out, drop);
    passed = out;
  }
  return canLeave(passed, seen) ? passed : undefined;
}

/** What is in `seen` in the same order was judged by a codec. */
function canLeave(passed: readonly string[], { fields, marks }: Pick<SeenFields, "fields" | "marks">): boolean {
  let at = (marks & UNJUDGED) === 0 ? 0 : fields.length;
  for (let i = 0; i + 1 < passed.length; i += 2) {
    const name = passed[i] ?? "";
    const value = passed[i + 1] ?? "";
    const found = indexOfField(fields, name, value, at);
    if (found >= 0) at = found + 2;
    else if (!isFieldName(name) || !isFieldValue(value)) return false;
  }
  return true;
}

const FIRST_ATTEMPT: readonly string[] = ["x-envoy-attempt-count", "1"];

/** What an endpoint is told besides: which attempt it is, and how long we shall wait. */
export function addedFields(attempt: number, expectedMs: number | undefined): readonly string[] {
  if (attempt === 1 && expectedMs === undefined) return FIRST_ATTEMPT;
  const added = ["x-envoy-attempt-count", String(attempt)];
  if (expectedMs !== undefined) added.push("x-envoy-expected-rq-timeout-ms", String(Math.max(1, Math.ceil(expectedMs))));
  return added;
}

function indexOfField(fields: readonly string[], name: string, value: string, from: number): number {
  for (let i = from; i + 1 < fields.length; i += 2) if (fields[i] === name && fields[i + 1] === value) return i;
  return -1;
}

/** Of an upstream's answer, as a client gets it; in place, since a codec gave it away. `met`: its marks; `more`: names and values in turn. */
export function answerFields(fields: string[], met: number, plan: ForwardPlan, serviceMs: number | undefined, more: readonly string[], serverName: string | undefined, time: Pick<EventTime, "now">): void {
  let marks = met;
  if ((marks & (HOP | TE | LENGTH | DECORATOR)) !== 0) {
    keepEndToEnd(fields, LENGTH | DECORATOR);
    if ((marks & HOP) !== 0) marks = marksOf(fields);
  }
  if (plan.answer.length > 0 || plan.cors !== undefined || more.length > 0) {
    changeAnswer(fields, plan, more);
    marks = marksOf(fields);
  }
  if (serviceMs !== undefined) put(fields, (marks & SERVICE_TIME) !== 0, "x-envoy-upstream-service-time", String(Math.round(serviceMs)));
  signAnswer(fields, marks, serverName, time);
}

/** Of an answer of our own. */
export function replyFields(reply: readonly string[], plan: ForwardPlan | undefined, serverName: string | undefined, time: Pick<EventTime, "now">): string[] {
  const fields = reply.slice();
  keepEndToEnd(fields, LENGTH | DECORATOR);
  if (plan === undefined) dropUnsendable(fields);
  else changeAnswer(fields, plan, []);
  signAnswer(fields, marksOf(fields), serverName, time);
  return fields;
}

/** As the route says, in place, and with what the choice of an endpoint adds. */
function changeAnswer(fields: string[], plan: ForwardPlan, more: readonly string[]): void {
  for (const change of plan.answer) applyChange(fields, change);
  if (plan.cors !== undefined) {
    set(fields, "access-control-allow-origin", plan.cors.origin);
    if (plan.cors.rule.credentials) set(fields, "access-control-allow-credentials", "true");
    if (plan.cors.rule.exposeHeaders.length > 0) set(fields, "access-control-expose-headers", plan.cors.rule.exposeHeaders.join(","));
  }
  dropUnsendable(fields);
  for (const text of more) fields.push(text);
}

function dropUnsendable(fields: string[]): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (!isFieldName(fields[i] ?? "") || !isFieldValue(fields[i + 1] ?? "")) fields.splice(i, 2);
}

/** What is ours to say of every answer. `marks`: of the names that are there. */
function signAnswer(fields: string[], marks: number, serverName: string | undefined, time: Pick<EventTime, "now">): void {
  if (serverName !== undefined) put(fields, (marks & SERVER) !== 0, "server", serverName);
  if ((marks & DATE) === 0) fields.push("date", dateText(time.now));
}

/** `there`: the name is among them. */
function put(fields: string[], there: boolean, name: string, value: string): void {
  if (there) set(fields, name, value);
  else fields.push(name, value);
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
export function contentLength(fields: readonly string[], marks: number): number {
  return (marks & LENGTH) === 0 ? -1 : Number(first(fields, "content-length"));
}

/** undefined: there is none. */
export function hostOf(fields: readonly string[], marks: number): string | undefined {
  return (marks & HOST) === 0 ? undefined : first(fields, "host");
}

export function expectsContinue(fields: readonly string[], marks: number): boolean {
  return (marks & EXPECT) !== 0 && first(fields, "expect")?.toLowerCase() === "100-continue";
}

/** `marks` tell where there is none. */
export function grpcStatusOf(fields: readonly string[], marks = GRPC_STATUS): number | undefined {
  if ((marks & GRPC_STATUS) === 0) return undefined;
  const value = first(fields, "grpc-status");
  return value === "0" ? 0 : value !== undefined && /^\d{1,5}$/.test(value) ? Number(value) : undefined;
}
