// Owns what a workload tells about itself in baggage.
import type { Workload } from "@ambit/core";
import type { Baggage } from "@ambit/hbone";

export function baggageOf(w: Workload): Baggage {
  return {
    cluster: w.clusterId, namespace: w.namespace, workload: { type: w.workloadType, name: w.workloadName }, service: w.canonicalName, version: w.canonicalRevision,
    region: w.locality.region, zone: w.locality.zone,
  };
}
