// Owns the slow second look at what is served: a change that got lost on its way is found within a round, mended and reported.
import type { Clock, Logger, Metrics, Timer } from "@ambit/runtime";
import type { ServedSource } from "./served.ts";

/** Names looked at in one go: some 5 ms of encoding. */
const NAMES_AT_ONCE = 300;
/** With NAMES_AT_ONCE, 10,000 workloads are gone through within 40 s for half a percent of a core. */
const EVERY_MS = 1_000;

export function auditServed(o: { sources: readonly ServedSource[]; clock: Clock; log: Logger; metrics: Metrics }): Timer {
  const mended = o.metrics.counter("ambit_istiod_lost_updates_total", "Resources that were served out of date and mended by the audit, by type.");
  return o.clock.every(EVERY_MS, () => {
    for (const source of o.sources) {
      const wrong = source.audit(NAMES_AT_ONCE);
      if (wrong.length === 0) continue;
      mended.with({ type: source.typeUrl }).inc(wrong.length);
      o.log.error("served resources were out of date, mended", { type: source.typeUrl, count: wrong.length, first: wrong[0] });
    }
  });
}
