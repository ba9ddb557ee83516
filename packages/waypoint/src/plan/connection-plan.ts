// Owns what a configuration means for one client's connection, found once for it: a request finds its routes, its policies and the constant parts of its plan ready.
import type { Backend, Cors, Filters, HeaderChange, HttpRoute, MatchFacts, PortRoutes, RequestPolicy, RetryPolicy, RouteTable, ServiceKey, WaypointConfig, WeightedBackend } from "@ambit/core";
import type { ConnectionFacts } from "../facts.ts";
import { onRoute, policiesFor } from "./authorization.ts";
import { clientLabels } from "./match-facts.ts";
import { clientNamespace, destinationKey, isHttp, routesOf, tableOf } from "./routes.ts";
import { ownTimeouts, type EffectiveTimeouts } from "./timeouts.ts";
import type { RequestPlan } from "./request-plan.ts";

export type Goal = Extract<RequestPlan, { kind: "forward" }>["to"];

/** One way out of a route. */
export interface BackendPlan {
  readonly weighted: WeightedBackend;
  readonly goal: Goal | undefined;
  /** The rule's, then the backend's. */
  readonly filters: readonly Filters[];
  /** Some filter may change the request's head. */
  readonly changesHead: boolean;
  readonly answer: readonly HeaderChange[];
  readonly mirrors: Filters["mirrors"];
  readonly cors: Cors | undefined;
}

export interface RoutePlan {
  /** Undefined: what is not routed. */
  readonly route: HttpRoute | undefined;
  /** Those that apply, with those on the route itself. */
  readonly policies: readonly RequestPolicy[];
  readonly backends: readonly BackendPlan[];
  /** Without the client's word. */
  readonly timeouts: EffectiveTimeouts;
  readonly retry: RetryPolicy;
}

/** Of one port of one service as clients at one level see it; of all pod traffic. */
export class PortPlan {
  readonly level: "consumer" | "producer" | undefined;
  readonly routes: PortRoutes | undefined;
  readonly table: RouteTable | undefined;
  /** Without a route. */
  readonly goal: Goal;
  readonly unrouted: RoutePlan;
  readonly port: number | undefined;
  readonly #config: WaypointConfig;
  /** Only of its destination: clients of one port share this. */
  readonly #connection: ConnectionFacts;
  readonly #planned: (RoutePlan | undefined)[];

  constructor(config: WaypointConfig, connection: ConnectionFacts, service: ServiceKey | undefined, found: ReturnType<typeof routesOf>) {
    const list = found !== undefined && isHttp(found.routes) ? found.routes.routes : [];
    this.level = found?.level;
    this.routes = found?.routes;
    this.table = list.length === 0 ? undefined : tableOf(list);
    this.port = service === undefined ? undefined : connection.address.port;
    this.goal = service === undefined ? { kind: "workload" } : { kind: "service", backend: { service, port: connection.address.port, subset: undefined } };
    this.#config = config;
    this.#connection = connection;
    this.#planned = list.map(() => undefined);
    this.unrouted = this.#plan(undefined);
  }

  /** Of the route at this index. */
  route(at: number): RoutePlan {
    const known = this.#planned[at];
    if (known !== undefined) return known;
    const route = this.routes !== undefined && isHttp(this.routes) ? this.routes.routes[at] : undefined;
    return route === undefined ? this.unrouted : (this.#planned[at] = this.#plan(route));
  }

  #plan(route: HttpRoute | undefined): RoutePlan {
    return {
      route, policies: policiesFor(this.#config.policies, this.#connection, onRoute(route)), backends: route?.action.kind === "forward" ? backendsOf(route, route.action.backends) : [],
      timeouts: ownTimeouts(route?.timeouts ?? { requestMs: undefined, attemptMs: undefined }), retry: route?.retry ?? this.#config.defaultRetry,
    };
  }
}

function backendsOf({ filters: ofRule }: HttpRoute, backends: readonly WeightedBackend[]): BackendPlan[] {
  return backends.map((weighted) => {
    const filters = [ofRule, weighted.filters];
    return {
      weighted, filters, goal: weighted.kind === "service" ? goalOf(weighted.backend) : undefined, changesHead: filters.some((f) => f.request !== undefined || f.rewrite !== undefined),
      answer: filters.flatMap((f) => f.response ?? []), mirrors: filters.flatMap((f) => f.mirrors), cors: weighted.filters.cors ?? ofRule.cors,
    };
  });
}

const goalOf = (backend: Backend): Goal => ({ kind: "service", backend });

export interface ConnectionPlan {
  readonly config: WaypointConfig;
  readonly port: PortPlan;
  readonly source: NonNullable<MatchFacts["source"]>;
}

/** Plans kept of one service: it has few ports and few client namespaces with routes of their own, but a client may dial whatever port it likes. */
const PORTS_MAX = 256;
/** By configuration, then by service; undefined: pod traffic, which meets neither routes nor what is attached to a service. */
const portPlans = new WeakMap<WaypointConfig, Map<ServiceKey | undefined, PortPlan[]>>();

/** Configuration and facts of a connection never change, so this is made once for both. */
export function planConnection(config: WaypointConfig, connection: ConnectionFacts): ConnectionPlan {
  return { config, port: portPlanOf(config, connection), source: { namespace: clientNamespace(connection), labels: clientLabels(config, { connection }) } };
}

function portPlanOf(config: WaypointConfig, connection: ConnectionFacts): PortPlan {
  let byService = portPlans.get(config);
  if (byService === undefined) portPlans.set(config, (byService = new Map()));
  const service = destinationKey(connection);
  let known = byService.get(service);
  if (known === undefined) byService.set(service, (known = []));
  const found = routesOf(config, connection);
  const port = service === undefined ? undefined : connection.address.port;
  for (const plan of known) if (plan.port === port && plan.routes === found?.routes && plan.level === found?.level) return plan;
  const plan = new PortPlan(config, connection, service, found);
  if (known.length >= PORTS_MAX) known.length = 0;
  known.push(plan);
  return plan;
}
