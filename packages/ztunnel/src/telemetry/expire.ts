// Owns the end of metric series: those of workloads that are gone are dropped when nothing touched them for a while.
import type { StateView } from "@ambit/proxy/state";
import type { Clock, Labels, Metrics } from "@ambit/runtime";

/** Long enough for several scrapes to have seen the last value. */
export const SERIES_IDLE_MS = 300_000;
const EVERY_MS = 60_000;

/** Returns the way to stop. Series of workloads that are still known stay for ever, also when they are silent. */
export function expireSeries(o: { readonly metrics: Metrics; readonly view: () => StateView; readonly clock: Clock }): () => void {
  const timer = o.clock.every(EVERY_MS, () => expireOnce(o));
  return () => timer.cancel();
}

export function expireOnce(o: { readonly metrics: Metrics; readonly view: () => StateView; readonly clock: Clock }): void {
  // Only when there is a candidate: a walk over all workloads is not free.
  let known: Known | undefined;
  o.metrics.expire((labels) => isGone(labels, (known ??= namesOf(o.view()))), o.clock.now() - SERIES_IDLE_MS);
}

interface Known { readonly workloads: ReadonlySet<string>; readonly services: ReadonlySet<string> }

function namesOf(view: StateView): Known {
  const [workloads, services] = [new Set<string>(), new Set<string>()];
  for (const w of view.workloads()) {
    workloads.add(`${w.namespace}/${w.workloadName}`);
    services.add(w.canonicalName);
  }
  return { workloads, services };
}

const SIDES = ["source", "destination"] as const;
const UNKNOWN = "unknown";

/** One side's workload is not there any more. DNS series name only the application of their source. */
function isGone(labels: Labels, known: Known): boolean {
  for (const side of SIDES) {
    const [workload, namespace] = [labels[`${side}_workload`], labels[`${side}_workload_namespace`]];
    if (workload !== undefined && workload !== UNKNOWN && !known.workloads.has(`${namespace}/${workload}`)) return true;
  }
  const asking = labels["request_query_type"] === undefined ? undefined : labels["source_canonical_service"];
  return asking !== undefined && asking !== UNKNOWN && !known.services.has(asking);
}
