// Owns the switch "only through the waypoint": a policy for each waypoint that lets its own pods in, attached to everything that is bound to it
// (Istio's PILOT_AUTO_ALLOW_WAYPOINT_POLICY, protocol.md §8.6). As with any ALLOW policy, who is not let in is refused.
import type { Collection, Context, Index } from "@ambit/collections";
import { EMPTY_MATCH, policyKey, type Policy, type PolicyKey } from "@ambit/core";
import type { Pod } from "@ambit/kube";
import type { MeshScope } from "./scope.ts";
import type { ServiceInfo } from "./services.ts";
import { LABELS, type Settings } from "./settings.ts";
import type { Binding, Waypoint } from "./waypoints.ts";

export interface WaypointOnlyInputs {
  readonly settings: Settings;
  readonly scope: Collection<MeshScope>;
  readonly pods: Collection<Pod>;
  /** Value: `namespace/gateway`. */
  readonly podsByGateway: Index<Pod>;
}

export const gatewayOfPod = (pod: Pod): string[] => {
  const name = pod.metadata.labels?.[LABELS.gatewayName];
  return name === undefined ? [] : [`${pod.metadata.namespace ?? ""}/${name}`];
};

const keyOf = (waypoint: string): PolicyKey => {
  const [namespace = "", name = ""] = waypoint.split("/");
  return policyKey({ namespace, name: `istio_allow_waypoint_${namespace}_${name}` });
};

/** Whoever its pods run as. A waypoint without pods lets nobody in, and what is bound to it stays closed. */
export const waypointPolicy = (inputs: WaypointOnlyInputs) => (ctx: Context, w: Waypoint): Policy | undefined => {
  if (!inputs.settings.waypointOnly) return undefined;
  const trustDomain = ctx.fetchOne(inputs.scope, { key: "mesh" })?.trustDomain ?? inputs.settings.trustDomain;
  const accounts = new Set(ctx.fetch(inputs.pods, { index: [inputs.podsByGateway, w.key] }).map((p) => p.spec.serviceAccountName || "default"));
  const principals = [...accounts].sort().map((account) => ({ kind: "exact" as const, value: `${trustDomain}/ns/${w.namespace}/sa/${account}` }));
  const [, name = ""] = keyOf(w.key).split("/");
  return {
    name, namespace: w.namespace, scope: "workload", action: "allow", dryRun: false,
    rules: principals.length === 0 ? [] : [{ clauses: [{ matches: [{ ...EMPTY_MATCH, principals }] }] }],
  };
};

/** The policies of the waypoints that a workload is bound to, itself or by a service. A waypoint that is not there has none: nothing lets anybody in. */
export function waypointPoliciesOf(settings: Settings, own: Binding | undefined, services: readonly ServiceInfo[]): PolicyKey[] {
  if (!settings.waypointOnly) return [];
  const bound = [...(own === undefined ? [] : [own]), ...services.map((s) => s.binding)].flatMap((b) => (b.kind === "bound" ? [b.waypoint] : b.kind === "refused" && b.closed !== undefined ? [b.waypoint] : []));
  const canaries = services.flatMap(({ binding: b }) => (b.kind === "bound" && b.canary?.kind === "weighted" ? [b.canary.waypoint] : []));
  return [...new Set([...bound, ...canaries])].map(keyOf);
}
