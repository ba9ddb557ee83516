// Owns how the routes of a VirtualService without hosts become part of those that delegate to it (l7-traffic.md §1).
import type { Collection, Context } from "@ambit/collections";
import type { HttpRoute, PathMatch, RequestMatch } from "@ambit/core";
import { NO_FILTERS } from "./filters.ts";
import { isExported } from "./istio-hosts.ts";
import type { Delegation, OnPort, VirtualServiceInfo } from "./virtual-service.ts";
import type { VsMatch } from "./vs-match.ts";

/** `all`: as written. One level: a delegate that delegates again is not followed, as in Istio. */
export function withDelegates(all: Collection<VirtualServiceInfo>) {
  return (ctx: Context, v: VirtualServiceInfo): VirtualServiceInfo => {
    if (v.delegations.length === 0) return v;
    const http: OnPort<HttpRoute>[] = [];
    const missing = [...v.missing];
    let at = 0;
    for (const d of v.delegations) {
      http.push(...v.http.slice(at, d.before));
      at = d.before;
      const other = ctx.fetchOne(all, { key: d.to });
      const usable = other !== undefined && other.hosts.length === 0 && isExported(other, v.namespace);
      if (usable) { http.push(...delegated(d, other)); continue; }
      const why = other === undefined ? `VirtualService ${d.to} does not exist` : other.hosts.length > 0 ? `VirtualService ${d.to} has hosts of its own` : `VirtualService ${d.to} is not exported to namespace ${v.namespace}`;
      missing.push(`${d.path}.delegate: ${why}`);
      // What was meant for it must not fall to whoever comes next.
      http.push(...d.matches.map(({ match, port }, i): OnPort<HttpRoute> => ({
        port, route: { origin: { ...d.origin, match: i }, match, action: { kind: "fail", status: 500, why }, filters: NO_FILTERS, timeouts: { requestMs: undefined, attemptMs: undefined }, retry: undefined, fault: undefined, session: undefined },
      })));
    }
    return { ...v, http: [...http, ...v.http.slice(at)], missing, delegations: [] };
  };
}

/** Both must hold. Where both speak of the path, the delegate's must lie within the other's, or they never meet. */
function delegated(d: Delegation, other: VirtualServiceInfo): OnPort<HttpRoute>[] {
  return other.http.flatMap((inner) => d.matches.flatMap((outer): OnPort<HttpRoute>[] => {
    if (outer.port !== undefined && inner.port !== undefined && outer.port !== inner.port) return [];
    const match = both(outer, inner.route.match);
    return match === undefined ? [] : [{ port: outer.port ?? inner.port, route: { ...inner.route, match } }];
  }));
}

function both({ match: outer }: VsMatch, inner: RequestMatch): RequestMatch | undefined {
  if (outer.path !== undefined && inner.path !== undefined && !within(outer.path, inner.path)) return undefined;
  if (outer.sourceNamespace !== undefined && inner.sourceNamespace !== undefined && outer.sourceNamespace !== inner.sourceNamespace) return undefined;
  for (const [k, v] of Object.entries(outer.sourceLabels)) if (Object.hasOwn(inner.sourceLabels, k) && inner.sourceLabels[k] !== v) return undefined;
  // Of two demands on the method the narrower one would have to be found out: they must be the same.
  if (outer.method !== undefined && inner.method !== undefined && JSON.stringify(outer.method) !== JSON.stringify(inner.method)) return undefined;
  return {
    path: inner.path ?? outer.path, method: inner.method ?? outer.method, grpc: undefined, headers: [...outer.headers, ...inner.headers], query: [...outer.query, ...inner.query],
    sourceNamespace: inner.sourceNamespace ?? outer.sourceNamespace, sourceLabels: { ...outer.sourceLabels, ...inner.sourceLabels }, claims: [...outer.claims, ...inner.claims],
  };
}

const within = (outer: PathMatch, inner: PathMatch): boolean =>
  (outer.kind === "prefix" && inner.kind !== "regex" && inner.value.startsWith(outer.value)) || (outer.kind === inner.kind && outer.value === inner.value);
