// Owns the reaction to a changed policy or workload: every live connection it concerns is judged again, at once.
import type { Logger } from "@ambit/runtime";
import type { ProxyState } from "../state/proxy-state.ts";
import type { Connections } from "./connections.ts";

/** Returns the way to stop watching. Runs inside the same turn as the change, so there is no window. */
export function watchPolicies(state: ProxyState, connections: Connections, log: Logger): () => void {
  return state.onApplied((applied) => {
    if (!applied.policies && applied.workloads.size === 0) return;
    const ended = connections.recheck(state.view(), (workload) => applied.policies || applied.workloads.has(workload.uid));
    if (ended > 0) log.info("connections ended by a policy change", { connections: ended });
  });
}
