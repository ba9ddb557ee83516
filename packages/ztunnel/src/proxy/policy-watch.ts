// Owns the reaction to a changed policy or workload: every live connection it concerns is judged again, at once; and the patience
// with policies that are named before they are sent.
import type { AuthzFacts, Workload } from "@ambit/core";
import type { Clock, Logger, Timer } from "@ambit/runtime";
import type { ProxyState } from "@ambit/proxy/state";
import { mayComeYet, type Admission, type Connections, type LiveConnection } from "./connections.ts";

/**
 * Istio's control plane pushes workloads before policies, so a new policy is named some milliseconds before it is known. Denying at
 * once would cut connections that the policy allows. After this time a missing policy denies, as it must.
 */
export const POLICY_WAIT_MS = 1_000;

export interface PolicyWatchOptions {
  readonly state: ProxyState;
  readonly connections: Connections;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Returns the way to stop watching. Runs inside the same turn as the change, so there is no window. */
export function watchPolicies(o: PolicyWatchOptions): () => void {
  let timer: Timer | undefined;
  const recheck = (concerns: (workload: Workload) => boolean, patient: boolean): void => {
    const { ended, spared } = o.connections.recheck(o.state.view(), concerns, patient);
    if (ended > 0) o.log.info("connections ended by a policy change", { connections: ended });
    if (spared === 0 || timer !== undefined) return;
    timer = o.clock.after(POLICY_WAIT_MS, () => {
      timer = undefined;
      recheck(() => true, false);
    });
  };
  const stop = o.state.onApplied((applied) => {
    if (applied.policies || applied.workloads.size > 0) recheck((w) => applied.policies || applied.workloads.has(w.uid), true);
  });
  return () => {
    stop();
    timer?.cancel();
  };
}

/** Admits, waiting at most POLICY_WAIT_MS for a policy that is named and not known yet. */
export async function admitWhenKnown(o: Pick<PolicyWatchOptions, "state" | "connections" | "clock">, connection: LiveConnection, workload: Workload, facts: AuthzFacts):
  Promise<Admission> {
  const admit = () => o.connections.admit(o.state.view(), connection, o.state.view().workload(workload.uid) ?? workload, facts);
  const first = admit();
  if (!("denied" in first) || !mayComeYet(first.denied)) return first;
  return new Promise((resolve) => {
    const finish = (answer: Admission): void => { timer.cancel(); stop(); resolve(answer); };
    const timer = o.clock.after(POLICY_WAIT_MS, () => finish(admit()));
    const stop = o.state.onApplied(() => {
      const again = admit();
      if (!("denied" in again) || !mayComeYet(again.denied)) finish(again);
    });
  });
}
