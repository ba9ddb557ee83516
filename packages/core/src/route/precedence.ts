// Owns which of several routes wins: the total order of Gateway API (HTTPRoute, GRPCRoute), match by match.
// VirtualService routes are not sorted by this: their list is their order.
import type { PathMatch, RequestMatch } from "./match.ts";
import type { HttpRoute, RouteOrigin, TcpRoute } from "./route.ts";
import { compareHostnames } from "./hostname.ts";

/**
 * Negative: `a` is tried first. Exact path, then regex by length of the pattern (ours: Gateway API leaves it open), then prefix by length;
 * a method; number of headers; number of query parameters; older object; `namespace/name`; the order in the object.
 */
export function compareHttpRoutes(a: Pick<HttpRoute, "match" | "origin">, b: Pick<HttpRoute, "match" | "origin">): number {
  return comparePaths(a.match.path, b.match.path)
    || Number(b.match.method !== undefined) - Number(a.match.method !== undefined)
    || distinctNames(b.match.headers) - distinctNames(a.match.headers)
    || distinctNames(b.match.query) - distinctNames(a.match.query)
    || compareOrigins(a.origin, b.origin);
}

/** Exact method match before regex; characters of the service, of the method, number of headers, then as above. */
export function compareGrpcRoutes(a: Pick<HttpRoute, "match" | "origin">, b: Pick<HttpRoute, "match" | "origin">): number {
  const regex = (m: RequestMatch): number => Number(m.grpc?.kind === "regex");
  return (b.match.grpc?.service?.length ?? 0) - (a.match.grpc?.service?.length ?? 0)
    || (b.match.grpc?.method?.length ?? 0) - (a.match.grpc?.method?.length ?? 0)
    || regex(a.match) - regex(b.match)
    || distinctNames(b.match.headers) - distinctNames(a.match.headers)
    || compareOrigins(a.origin, b.origin);
}

/** TLSRoute: the most specific of its names; a route without names is the last. Ties as above; of TCPRoutes only the first carries traffic. */
export function compareTcpRoutes(a: Pick<TcpRoute, "sniHosts" | "origin">, b: Pick<TcpRoute, "sniHosts" | "origin">): number {
  const best = (hosts: readonly string[]): string | undefined => [...hosts].sort(compareHostnames)[0];
  const [x, y] = [best(a.sniHosts), best(b.sniHosts)];
  if (x === undefined || y === undefined) return Number(x === undefined) - Number(y === undefined) || compareOrigins(a.origin, b.origin);
  return compareHostnames(x, y) || compareOrigins(a.origin, b.origin);
}

/** Older first; then `namespace/name`, then the kind; inside one object the order of rules and of matches. */
export function compareOrigins(a: RouteOrigin, b: RouteOrigin): number {
  return a.createdAt - b.createdAt
    || text(`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`)
    || text(a.kind, b.kind)
    || a.rule - b.rule
    || a.match - b.match;
}

const RANK: Readonly<Record<PathMatch["kind"], number>> = { exact: 0, regex: 1, "path-prefix": 2, prefix: 2 };
const EVERYTHING: PathMatch = { kind: "path-prefix", value: "/", ignoreCase: false };

function comparePaths(a: PathMatch = EVERYTHING, b: PathMatch = EVERYTHING): number {
  return RANK[a.kind] - RANK[b.kind] || b.value.length - a.value.length;
}

/** Of equal names in one match only the first counts. */
const distinctNames = (list: readonly { readonly name: string }[]): number => new Set(list.map((x) => x.name)).size;
const text = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
