// Owns the order in which the rules of one level are tried: the one place that asks core for it (gateway-conformance.md §5).
import type { HttpRoute } from "@ambit/core";

export const inPrecedence = (routes: readonly HttpRoute[]): HttpRoute[] => routes.toSorted(compare);

function compare(a: HttpRoute, b: HttpRoute): number {
  const rank = (r: HttpRoute): number[] => {
    const { path, grpc, method, headers, query } = r.match;
    const kind = path === undefined ? 0 : path.kind === "exact" ? 3 : path.kind === "regex" ? 2 : 1;
    return [kind, path?.value.length ?? 0, grpc?.service?.length ?? 0, grpc?.method?.length ?? 0, method === undefined ? 0 : 1, headers.length, query.length, -r.origin.createdAt];
  };
  const [x, y] = [rank(a), rank(b)];
  for (const [i, value] of x.entries()) if (value !== y[i]) return (y[i] ?? 0) - value;
  const name = (r: HttpRoute): string => `${r.origin.namespace}/${r.origin.name}`;
  return name(a) !== name(b) ? (name(a) < name(b) ? -1 : 1) : a.origin.rule - b.origin.rule || a.origin.match - b.origin.match;
}
