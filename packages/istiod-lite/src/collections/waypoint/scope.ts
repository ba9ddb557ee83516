// Owns which Gateways are waypoints of ours, as whom they run, and which services are theirs (protocol.md §7.4, §10.6).
import type { Collection, Context } from "@ambit/collections";
import type { WaypointConfig } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { namesOf, WAYPOINT_CLASSES } from "../../gateways/plan/objects.ts";
import type { ServiceInfo } from "../services.ts";
import type { Waypoint } from "../waypoints.ts";

export interface WaypointGateway {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly gatewayClass: string;
  /** Whom its pods run as: nobody else may have its configuration. */
  readonly serviceAccount: string;
  readonly serves: WaypointConfig["serves"];
  /** Applications are told who the client is (x-forwarded-client-cert). */
  readonly tellsClient: boolean;
}

export function waypointGatewayOf(waypoints: Collection<Waypoint>) {
  return (ctx: Context, o: KubeObject): WaypointGateway | undefined => {
    const { name, namespace = "", annotations = {} } = o.metadata;
    const spec = o["spec"] as { gatewayClassName?: unknown } | undefined;
    const gatewayClass = spec?.gatewayClassName;
    if (typeof gatewayClass !== "string" || !WAYPOINT_CLASSES.has(gatewayClass)) return undefined;
    const key = `${namespace}/${name}`;
    const serves = ctx.fetchOne(waypoints, { key })?.serves;
    return {
      key, namespace, name, gatewayClass, serviceAccount: namesOf(o).serviceAccount,
      tellsClient: annotations["ambient.istio.io/xfcc-include-client-identity"] === "true",
      serves: serves === "service" || serves === "workload" || serves === "all" ? serves : "none",
    };
  };
}

/** Keys of the waypoints that traffic for a service may pass: its own (before it is ready, too: it must know its work first), and its canary. */
export function boundTo(s: ServiceInfo): string[] {
  if (s.binding.kind === "refused" && s.binding.closed !== undefined) return [s.binding.waypoint];
  if (s.binding.kind !== "bound") return [];
  const { waypoint, canary } = s.binding;
  return canary?.kind === "weighted" ? [waypoint, canary.waypoint] : [waypoint];
}
