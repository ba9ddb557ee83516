// Owns the assembly of one waypoint's configuration from the parts that are derived for it (ADR 0025).
import type { Collection, Context, Index } from "@ambit/collections";
import type { RequestAuthentication, RequestPolicy, ServiceKey, ServiceRoutes, WaypointConfig } from "@ambit/core";
import type { ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";
import type { Attachments } from "./attach.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { EVERY_WAYPOINT } from "./policy-target.ts";
import type { AttachedPolicy } from "./request-policy.ts";
import type { WaypointGateway } from "./scope.ts";

/** One waypoint's configuration, and who may have it. */
export interface WaypointResource {
  /** `namespace/name`. */
  readonly key: string;
  readonly serviceAccount: string;
  readonly config: WaypointConfig;
}

export interface ConfigInputs {
  readonly settings: Settings;
  readonly options: (ctx: Context) => MeshOptions;
  readonly services: Collection<ServiceInfo>;
  /** Value: key of a waypoint. */
  readonly servicesByWaypoint: Index<ServiceInfo>;
  readonly attachments: Collection<Attachments>;
  readonly policies: Collection<AttachedPolicy<RequestPolicy>>;
  /** Value: key of a waypoint, or `*` and a class. */
  readonly policiesByWaypoint: Index<AttachedPolicy<RequestPolicy>>;
  readonly authentications: Collection<AttachedPolicy<RequestAuthentication>>;
  /** The same. */
  readonly authenticationsByWaypoint: Index<AttachedPolicy<RequestAuthentication>>;
}

const NO_ROUTES: ServiceRoutes = { producer: new Map(), consumers: new Map() };

export function configOf(inputs: ConfigInputs) {
  return (ctx: Context, g: WaypointGateway): WaypointResource => {
    const options = inputs.options(ctx);
    const services = new Map<ServiceKey, ServiceRoutes>();
    for (const s of ctx.fetch(inputs.services, { index: [inputs.servicesByWaypoint, g.key] }))
      services.set(s.key, ctx.fetchOne(inputs.attachments, { key: s.key })?.routes ?? NO_ROUTES);
    return {
      key: g.key, serviceAccount: g.serviceAccount,
      config: {
        namespace: g.namespace, name: g.name, serves: g.serves, trustDomain: inputs.settings.trustDomain, trustDomainAliases: options.trustDomainAliases,
        pathNormalization: options.pathNormalization, defaultRetry: options.defaultRetry, trustedProxies: options.trustedProxies,
        services, traffic: new Map(), policies: attachedTo(ctx, g, inputs.policies, inputs.policiesByWaypoint),
        authentications: attachedTo(ctx, g, inputs.authentications, inputs.authenticationsByWaypoint),
        authorizationProviders: options.authorizationProviders, workloadLabels: new Map(), telemetry: options.telemetry, serviceTelemetry: new Map(),
      },
    };
  };
}

/** Attached to the waypoint, to what is bound to it, or to its class. Once each, by name. */
function attachedTo<T>(ctx: Context, g: WaypointGateway, all: Collection<AttachedPolicy<T>>, byWaypoint: Index<AttachedPolicy<T>>): T[] {
  const found = new Map<string, T>();
  for (const value of [g.key, `${EVERY_WAYPOINT}${g.gatewayClass}`])
    for (const p of ctx.fetch(all, { index: [byWaypoint, value] })) found.set(p.key, p.policy);
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, p]) => p);
}
