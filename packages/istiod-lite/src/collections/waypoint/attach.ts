// Owns which routes a service's ports have: levels, ports, and the one kind that wins (gateway-conformance.md §4).
import type { Context, Collection, Index } from "@ambit/collections";
import { compareGrpcRoutes, compareHttpRoutes, compareTcpRoutes, type PortRoutes, type ServicePort, type ServiceRoutes } from "@ambit/core";
import type { ServiceInfo } from "../services.ts";
import { parentKey, type ParentRef } from "./parents.ts";
import type { Objection, RouteInfo, RouteKind } from "./routes.ts";

export interface Attachments {
  /** The service's. */
  readonly key: string;
  readonly routes: ServiceRoutes;
  /** By `outcomeKey`: what became of each parent reference; missing: accepted. */
  readonly objections: ReadonlyMap<string, Objection>;
}

export const outcomeKey = (route: RouteInfo, parent: number): string => `${route.key}#${parent}`;

export interface AttachInputs {
  readonly routes: Collection<RouteInfo>;
  /** Value: `parentKey`. */
  readonly routesByParent: Index<RouteInfo>;
}

export function attachmentsOf(inputs: AttachInputs) {
  return (ctx: Context, s: ServiceInfo): Attachments | undefined => {
    const self = `${s.owner.kind}/${s.owner.namespace}/${s.owner.name}`;
    const routes = ctx.fetch(inputs.routes, { index: [inputs.routesByParent, self] });
    return routes.length === 0 ? undefined : attach(s, self, routes);
  };
}

/** First wins. */
const KINDS: readonly RouteKind[] = ["GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"];
/** Where a reference without a port leads: not to ports that declare another protocol. */
const FITTING: Readonly<Record<RouteKind, readonly ServicePort["appProtocol"][]>> = {
  HTTPRoute: ["http11", "http2", "grpc", "unknown"], GRPCRoute: ["http11", "http2", "grpc", "unknown"],
  TLSRoute: ["tls", "tcp", "unknown"], TCPRoute: ["http11", "http2", "grpc", "tls", "tcp", "unknown"],
};

interface Claim { readonly route: RouteInfo; readonly parent: number; readonly ports: readonly number[] }

function attach(s: ServiceInfo, self: string, routes: readonly RouteInfo[]): Attachments {
  const objections = new Map<string, Objection>();
  const levels = new Map<string, Claim[]>();
  for (const route of routes)
    for (const [parent, ref] of route.parents.entries()) {
      if (parentKey(ref) !== self) continue;
      const ports = portsOf(s, route.kind, ref);
      if (!Array.isArray(ports)) { objections.set(outcomeKey(route, parent), ports as Objection); continue; }
      // A route elsewhere is its own namespace's view of the service; only the service's namespace speaks for everybody.
      const level = route.namespace === s.service.namespace ? "" : route.namespace;
      levels.set(level, [...(levels.get(level) ?? []), { route, parent, ports: ports as readonly number[] }]);
    }
  const byLevel = new Map([...levels].sort(([a], [b]) => (a < b ? -1 : 1)).map(([level, claims]) => [level, levelRoutes(claims, objections)] as const));
  return {
    key: s.key, objections,
    routes: { producer: byLevel.get("") ?? new Map(), consumers: new Map([...byLevel].filter(([level, ports]) => level !== "" && ports.size > 0)) },
  };
}

function portsOf(s: ServiceInfo, kind: RouteKind, ref: ParentRef): readonly number[] | Objection {
  if (s.owner.kind === "Service" && s.service.vips.length === 0)
    return { reason: "NoMatchingParent", message: `Service ${s.owner.namespace}/${s.owner.name} has no cluster IP: routes attach to what clients connect to` };
  const named = s.ports.filter((p) => p.tcp && (ref.port === undefined || p.port === ref.port) && (ref.sectionName === undefined || p.name === ref.sectionName)).map((p) => p.port);
  const which = [ref.port === undefined ? "" : `port ${ref.port}`, ref.sectionName === undefined ? "" : `port name ${ref.sectionName}`].filter((t) => t !== "").join(" and ");
  if (named.length === 0) return { reason: "NoMatchingParent", message: which === "" ? `${s.owner.kind} ${s.owner.namespace}/${s.owner.name} has no TCP port` : `${s.owner.kind} ${s.owner.namespace}/${s.owner.name} has no ${which}` };
  const fitting = named.filter((p) => FITTING[kind].includes(s.service.ports.get(p)?.appProtocol ?? "unknown"));
  if (fitting.length > 0) return fitting;
  return { reason: "UnsupportedValue", message: `${which === "" ? "every port" : which} of ${s.owner.kind} ${s.owner.namespace}/${s.owner.name} declares a protocol that ${kind} is not for: see its appProtocol` };
}

/** On every port the first kind wins; a reference that wins nowhere is in conflict. */
function levelRoutes(claims: readonly Claim[], objections: Map<string, Objection>): Map<number, PortRoutes> {
  const out = new Map<number, PortRoutes>();
  const winners = new Map<number, RouteKind>();
  for (const port of [...new Set(claims.flatMap((c) => c.ports))].sort((a, b) => a - b)) {
    const here = claims.filter((c) => c.ports.includes(port));
    const kind = KINDS.find((k) => here.some((c) => c.route.kind === k)) ?? "HTTPRoute";
    winners.set(port, kind);
    const routes = [...new Set(here.map((c) => c.route))].filter((r) => r.kind === kind);
    out.set(port, kind === "TLSRoute" || kind === "TCPRoute"
      ? { kind: kind === "TLSRoute" ? "tls" : "tcp", routes: routes.flatMap((r) => r.tcp).sort(compareTcpRoutes) }
      : { kind: kind === "GRPCRoute" ? "grpc" : "http", routes: routes.flatMap((r) => r.http).sort(kind === "GRPCRoute" ? compareGrpcRoutes : compareHttpRoutes), fallThrough: false });
  }
  for (const c of claims) {
    const rival = c.ports.map((p) => winners.get(p)).find((k) => k !== c.route.kind);
    if (rival !== undefined && c.ports.every((p) => winners.get(p) !== c.route.kind))
      objections.set(outcomeKey(c.route, c.parent), { reason: "Conflicted", message: `a ${rival} has the same ports: only one kind of route applies to a port` });
  }
  return out;
}
