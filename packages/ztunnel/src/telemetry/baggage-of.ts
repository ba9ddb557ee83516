// Owns what a workload tells about itself in baggage.
import type { Workload } from "@ambit/core";
import { formatBaggage, type Baggage } from "@ambit/hbone";

/** By the object that the last push made: the text goes with it. */
const texts = new WeakMap<Workload, string>();

export function baggageText(w: Workload): string {
  let text = texts.get(w);
  if (text === undefined) texts.set(w, (text = formatBaggage(baggageOf(w))));
  return text;
}

function baggageOf(w: Workload): Baggage {
  return {
    cluster: w.clusterId, namespace: w.namespace, workload: { type: w.workloadType, name: w.workloadName }, service: w.canonicalName, version: w.canonicalRevision,
    region: w.locality.region, zone: w.locality.zone,
  };
}
