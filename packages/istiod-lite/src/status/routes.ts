// Owns what the status of a route says of each parent that is ours. Pure; gateway-conformance.md §8.
import type { Collection, Context, Index } from "@ambit/collections";
import { outcomeKey, type Attachments } from "../collections/waypoint/attach.ts";
import { parentKey, type ParentRef } from "../collections/waypoint/parents.ts";
import type { Objection, RouteInfo } from "../collections/waypoint/routes.ts";
import type { WaypointGateway } from "../collections/waypoint/scope.ts";
import type { ServiceInfo } from "../collections/services.ts";
import { desiredParents, type DesiredCondition, type DesiredParent, type DesiredStatus, type RouteStatusKind } from "./conditions.ts";

export interface RouteStatusInputs {
  readonly services: Collection<ServiceInfo>;
  /** Value: `kind/namespace/name`. */
  readonly servicesByOwner: Index<ServiceInfo>;
  readonly attachments: Collection<Attachments>;
  readonly gateways: Collection<WaypointGateway>;
}

const KINDS: Readonly<Record<RouteInfo["kind"], RouteStatusKind>> = { HTTPRoute: "httpRoutes", GRPCRoute: "grpcRoutes", TLSRoute: "tlsRoutes", TCPRoute: "tcpRoutes" };

export function routeStatus(inputs: RouteStatusInputs) {
  return (ctx: Context, r: RouteInfo): DesiredStatus =>
    desiredParents(KINDS[r.kind], r.namespace, r.name, r.parents.flatMap((p, i) => parentStatus(ctx, inputs, r, p, i) ?? []), r.problems);
}

/** undefined: a parent of somebody else. */
function parentStatus(ctx: Context, inputs: RouteStatusInputs, r: RouteInfo, p: ParentRef, index: number): DesiredParent | undefined {
  const owner = parentKey(p);
  if (owner === undefined) return foreign(ctx, inputs, r, p);
  const services = ctx.fetch(inputs.services, { index: [inputs.servicesByOwner, owner] });
  const missing: Objection | undefined = services.length > 0 ? undefined
    : { reason: "NoMatchingParent", message: `${p.kind} ${p.namespace}/${p.name} does not exist, or has no address of its own` };
  const objection = missing ?? r.rejected ?? services.map((s) => ctx.fetchOne(inputs.attachments, { key: s.key })?.objections.get(outcomeKey(r, index))).find((o) => o !== undefined);
  return { parentRef: p.written, conditions: [accepted(objection, r, p), resolvedRefs(r), ...partial(r), ...(missing === undefined ? [waypoints(services)] : [])] };
}

/** Istio's waypoints take routes by Service only; nobody else would say so of a Gateway that is a waypoint. */
function foreign(ctx: Context, inputs: RouteStatusInputs, r: RouteInfo, p: ParentRef): DesiredParent | undefined {
  if (p.group !== "gateway.networking.k8s.io" || p.kind !== "Gateway") return undefined;
  const gateway = ctx.fetchOne(inputs.gateways, { key: `${p.namespace}/${p.name}` });
  if (gateway === undefined) return undefined;
  const objection: Objection = { reason: "NotAllowedByListeners", message: `Gateway ${p.namespace}/${p.name} is a waypoint: name the Service as the parent` };
  return { parentRef: p.written, conditions: [accepted(objection, r, p), resolvedRefs(r)] };
}

function accepted(objection: Objection | undefined, r: RouteInfo, p: ParentRef): DesiredCondition {
  if (objection !== undefined) return { type: "Accepted", status: "False", ...objection };
  const level = p.namespace === r.namespace ? "" : ` for clients in namespace ${r.namespace}`;
  return { type: "Accepted", status: "True", reason: "Accepted", message: `Route was valid${level}` };
}

const resolvedRefs = (r: RouteInfo): DesiredCondition =>
  r.refs === undefined ? { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "All references resolved" }
    : { type: "ResolvedRefs", status: "False", reason: r.refs.reason, message: r.refs.message };

const partial = (r: RouteInfo): DesiredCondition[] =>
  r.partial === undefined ? [] : [{ type: "PartiallyInvalid", status: "True", reason: "UnsupportedValue", message: r.partial }];

function waypoints(services: readonly ServiceInfo[]): DesiredCondition {
  const type = "ResolvedWaypoints";
  const unbound = services.find((s) => s.binding.kind !== "bound");
  if (unbound === undefined) {
    const keys = [...new Set(services.flatMap((s) => (s.binding.kind === "bound" ? [s.binding.waypoint] : [])))].sort();
    return { type, status: "True", reason: "ResolvedWaypoints", message: `the parent is bound to waypoint ${keys.join(", ")}` };
  }
  const { binding } = unbound;
  return binding.kind === "refused"
    ? { type, status: "False", reason: binding.reason, message: `${binding.message}: nothing carries this route out` }
    : { type, status: "False", reason: "MissingUseWaypointLabel", message: `${unbound.key} is not bound to a waypoint: nothing carries this route out` };
}
