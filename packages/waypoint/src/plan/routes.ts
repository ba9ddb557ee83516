// Owns which routes a request meets (level, port) and which of them it takes.
import { failingDemand, RouteTable, serviceKey, type HttpRoute, type MatchFacts, type PortRoutes, type ServiceKey, type WaypointConfig } from "@ambit/core";
import type { ConnectionFacts } from "../facts.ts";
import type { Because } from "./request-plan.ts";

export const destinationKey = (connection: ConnectionFacts): ServiceKey | undefined =>
  connection.destination.kind === "service" ? serviceKey(connection.destination.service.namespace, connection.destination.service.hostname) : undefined;

/**
 * Levels do not chain: a client namespace with routes of its own for this port uses only those, everybody else the producer's. undefined: the
 * service itself (no routes, or pod traffic, which has none).
 */
export function routesOf(config: WaypointConfig, connection: ConnectionFacts): { readonly level: "consumer" | "producer"; readonly routes: PortRoutes } | undefined {
  const key = destinationKey(connection);
  const routes = key === undefined ? undefined : config.services.get(key);
  if (routes === undefined) return undefined;
  const { port } = connection.address;
  const consumer = routes.consumers.get(clientNamespace(connection))?.get(port);
  if (consumer !== undefined) return { level: "consumer", routes: consumer };
  const producer = routes.producer.get(port);
  return producer && { level: "producer", routes: producer };
}

/** Of the client itself; behind a proxy that forwards for it, of the workload that has the address. */
export const clientNamespace = (connection: ConnectionFacts): string => connection.sourceWorkload?.namespace ?? connection.peer.namespace;

export const isHttp = (routes: PortRoutes): routes is Extract<PortRoutes, { kind: "http" | "grpc" }> => routes.kind === "http" || routes.kind === "grpc";

/** Tables by the list that they are of, which belongs to a configuration and never changes. */
const tables = new WeakMap<readonly HttpRoute[], RouteTable>();

export function tableOf(routes: readonly HttpRoute[]): RouteTable {
  let table = tables.get(routes);
  if (table === undefined) tables.set(routes, (table = new RouteTable(routes.map((r) => r.match))));
  return table;
}

export type RouteChoice =
  | { readonly kind: "route"; readonly route: HttpRoute }
  /** No route decides: the service itself. */
  | { readonly kind: "service" }
  | { readonly kind: "none" };

/** What `findRoute` says where no route is taken. */
export const THE_SERVICE = -1;
export const NOTHING = -2;

/** Index of the first route that matches. Nothing matches: no way, unless the routes leave the rest to the service (VirtualService). */
export function findRoute(routes: PortRoutes | undefined, table: RouteTable | undefined, facts: MatchFacts, because: Because[] | undefined): number {
  if (routes === undefined || !isHttp(routes)) {
    because?.push({ step: "route", saw: routes === undefined ? "no routes on this port" : `${routes.kind} routes`, chose: "the service itself" });
    return THE_SERVICE;
  }
  if (routes.kind === "grpc" && !facts.grpc) {
    because?.push({ step: "route", saw: "GRPCRoutes and a request that is not gRPC", chose: "nothing matches" });
    return NOTHING;
  }
  const at = (table ?? tableOf(routes.routes)).find(facts);
  const route = routes.routes[at];
  if (route !== undefined) {
    because?.push({ step: "route", saw: `${facts.method} ${facts.path}`, chose: describeOrigin(route) });
    return at;
  }
  because?.push({ step: "route", saw: `${routes.routes.length} matches, none holds`, chose: routes.fallThrough ? "the service itself" : "nothing matches" });
  return routes.fallThrough ? THE_SERVICE : NOTHING;
}

/** The same, as the route itself. */
export function chooseRoute(routes: PortRoutes | undefined, facts: MatchFacts, because: Because[] | undefined): RouteChoice {
  const at = findRoute(routes, undefined, facts, because);
  const route = routes !== undefined && isHttp(routes) ? routes.routes[at] : undefined;
  return route !== undefined ? { kind: "route", route } : { kind: at === THE_SERVICE ? "service" : "none" };
}

export const describeOrigin = ({ origin }: Pick<HttpRoute, "origin">): string =>
  `${origin.kind} ${origin.namespace}/${origin.name} rule ${origin.ruleName ?? origin.rule} match ${origin.match}`;

/** Why each route before the chosen one was passed over. */
export function explainMisses(routes: readonly HttpRoute[], facts: MatchFacts): string[] {
  const lines: string[] = [];
  for (const route of routes) {
    const failing = failingDemand(route.match, facts);
    if (failing === undefined) break;
    lines.push(`${describeOrigin(route)} wants ${failing}`);
  }
  return lines;
}
