// Owns which routes a request meets (level, port) and which of them it takes.
import { failingDemand, matchRequest, serviceKey, type HttpRoute, type MatchFacts, type PortRoutes, type ServiceKey, type WaypointConfig } from "@ambit/core";
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

export type RouteChoice =
  | { readonly kind: "route"; readonly route: HttpRoute }
  /** No route decides: the service itself. */
  | { readonly kind: "service" }
  | { readonly kind: "none" };

/** The first route that matches. Nothing matches: no way, unless the routes leave the rest to the service (VirtualService). */
export function chooseRoute(routes: PortRoutes | undefined, facts: MatchFacts, because: Because[] | undefined): RouteChoice {
  if (routes === undefined || !isHttp(routes)) {
    because?.push({ step: "route", saw: routes === undefined ? "no routes on this port" : `${routes.kind} routes`, chose: "the service itself" });
    return { kind: "service" };
  }
  if (routes.kind === "grpc" && !facts.grpc) {
    because?.push({ step: "route", saw: "GRPCRoutes and a request that is not gRPC", chose: "nothing matches" });
    return { kind: "none" };
  }
  let route: HttpRoute | undefined;
  for (const r of routes.routes) if (matchRequest(r.match, facts)) { route = r; break; }
  if (route !== undefined) {
    because?.push({ step: "route", saw: `${facts.method} ${facts.path}`, chose: describeOrigin(route) });
    return { kind: "route", route };
  }
  because?.push({ step: "route", saw: `${routes.routes.length} matches, none holds`, chose: routes.fallThrough ? "the service itself" : "nothing matches" });
  return { kind: routes.fallThrough ? "service" : "none" };
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
