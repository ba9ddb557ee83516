// Owns how a WorkloadEntry becomes a workload (protocol.md §10.1, §14.8, §14.13–14).
import type { Context } from "@ambit/collections";
import type { Problem, Workload } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { decodeWorkloadEntry } from "./entry-spec.ts";
import { gatewayOf, policiesSelecting, type WorkloadInputs } from "./pods.ts";
import { endpointPorts, externalWorkload } from "./service-entries.ts";
import { selects, type LabelMap } from "./settings.ts";
import { addressOfBinding, bindWaypoint, type Binding } from "./waypoints.ts";

export interface WorkloadEntryInfo {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly workload: Workload | undefined;
  readonly problems: readonly Problem[];
  readonly binding: Binding;
}

export function workloadEntryOf(inputs: WorkloadInputs) {
  return (ctx: Context, o: KubeObject): WorkloadEntryInfo => {
    const { name, namespace = "", annotations = {} } = o.metadata;
    const base = { key: `${namespace}/${name}`, namespace, name };
    const decoded = decodeWorkloadEntry(o);
    if (!decoded.ok) return { ...base, workload: undefined, problems: decoded.problems, binding: { kind: "none" } };
    const { spec } = decoded;
    const labels: LabelMap = { ...o.metadata.labels, ...spec.labels };
    const gateway = gatewayOf(ctx, inputs, namespace, labels);
    const binding: Binding = gateway === undefined ? bindWaypoint(ctx, inputs, { namespace, labels, annotations, traffic: "workload" }) : { kind: "none" };
    const selecting = ctx.fetch(inputs.services, { index: [inputs.selectingServices, namespace], where: (s) => s.selector !== undefined && selects(s.selector, labels) });
    const { settings } = inputs;
    return {
      ...base, binding, problems: [],
      workload: {
        ...externalWorkload(ctx, inputs, namespace, name, spec, labels, annotations),
        uid: `${settings.clusterId}/networking.istio.io/WorkloadEntry/${namespace}/${name}`,
        waypoint: addressOfBinding(binding),
        authorizationPolicies: policiesSelecting(ctx, inputs, namespace, labels),
        services: new Map(selecting.map((s) => [s.key, endpointPorts(s.ports, spec)])),
        applicationTunnel: gateway?.inbound,
      },
    };
  };
}
