// Owns what one waypoint is told because of one service: its routes, where they lead and how to connect there. A change costs the parts it touches.
import type { Collection, Context } from "@ambit/collections";
import type { ServiceKey, ServiceRoutes, TelemetrySettings, TrafficPolicy, WeightedBackend, WorkloadUid } from "@ambit/core";
import type { ServiceInfo } from "../services.ts";
import type { LabelMap, Settings } from "../settings.ts";
import type { Attachments } from "./attach.ts";
import { labelsFor, type LabelInputs } from "./labels.ts";
import type { MeshOptions } from "./mesh-options.ts";
import { EVERY_WAYPOINT } from "./policy-target.ts";
import { boundTo, type WaypointGateway } from "./scope.ts";
import { gatewayTarget, telemetryFor, type TelemetryInputs } from "./telemetry.ts";
import { trafficPolicyOf, type TrafficInputs } from "./traffic.ts";
import { virtualServicesFor, withVirtualServices, type VirtualServiceInputs } from "./vs-attach.ts";

export interface WaypointPart {
  /** Waypoint and service. */
  readonly key: string;
  readonly waypoint: string;
  readonly service: ServiceKey;
  readonly routes: ServiceRoutes;
  readonly traffic: readonly (readonly [ServiceKey, TrafficPolicy])[];
  readonly labels: ReadonlyMap<WorkloadUid, LabelMap>;
  /** Only of a service that has a word of its own. */
  readonly telemetry: TelemetrySettings | undefined;
}

export interface PartInputs {
  readonly settings: Settings;
  readonly options: (ctx: Context) => MeshOptions;
  readonly gateways: Collection<WaypointGateway>;
  readonly services: Collection<ServiceInfo>;
  readonly attachments: Collection<Attachments>;
  readonly traffic: TrafficInputs & VirtualServiceInputs;
  readonly labels: LabelInputs;
  readonly telemetry: TelemetryInputs;
}

const NO_ROUTES: ServiceRoutes = { producer: new Map(), consumers: new Map() };

export function partsOf(inputs: PartInputs) {
  return (ctx: Context, s: ServiceInfo): WaypointPart[] => boundTo(s).flatMap((waypoint) => {
    const g = ctx.fetchOne(inputs.gateways, { key: waypoint });
    if (g === undefined) return [];
    const routes = withVirtualServices(ctx.fetchOne(inputs.attachments, { key: s.key })?.routes ?? NO_ROUTES, s, virtualServicesFor(ctx, inputs.traffic, s, g.namespace));
    const traffic = [...destinationsOf(s.key, routes)].sort().flatMap((key): [ServiceKey, TrafficPolicy][] => {
      const service = key === s.key ? s : ctx.fetchOne(inputs.services, { key });
      const policy = service && trafficPolicyOf(ctx, inputs.traffic, service, g.namespace);
      return policy === undefined ? [] : [[key, policy]];
    });
    const spoken = ctx.fetch(inputs.telemetry.telemetries, { index: [inputs.telemetry.telemetriesByTarget, s.key] }).length > 0;
    return [{
      key: `${waypoint} ${s.key}`, waypoint, service: s.key, routes, traffic, labels: labelsFor(ctx, inputs.labels, [routes], traffic.map(([, p]) => p)),
      telemetry: spoken ? telemetryAt(ctx, inputs, g, [s.key]) : undefined,
    }];
  });
}

/** Of the waypoint, and of what it is narrowed to. */
export const telemetryAt = (ctx: Context, inputs: Pick<PartInputs, "settings" | "options" | "telemetry">, g: WaypointGateway, targets: readonly string[]): TelemetrySettings =>
  telemetryFor(ctx, inputs.telemetry, inputs.options(ctx), {
    rootNamespace: inputs.settings.rootNamespace, namespace: g.namespace, targets: [gatewayTarget(`${EVERY_WAYPOINT}${g.gatewayClass}`), gatewayTarget(g.key), ...targets],
  });

/** The service itself, and wherever its routes lead. */
function destinationsOf(own: ServiceKey, { producer, consumers }: ServiceRoutes): Set<ServiceKey> {
  const out = new Set([own]);
  const backends = (list: readonly WeightedBackend[]): void => {
    for (const b of list) {
      if (b.kind === "service") out.add(b.backend.service);
      for (const m of b.filters.mirrors) out.add(m.backend.service);
    }
  };
  for (const ports of [producer, ...consumers.values()])
    for (const { routes } of ports.values())
      for (const r of routes) {
        if (!("action" in r)) { backends(r.backends); continue; }
        if (r.action.kind === "forward") backends(r.action.backends);
        for (const m of r.filters.mirrors) out.add(m.backend.service);
        if (r.externalAuth !== undefined) out.add(r.externalAuth.service);
      }
  return out;
}
