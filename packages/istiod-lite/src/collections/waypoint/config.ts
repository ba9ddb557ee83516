// Owns the assembly of one waypoint's configuration from the parts that are derived for it (ADR 0025).
import type { Collection, Context, Index } from "@ambit/collections";
import type { RequestAuthentication, RequestPolicy, ServiceKey, ServiceRoutes, TelemetrySettings, TrafficPolicy, WaypointConfig, WeightedBackend } from "@ambit/core";
import type { MeshScope } from "../scope.ts";
import type { ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";
import type { Attachments } from "./attach.ts";
import { labelsFor, type LabelInputs } from "./labels.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { EVERY_WAYPOINT } from "./policy-target.ts";
import type { AttachedPolicy } from "./request-policy.ts";
import type { WaypointGateway } from "./scope.ts";
import { gatewayTarget, telemetryFor, type TelemetryInputs } from "./telemetry.ts";
import { trafficPolicyOf, type TrafficInputs } from "./traffic.ts";
import { virtualServicesFor, withVirtualServices, type VirtualServiceInputs } from "./vs-attach.ts";

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
  readonly traffic: TrafficInputs & VirtualServiceInputs;
  readonly labels: LabelInputs;
  readonly telemetry: TelemetryInputs;
  readonly scope: Collection<MeshScope>;
}

const NO_ROUTES: ServiceRoutes = { producer: new Map(), consumers: new Map() };

export function configOf(inputs: ConfigInputs) {
  return (ctx: Context, g: WaypointGateway): WaypointResource => {
    const options = inputs.options(ctx);
    const services = new Map<ServiceKey, ServiceRoutes>();
    for (const s of ctx.fetch(inputs.services, { index: [inputs.servicesByWaypoint, g.key] }))
      services.set(s.key, withVirtualServices(ctx.fetchOne(inputs.attachments, { key: s.key })?.routes ?? NO_ROUTES, s, virtualServicesFor(ctx, inputs.traffic, s, g.namespace)));
    const traffic = new Map([...destinationsOf(services)].sort().flatMap((key): [ServiceKey, TrafficPolicy][] => {
      const service = ctx.fetchOne(inputs.services, { key });
      const policy = service && trafficPolicyOf(ctx, inputs.traffic, service, g.namespace);
      return policy === undefined ? [] : [[key, policy]];
    }));
    const telemetryAt = (...targets: string[]): TelemetrySettings =>
      telemetryFor(ctx, inputs.telemetry, options, { rootNamespace: inputs.settings.rootNamespace, namespace: g.namespace, targets: [gatewayTarget(`${EVERY_WAYPOINT}${g.gatewayClass}`), gatewayTarget(g.key), ...targets] });
    const telemetry = telemetryAt();
    // Only of services that have a word of their own.
    const serviceTelemetry = new Map([...services.keys()].sort().filter((key) => ctx.fetch(inputs.telemetry.telemetries, { index: [inputs.telemetry.telemetriesByTarget, key] }).length > 0).map((key) => [key, telemetryAt(key)]));
    const mesh = ctx.fetchOne(inputs.scope, { key: "mesh" });
    const trustDomain = mesh?.trustDomain ?? inputs.settings.trustDomain;
    return {
      key: g.key, serviceAccount: g.serviceAccount,
      config: {
        namespace: g.namespace, name: g.name, serves: g.serves, trustDomain, trustDomainAliases: mesh?.trustDomainAliases ?? [],
        ...(g.tellsClient ? { ownIdentity: { trustDomain, namespace: g.namespace, serviceAccount: g.serviceAccount } } : {}),
        pathNormalization: options.pathNormalization, defaultRetry: options.defaultRetry, trustedProxies: options.trustedProxies,
        services, traffic, policies: attachedTo(ctx, g, inputs.policies, inputs.policiesByWaypoint),
        authentications: attachedTo(ctx, g, inputs.authentications, inputs.authenticationsByWaypoint),
        authorizationProviders: options.authorizationProviders, workloadLabels: labelsFor(ctx, inputs.labels, services.values(), traffic.values()), telemetry, serviceTelemetry,
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

/** Every service that the waypoint may send to: those bound to it, and wherever their routes lead. */
function destinationsOf(services: ReadonlyMap<ServiceKey, ServiceRoutes>): Set<ServiceKey> {
  const out = new Set(services.keys());
  const backends = (list: readonly WeightedBackend[]): void => {
    for (const b of list) {
      if (b.kind === "service") out.add(b.backend.service);
      for (const m of b.filters.mirrors) out.add(m.backend.service);
    }
  };
  for (const { producer, consumers } of services.values())
    for (const ports of [producer, ...consumers.values()])
      for (const { routes } of ports.values())
        for (const r of routes) {
          if (!("action" in r)) { backends(r.backends); continue; }
          if (r.action.kind === "forward") backends(r.action.backends);
          for (const m of r.filters.mirrors) out.add(m.backend.service);
        }
  return out;
}
