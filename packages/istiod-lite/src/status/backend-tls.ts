// Owns what the status of a BackendTLSPolicy says of each Service it is for, which is its ancestor in a mesh. Pure; gateway-conformance.md §8.
import type { Collection, Context, Index } from "@ambit/collections";
import { winnerAt, type BackendTlsInfo, type TlsTarget } from "../collections/waypoint/backend-tls.ts";
import type { Objection } from "../collections/waypoint/routes.ts";
import { boundTo, type WaypointGateway } from "../collections/waypoint/scope.ts";
import { ruleOf, type TrafficInputs } from "../collections/waypoint/traffic.ts";
import type { ServiceInfo } from "../collections/services.ts";
import { desiredAncestors, type DesiredCondition, type DesiredParent, type DesiredStatus } from "./conditions.ts";

export interface BackendTlsStatusInputs extends TrafficInputs {
  readonly services: Collection<ServiceInfo>;
  /** Value: `kind/namespace/name`. */
  readonly servicesByOwner: Index<ServiceInfo>;
  readonly gateways: Collection<WaypointGateway>;
}

export function backendTlsStatus(inputs: BackendTlsStatusInputs) {
  return (ctx: Context, p: BackendTlsInfo): DesiredStatus => desiredAncestors(p.namespace, p.name, p.targets.map((t) => ancestor(ctx, inputs, p, t)), p.problems);
}

function ancestor(ctx: Context, inputs: BackendTlsStatusInputs, p: BackendTlsInfo, t: TlsTarget): DesiredParent {
  const { group, kind, name, sectionName } = t;
  const parentRef = { group, kind, namespace: p.namespace, name, ...(sectionName === undefined ? {} : { sectionName }) };
  const services = t.owner === undefined ? [] : ctx.fetch(inputs.services, { index: [inputs.servicesByOwner, t.owner] });
  const objection = missing(services, p, t) ?? p.rejected ?? conflict(ctx, inputs, services, p, t);
  const accepted: DesiredCondition = objection === undefined ? { type: "Accepted", status: "True", reason: "Accepted", message: carriedOut(ctx, inputs, services) } : { type: "Accepted", status: "False", ...objection };
  const resolved: DesiredCondition = p.refs === undefined ? { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "All references resolved" } : { type: "ResolvedRefs", status: "False", ...p.refs };
  return { parentRef, conditions: [accepted, resolved] };
}

function missing(services: readonly ServiceInfo[], p: BackendTlsInfo, t: TlsTarget): Objection | undefined {
  if (t.owner === undefined) return { reason: "TargetNotFound", message: `${t.group === "" ? "" : `${t.group}/`}${t.kind} cannot be a target: Service, or ServiceEntry of networking.istio.io` };
  if (services.length === 0) return { reason: "TargetNotFound", message: `${t.kind} ${p.namespace}/${t.name} does not exist, or has no address of its own` };
  if (t.sectionName === undefined || services.some((s) => s.ports.some((port) => port.name === t.sectionName))) return undefined;
  return { reason: "TargetNotFound", message: `${t.kind} ${p.namespace}/${t.name} has no port named ${t.sectionName}` };
}

function conflict(ctx: Context, inputs: BackendTlsStatusInputs, services: readonly ServiceInfo[], p: BackendTlsInfo, t: TlsTarget): Objection | undefined {
  const winner = winnerAt(ctx, inputs, t);
  if (winner !== undefined && winner.key !== p.key) return { reason: "Conflicted", message: `BackendTLSPolicy ${winner.key} has the same target and is older, or comes first by name` };
  const rule = services.flatMap((s) => (boundTo(s).length === 0 ? [s.service.namespace] : boundTo(s).map((w) => w.split("/", 1)[0] ?? "")).flatMap((namespace) => ruleOf(ctx, inputs, s, namespace)?.tlsBy ?? []))[0];
  return rule === undefined ? undefined : { reason: "Conflicted", message: `DestinationRule ${rule} speaks of TLS, which has the last word` };
}

function carriedOut(ctx: Context, inputs: Pick<BackendTlsStatusInputs, "gateways">, services: readonly ServiceInfo[]): string {
  const waypoints = [...new Set(services.flatMap(boundTo))].filter((key) => ctx.fetchOne(inputs.gateways, { key }) !== undefined).sort();
  return waypoints.length > 0 ? `carried out by waypoint ${waypoints.join(", ")}` : "its target is not bound to a waypoint: it holds only where the routes of another waypoint lead to it";
}
