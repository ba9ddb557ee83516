// Owns what a policy's targetRefs point at, and which waypoints enforce it there (l7-authz.md §1.3, protocol.md §10.4).
import type { Collection, Context, Index } from "@ambit/collections";
import type { PolicyTarget } from "@ambit/core";
import type { Fields, Reader } from "../decode.ts";
import type { ServiceInfo } from "../services.ts";
import type { Settings } from "../settings.ts";
import { parentKey } from "./parents.ts";
import type { RouteInfo } from "./routes.ts";
import { WAYPOINT_CLASSES } from "../../gateways/plan/objects.ts";
import { boundTo, type WaypointGateway } from "./scope.ts";

export interface TargetInputs {
  readonly settings: Settings;
  readonly gateways: Collection<WaypointGateway>;
  /** Value: `kind/namespace/name` of the owner. */
  readonly servicesByOwner: Index<ServiceInfo>;
  readonly services: Collection<ServiceInfo>;
  readonly routes: Collection<RouteInfo>;
}

export interface TargetRef { readonly group: string; readonly kind: string; readonly name: string; readonly path: string }

/** Every waypoint there is. */
export const EVERY_WAYPOINT = "*";

/** Where one reference leads: enforced at `waypoints` (keys, or EVERY_WAYPOINT), or why nowhere. */
export type Aimed =
  | { readonly ok: true; readonly targets: readonly PolicyTarget[]; readonly waypoints: readonly string[] }
  | { readonly ok: false; readonly reason: "TargetNotFound" | "AncestorNotBound" | "Invalid"; readonly message: string };

/** Of Istio's CRDs. */
const TARGETS_MAX = 16;

/** `targetRefs`, or the one `targetRef` of old. */
export function readTargets(reader: Reader, spec: Fields): TargetRef[] {
  const single = (spec["targetRef"] ?? undefined) !== undefined;
  const list = reader.list(spec["targetRefs"], "spec.targetRefs") ?? [];
  if (single && list.length > 0) reader.refuse("spec.targetRef", "must not be given together with targetRefs");
  if (list.length > TARGETS_MAX) reader.refuse("spec.targetRefs", `has more than ${TARGETS_MAX} entries`);
  const all = single ? [[spec["targetRef"], "spec.targetRef"] as const] : list.slice(0, TARGETS_MAX).map((t, i) => [t, `spec.targetRefs[${i}]`] as const);
  return all.flatMap(([value, path]) => {
    const fields = reader.object(value, path, ["group", "kind", "name", "namespace"]) ?? {};
    if ((reader.text(fields["namespace"], `${path}.namespace`) ?? "") !== "") reader.refuse(`${path}.namespace`, "a policy is attached to objects of its own namespace");
    const [kind, name] = [reader.text(fields["kind"], `${path}.kind`) ?? "", reader.text(fields["name"], `${path}.name`) ?? ""];
    if (kind === "" || name === "") reader.refuse(path, "must name a kind and an object");
    return [{ group: reader.text(fields["group"], `${path}.group`) ?? "", kind, name, path }];
  });
}

const GATEWAY_GROUP = "gateway.networking.k8s.io";

/** `ruleName`: only these rules of a route. */
export function aim(ctx: Context, inputs: TargetInputs, t: TargetRef, namespace: string, ruleName: string | undefined): Aimed {
  const name = `${namespace}/${t.name}`;
  switch (`${t.group}/${t.kind}`) {
    case `${GATEWAY_GROUP}/Gateway`:
      return ctx.fetchOne(inputs.gateways, { key: name }) === undefined
        ? { ok: false, reason: "TargetNotFound", message: `${t.path}: Gateway ${name} does not exist, or is no waypoint` }
        : { ok: true, targets: [{ kind: "waypoint" }], waypoints: [name] };
    case `${GATEWAY_GROUP}/GatewayClass`:
      if (namespace !== inputs.settings.rootNamespace) return { ok: false, reason: "Invalid", message: `${t.path}: only policies in ${inputs.settings.rootNamespace} may target a GatewayClass` };
      return WAYPOINT_CLASSES.has(t.name) ? { ok: true, targets: [{ kind: "waypoint" }], waypoints: [`${EVERY_WAYPOINT}${t.name}`] }
        : { ok: false, reason: "TargetNotFound", message: `${t.path}: GatewayClass ${t.name} is not one of ${[...WAYPOINT_CLASSES].join(", ")}` };
    case "/Service": case "core/Service": return aimAtService(ctx, inputs, t, `Service/${name}`);
    case "networking.istio.io/ServiceEntry": return aimAtService(ctx, inputs, t, `ServiceEntry/${name}`);
    case `${GATEWAY_GROUP}/HTTPRoute`: case `${GATEWAY_GROUP}/GRPCRoute`: return aimAtRoute(ctx, inputs, t, namespace, ruleName);
    default:
      return { ok: false, reason: "Invalid", message: `${t.path}: a policy cannot be attached to ${t.group === "" ? "" : `${t.group}/`}${t.kind}` };
  }
}

function aimAtService(ctx: Context, inputs: TargetInputs, t: TargetRef, owner: string): Aimed {
  const services = ctx.fetch(inputs.services, { index: [inputs.servicesByOwner, owner] });
  if (services.length === 0) return { ok: false, reason: "TargetNotFound", message: `${t.path}: ${owner.replace("/", " ")} does not exist` };
  const waypoints = waypointsOf(ctx, inputs, services);
  if (waypoints.length === 0) return { ok: false, reason: "AncestorNotBound", message: `${t.path}: ${owner.replace("/", " ")} is not bound to a waypoint` };
  return { ok: true, targets: services.map((s): PolicyTarget => ({ kind: "service", service: s.key })), waypoints };
}

function aimAtRoute(ctx: Context, inputs: TargetInputs, t: TargetRef, namespace: string, ruleName: string | undefined): Aimed {
  const kind = t.kind === "GRPCRoute" ? "GRPCRoute" : "HTTPRoute";
  const route = ctx.fetchOne(inputs.routes, { key: `${kind}/${namespace}/${t.name}` });
  if (route === undefined) return { ok: false, reason: "TargetNotFound", message: `${t.path}: ${kind} ${namespace}/${t.name} does not exist` };
  if (ruleName !== undefined && !route.http.some((r) => r.origin.ruleName === ruleName))
    return { ok: false, reason: "TargetNotFound", message: `${t.path}: ${kind} ${namespace}/${t.name} has no rule named ${ruleName}` };
  const services = route.parents.flatMap((p) => { const key = parentKey(p); return key === undefined ? [] : ctx.fetch(inputs.services, { index: [inputs.servicesByOwner, key] }); });
  const waypoints = waypointsOf(ctx, inputs, services);
  if (waypoints.length === 0) return { ok: false, reason: "AncestorNotBound", message: `${t.path}: no parent of ${kind} ${namespace}/${t.name} is bound to a waypoint` };
  return { ok: true, targets: [{ kind: "route", route: { kind, namespace, name: t.name, ruleName } }], waypoints };
}

const waypointsOf = (ctx: Context, inputs: TargetInputs, services: readonly ServiceInfo[]): string[] =>
  [...new Set(services.flatMap(boundTo))].filter((key) => ctx.fetchOne(inputs.gateways, { key }) !== undefined).sort();
