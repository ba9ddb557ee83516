// Owns the head of a request as it leaves: what is taken out, what is changed by filters, what is added.
import {
  authorityOf, changeFields, fieldValue, formatIdentity, rewritePath, targetOf, withField, withoutFields, ok,
  type Filters, type PathMatch, type Result, type RequestTarget, type WaypointConfig,
} from "@ambit/core";
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
const ONCE: ReadonlyMap<string, number> = new Map(["authorization", "content-length", "content-type", "host"].map((name, i) => [name, 1 << i]));

/** The name of a field that may come once and came twice. */
export function repeatedField(fields: readonly string[]): string | undefined {
  let seen = 0;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const bit = ONCE.get(name);
    if (bit === undefined) continue;
    if ((seen & bit) !== 0) return name;
    seen |= bit;
  }
  return undefined;
}

/** Nearly no request has any: then nothing is copied. `te` may be as it should be already. */
const endsHere = (name: string, i: number, fields: readonly string[]): boolean =>
  i % 2 === 0 && (HOP_BY_HOP.has(name) || FORGEABLE.has(name)) && !(name === "te" && fields[i + 1] === "trailers" && fields.indexOf("te", i + 2) < 0);

/** The client's fields without what ends at this hop; `te: trailers` stays (RFC 9110 §10.1.4). */
export function incomingFields(fields: readonly string[]): readonly string[] {
  if (!fields.some(endsHere)) return fields;
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

/** What the application behind is told of the client. */
export function withClient(config: WaypointConfig, { connection, scheme }: RequestFacts, fields: readonly string[]): readonly string[] {
  const told = fieldValue(fields, "x-forwarded-proto") === undefined ? [...fields, "x-forwarded-proto", scheme] : fields;
  return config.ownIdentity === undefined ? told : [...told, "x-forwarded-client-cert", `By=${formatIdentity(config.ownIdentity)};URI=${formatIdentity(connection.peer)}`];
}
