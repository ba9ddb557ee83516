// Owns the assembly of one waypoint's configuration from the parts that are derived for it (ADR 0025).
import type { Collection, Context, Index } from "@ambit/collections";
import type { RequestAuthentication, RequestPolicy, ServiceKey, ServiceRoutes, TelemetrySettings, TrafficPolicy, WaypointConfig, WorkloadUid } from "@ambit/core";
import type { MeshScope } from "../scope.ts";
import type { LabelMap, Settings } from "../settings.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { telemetryAt, type WaypointPart } from "./parts.ts";
import { EVERY_WAYPOINT } from "./policy-target.ts";
import type { AttachedPolicy } from "./request-policy.ts";
import type { WaypointGateway } from "./scope.ts";
import type { TelemetryInputs } from "./telemetry.ts";

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
  readonly parts: Collection<WaypointPart>;
  /** Value: key of a waypoint. */
  readonly partsByWaypoint: Index<WaypointPart>;
  readonly policies: Collection<AttachedPolicy<RequestPolicy>>;
  /** Value: key of a waypoint, or `*` and a class. */
  readonly policiesByWaypoint: Index<AttachedPolicy<RequestPolicy>>;
  readonly authentications: Collection<AttachedPolicy<RequestAuthentication>>;
  /** The same. */
  readonly authenticationsByWaypoint: Index<AttachedPolicy<RequestAuthentication>>;
  readonly telemetry: TelemetryInputs;
  readonly scope: Collection<MeshScope>;
}

export function configOf(inputs: ConfigInputs) {
  return (ctx: Context, g: WaypointGateway): WaypointResource => {
    const options = inputs.options(ctx);
    const services = new Map<ServiceKey, ServiceRoutes>();
    const traffic = new Map<ServiceKey, TrafficPolicy>();
    const workloadLabels = new Map<WorkloadUid, LabelMap>();
    const serviceTelemetry = new Map<ServiceKey, TelemetrySettings>();
    for (const p of ctx.fetch(inputs.parts, { index: [inputs.partsByWaypoint, g.key] })) {
      services.set(p.service, p.routes);
      for (const [key, policy] of p.traffic) traffic.set(key, policy);
      for (const [uid, labels] of p.labels) workloadLabels.set(uid, labels);
      if (p.telemetry !== undefined) serviceTelemetry.set(p.service, p.telemetry);
    }
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
        authorizationProviders: options.authorizationProviders, workloadLabels, telemetry: telemetryAt(ctx, inputs, g, []), serviceTelemetry,
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
