// Owns which VirtualServices a service's ports have at one waypoint, beside or behind Gateway API routes (l7-traffic.md §1).
import type { Collection, Context, Index } from "@ambit/collections";
import type { Backend, HttpRoute, PortRoutes, RouteAction, ServicePort, ServiceRoutes, TcpRoute, WeightedBackend } from "@ambit/core";
import type { ServiceInfo } from "../services.ts";
import { forHost } from "./istio-hosts.ts";
import { SAME_PORT, type OnPort, type VirtualServiceInfo } from "./virtual-service.ts";

export interface VirtualServiceInputs {
  readonly virtualServices: Collection<VirtualServiceInfo>;
  /** Value: host, or WILDCARD_HOSTS. */
  readonly virtualServicesByHost: Index<VirtualServiceInfo>;
}

/** Only the service's and the waypoint's namespaces speak; several of them follow each other, oldest first. */
export const virtualServicesFor = (ctx: Context, inputs: VirtualServiceInputs, s: ServiceInfo, waypointNamespace: string): VirtualServiceInfo[] =>
  forHost(ctx, inputs.virtualServices, inputs.virtualServicesByHost, s.service.hostname, waypointNamespace, [s.service.namespace, waypointNamespace]);

const HTTP_PORTS: readonly ServicePort["appProtocol"][] = ["http11", "http2", "grpc", "unknown"];

/** A port that has Gateway API routes keeps them; on others VirtualServices speak. */
export function withVirtualServices(routes: ServiceRoutes, s: ServiceInfo, all: readonly VirtualServiceInfo[]): ServiceRoutes {
  if (all.length === 0) return routes;
  const producer = new Map(routes.producer);
  for (const { port, tcp } of s.ports) {
    if (!tcp || producer.has(port)) continue;
    const own = portRoutes(s, all, port);
    if (own !== undefined) producer.set(port, own);
  }
  return { producer: new Map([...producer].sort(([a], [b]) => a - b)), consumers: routes.consumers };
}

/** Ports on which Gateway API routes keep VirtualServices from speaking. */
export const overruledPorts = (routes: ServiceRoutes | undefined, s: ServiceInfo): number[] => s.ports.filter((p) => p.tcp && routes?.producer.has(p.port) === true).map((p) => p.port);

/** The order is the user's: nothing is sorted. No match is a 404, as in Istio: who wants the rest writes a last route. */
function portRoutes(s: ServiceInfo, all: readonly VirtualServiceInfo[], port: number): PortRoutes | undefined {
  const protocol = s.service.ports.get(port)?.appProtocol ?? "unknown";
  const here = <T>(list: readonly OnPort<T>[]): T[] => list.filter((r) => r.port === undefined || r.port === port).map((r) => r.route);
  const http = HTTP_PORTS.includes(protocol) ? all.flatMap((v) => here(v.http)) : [];
  if (http.length > 0) return { kind: "http", routes: http.map((r) => onPort(r, port)), fallThrough: false };
  const tls = protocol === "tls" || protocol === "unknown" ? all.flatMap((v) => here(v.tls)) : [];
  if (tls.length > 0) return { kind: "tls", routes: tls.map((r) => tcpOnPort(r, port)) };
  const tcp = all.flatMap((v) => here(v.tcp));
  return tcp.length > 0 ? { kind: "tcp", routes: tcp.map((r) => tcpOnPort(r, port)) } : undefined;
}

const backendOn = (b: Backend, port: number): Backend => (b.port === SAME_PORT ? { ...b, port } : b);
const weighted = (b: WeightedBackend, port: number): WeightedBackend => (b.kind === "service" ? { ...b, backend: backendOn(b.backend, port) } : b);
const tcpOnPort = (r: TcpRoute, port: number): TcpRoute => ({ ...r, backends: r.backends.map((b) => weighted(b, port)) });

function onPort(r: HttpRoute, port: number): HttpRoute {
  const action: RouteAction = r.action.kind === "forward" ? { ...r.action, backends: r.action.backends.map((b) => weighted(b, port)) } : r.action;
  return { ...r, action, filters: { ...r.filters, mirrors: r.filters.mirrors.map((m) => ({ ...m, backend: backendOn(m.backend, port) })) } };
}
