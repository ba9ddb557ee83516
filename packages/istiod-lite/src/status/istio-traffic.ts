// Owns what VirtualServices and DestinationRules are told of themselves: which waypoint carries them out, or why none does. Pure.
import type { Collection, Context, Index } from "@ambit/collections";
import { describeProblems } from "@ambit/core";
import type { ServiceInfo } from "../collections/services.ts";
import type { Attachments } from "../collections/waypoint/attach.ts";
import type { DestinationRuleInfo } from "../collections/waypoint/destination-rule.ts";
import { servicesOf } from "../collections/waypoint/istio-hosts.ts";
import { boundTo } from "../collections/waypoint/scope.ts";
import { trafficPolicyOf, type TrafficInputs } from "../collections/waypoint/traffic.ts";
import { overruledPorts, virtualServicesFor, type VirtualServiceInputs } from "../collections/waypoint/vs-attach.ts";
import type { VirtualServiceInfo } from "../collections/waypoint/virtual-service.ts";
import { desiredForWaypoint, type DesiredCondition, type DesiredStatus } from "./conditions.ts";

export interface TrafficStatusInputs extends TrafficInputs, VirtualServiceInputs {
  readonly services: Collection<ServiceInfo>;
  readonly servicesByHost: Index<ServiceInfo>;
  readonly attachments: Collection<Attachments>;
}

const namespaceOf = (waypoint: string): string => waypoint.slice(0, waypoint.indexOf("/"));
const no = (reason: string, message: string): DesiredCondition => ({ type: "WaypointAccepted", status: "False", reason, message });

export function destinationRuleStatus(inputs: TrafficStatusInputs) {
  return (ctx: Context, r: DestinationRuleInfo): DesiredStatus =>
    desiredForWaypoint("destinationRules", r.namespace, r.name, [verdict(ctx, inputs, r, r.remarks, "not understood, so it is left out whole", (s, w) => {
      const origin = trafficPolicyOf(ctx, inputs, s, namespaceOf(w))?.origin;
      return origin?.split(", ").includes(r.key) === true ? undefined : origin === undefined ? "it is not for that namespace" : `DestinationRule ${origin} is nearer`;
    })], r.problems);
}

export function virtualServiceStatus(inputs: TrafficStatusInputs) {
  return (ctx: Context, v: VirtualServiceInfo): DesiredStatus =>
    desiredForWaypoint("virtualServices", v.namespace, v.name, [verdict(ctx, inputs, v, v.missing, "what is not understood answers 500", (s, w) => {
      if (!virtualServicesFor(ctx, inputs, s, namespaceOf(w)).some((x) => x.key === v.key)) return "only VirtualServices of the service's and the waypoint's namespace are used, those with the very host first";
      const overruled = overruledPorts(ctx.fetchOne(inputs.attachments, { key: s.key })?.routes, s);
      return overruled.length > 0 && overruled.length === s.ports.filter((p) => p.tcp).length ? "routes of the Gateway API have all of its ports" : undefined;
    })], v.problems);
}

type Spoken = Pick<DestinationRuleInfo, "hosts" | "problems" | "namespace">;

function verdict(ctx: Context, inputs: TrafficStatusInputs, o: Spoken, remarks: readonly string[], refusal: string, objection: (s: ServiceInfo, waypoint: string) => string | undefined): DesiredCondition {
  if (o.problems.length > 0) return no("Invalid", `${refusal}: ${describeProblems(o.problems)}`);
  if (o.hosts.length === 0) return { type: "WaypointAccepted", status: "True", reason: "Accepted", message: "has no hosts: its routes are those of the VirtualServices that delegate to it" };
  const services = [...new Set(o.hosts.flatMap((h) => servicesOf(ctx, inputs.services, inputs.servicesByHost, h)))];
  if (services.length === 0) return no("TargetNotFound", `no service has the host ${o.hosts.join(", ")}`);
  const waypoints = new Set<string>();
  const objections = new Set<string>();
  for (const s of services)
    for (const w of boundTo(s)) {
      const why = objection(s, w);
      if (why === undefined) waypoints.add(w);
      else objections.add(`${s.service.hostname} at waypoint ${w}: ${why}`);
    }
  // That others are nearer somewhere is what a wildcard is for.
  const beside = [...(o.hosts.some((h) => h.startsWith("*")) ? [] : objections), ...remarks];
  if (waypoints.size === 0)
    return objections.size > 0 ? no("Conflicted", [...remarks, ...objections].join("; ")) : no("AncestorNotBound", `${services.map((s) => s.key).join(", ")} is not bound to a waypoint: nothing carries this out`);
  return { type: "WaypointAccepted", status: "True", reason: beside.length === 0 ? "Accepted" : "PartiallyInvalid", message: [`carried out by waypoint ${[...waypoints].sort().join(", ")}`, ...beside].join("; ") };
}
