// Owns the head of a request as it leaves: what is taken out, what is changed by filters, what is added.
import {
  authorityOf, changeFields, fieldValue, formatIdentity, rewritePath, targetOf, withField, withoutFields, ok,
  type Filters, type PathMatch, type Result, type RequestTarget, type WaypointConfig,
} from "@ambit/core";
import { NameLists, NOT_MET } from "@ambit/http";
import type { RequestFacts } from "../facts.ts";
import type { OutgoingHead } from "./request-plan.ts";

const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "proxy-authenticate", "proxy-authorization", "http2-settings", "trailer", "host"]);
/** What only proxies of the mesh may say, and would let a client steer or impersonate: gone at the first hop, wherever it came from. */
const FORGEABLE = new Set([
  "x-forwarded-client-cert", "x-istio-source", "x-forwarded-network", "x-envoy-original-path", "x-envoy-original-host", "x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms",
  "x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response", "x-envoy-hedge-on-per-try-timeout", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-stream-duration-ms",
  "x-envoy-internal", "x-envoy-ip-tags", "x-envoy-force-trace", "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node", "x-envoy-auth-partial-body",
]);

/** One reader takes the first of two, another the last (S5): with these that is a way round whoever judged the other. */
const ONCE = ["authorization", "content-length", "content-type", "host"];

/** What a look over a request's names saw, so that nobody has to search for what is not there. */
export const SAW = { repeated: 1, endsHere: 2, te: 4, forwardedFor: 8, forwardedProto: 16, origin: 32, grpcTimeout: 64 } as const;
/** Bits of those in `ONCE` come above. */
const ONCE_SHIFT = 8;
const ONCE_BITS = ((1 << ONCE.length) - 1) << ONCE_SHIFT;

const MARKS: ReadonlyMap<string, number> = (() => {
  const marks = new Map<string, number>();
  const mark = (name: string, bit: number): void => void marks.set(name, (marks.get(name) ?? 0) | bit);
  for (const name of [...HOP_BY_HOP, ...FORGEABLE]) mark(name, name === "te" ? SAW.te : SAW.endsHere);
  for (const [i, name] of ONCE.entries()) mark(name, 1 << (ONCE_SHIFT + i));
  mark("x-forwarded-for", SAW.forwardedFor);
  mark("x-forwarded-proto", SAW.forwardedProto);
  mark("origin", SAW.origin);
  mark("grpc-timeout", SAW.grpcTimeout);
  return marks;
})();

const surveyed = new NameLists();

/** Bits of `SAW`. Every request comes here. */
export function surveyFields(fields: readonly string[]): number {
  const known = surveyed.recall(fields);
  if (known !== NOT_MET) return known;
  let seen = 0;
  let te = -1;
  let once = true;
  for (let i = 0; i < fields.length; i += 2) {
    const mark = MARKS.get(fields[i] ?? "");
    if (mark === undefined) continue;
    if ((seen & mark & ONCE_BITS) !== 0) seen |= SAW.repeated;
    if (mark === SAW.te) {
      once &&= te < 0;
      te = i + 1;
      // It may be as it should be already.
      if (!once || fields[te] !== "trailers") seen |= SAW.endsHere;
    }
    seen |= mark;
  }
  return once ? surveyed.remember(fields, 0, seen, te) : seen;
}

/** The name of a field that may come once and came twice. */
export const repeatedField = (fields: readonly string[]): string | undefined => fields.find((name, i) => i % 2 === 0 && ONCE.includes(name) && firstLine(fields, name) < i);
const firstLine = (fields: readonly string[], name: string): number => fields.findIndex((n, i) => i % 2 === 0 && n === name);

/** The client's fields without what ends at this hop; `te: trailers` stays (RFC 9110 §10.1.4). */
export function incomingFields(fields: readonly string[], saw = surveyFields(fields)): readonly string[] {
  if ((saw & SAW.endsHere) === 0) return fields;
  const connection = fieldValue(fields, "connection");
  const named = connection === undefined ? undefined : new Set(connection.toLowerCase().split(",").map((n) => n.trim()));
  const kept = withoutFields(fields, (name) => HOP_BY_HOP.has(name) || FORGEABLE.has(name) || named?.has(name) === true);
  const te = fieldValue(fields, "te");
  if (te !== undefined && /(?:^|,)\s*trailers\s*(?:$|,|;)/i.test(te)) kept.push("te", "trailers");
  return kept;
}

/** An upgrade ends at this hop and is made anew at the next, but routes and policies may ask for it. */
export const withUpgrade = (fields: readonly string[], upgrade: string | undefined): readonly string[] => (upgrade === undefined ? fields : [...fields, "connection", "upgrade", "upgrade", upgrade]);

/** Done in order to the request: rewrites of the rule, then of the backend; header changes likewise. `matched`: what the route matched by. */
export function applyFilters(head: OutgoingHead, target: RequestTarget, filters: readonly Filters[], matched: PathMatch | undefined): Result<OutgoingHead, string> {
  let { authority, fields } = head;
  let { path } = target;
  for (const { request, rewrite } of filters) {
    if (rewrite?.path !== undefined) {
      const rewritten = rewritePath(rewrite.path, matched, path);
      if (!rewritten.ok) return rewritten;
      path = rewritten.value;
    }
    if (rewrite?.hostname !== undefined) authority = rewrite.hostname;
    if (request !== undefined) {
      fields = changeFields(fields, request);
      authority = authorityOf(request) ?? authority;
    }
  }
  if (path !== target.path) fields = withField(fields, "x-envoy-original-path", targetOf(target.path, target.query));
  return ok({ ...head, authority, fields, target: targetOf(path, target.query) });
}

/** What the application behind is told of the client. `saw`: of the request as it came; where fields were changed since, they are looked at again. */
export function withClient(config: WaypointConfig, { connection, scheme, fields: came }: RequestFacts, fields: readonly string[], saw: number): readonly string[] {
  const known = fields === came ? (saw & SAW.forwardedProto) !== 0 : fieldValue(fields, "x-forwarded-proto") !== undefined;
  const told = known ? fields : [...fields, "x-forwarded-proto", scheme];
  return config.ownIdentity === undefined ? told : [...told, "x-forwarded-client-cert", `By=${formatIdentity(config.ownIdentity)};URI=${formatIdentity(connection.peer)}`];
}
