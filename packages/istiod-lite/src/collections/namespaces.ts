// Owns what translations need of namespaces and nodes, so that the rest of those objects can change unheard.
import type { KubeObject } from "@ambit/kube";
import type { Locality } from "@ambit/core";
import { isDiscovered, type ScopeInputs } from "./scope.ts";
import { ANNOTATIONS, type LabelMap } from "./settings.ts";
import type { Context } from "@ambit/collections";

export interface NamespaceInfo {
  readonly name: string;
  readonly labels: LabelMap;
  /** Objects in it are read. */
  readonly discovered: boolean;
  /** Raw annotation value; empty when absent. */
  readonly trafficDistribution: string;
}

export interface NodeInfo {
  readonly name: string;
  readonly locality: Locality;
}

export const NO_LOCALITY: Locality = { region: "", zone: "", subzone: "" };

export const namespaceOf = (inputs: ScopeInputs) => (ctx: Context, o: KubeObject): NamespaceInfo => ({
  name: o.metadata.name,
  labels: o.metadata.labels ?? {},
  discovered: isDiscovered(ctx, inputs, o.metadata.name, o.metadata.labels ?? {}),
  trafficDistribution: o.metadata.annotations?.[ANNOTATIONS.trafficDistribution] ?? "",
});

export const nodeOf = (_ctx: Context, o: KubeObject): NodeInfo => {
  const labels = o.metadata.labels ?? {};
  return {
    name: o.metadata.name,
    locality: {
      region: labels["topology.kubernetes.io/region"] ?? "",
      zone: labels["topology.kubernetes.io/zone"] ?? "",
      subzone: labels["topology.istio.io/subzone"] ?? "",
    },
  };
};
