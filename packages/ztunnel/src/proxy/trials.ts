// Owns policies on trial (istio.io/dry-run): what each would have done is counted and said, never enforced.
import type { DryRunResult } from "@ambit/core";
import type { Logger } from "@ambit/runtime";
import type { TrafficMetrics } from "../telemetry/traffic-metrics.ts";

export interface TrialPorts {
  readonly metrics: Pick<TrafficMetrics, "trial">;
  readonly log: Logger;
  /** AUTHZ_POLICY_INFO_LOGGING: at info instead of debug. */
  readonly loud: boolean;
}

export function reportTrials(o: TrialPorts, results: readonly DryRunResult[], connection: { readonly src: string; readonly dst: string; readonly identity: string | undefined }): void {
  for (const r of results) {
    o.metrics.trial(r.policy, r.action);
    o.log[o.loud ? "info" : "debug"]("policy on trial matched", {
      policy: r.policy, "policy.rule": r.rule, "policy.fields": r.fields, action: r.action, enforced: false,
      "src.addr": connection.src, "dst.addr": connection.dst, ...(connection.identity === undefined ? {} : { "src.identity": connection.identity }),
    });
  }
}
