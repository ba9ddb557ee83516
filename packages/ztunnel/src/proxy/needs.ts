// Owns the fetching of what a plan needs, with a bound on time and rounds, so that plans stay synchronous.
import { MeshError, type Ip } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import type { Gathered } from "../facts.ts";
import type { DenyPlan, NeedPlan } from "../plan/need.ts";
import type { ProxyState, PodInfo } from "@ambit/proxy/state";
import type { OnDemand } from "./on-demand.ts";

/** Own workload, destination, its waypoint or gateway, that one's name, and again if the state moved on meanwhile. */
const NEED_ROUNDS_MAX = 6;
/** A pod may be enrolled before the control plane has told us about it. */
export const OWN_WORKLOAD_WAIT_MS = 5_000;

export interface Needs {
  /** Plans until there is an answer; never rejects: what cannot be had is a denial. */
  decide<P extends { readonly kind: string }>(pod: PodInfo, plan: (gathered: Gathered) => P | NeedPlan): Promise<Exclude<P, NeedPlan> | DenyPlan>;
}

export interface NeedsOptions {
  readonly state: ProxyState;
  readonly resolve: (hostname: string) => Promise<readonly Ip[]>;
  /** A connection of this pod needs a name, whether or not the answer is known already. */
  readonly onName?: (pod: PodInfo, hostname: string) => void;
  /** undefined: the control plane tells everything by itself. */
  readonly onDemand?: OnDemand | undefined;
  readonly clock: Clock;
}

export function createNeeds(o: NeedsOptions): Needs {
  return {
    async decide<P extends { readonly kind: string }>(pod: PodInfo, plan: (gathered: Gathered) => P | NeedPlan) {
      const hosts = new Map<string, readonly Ip[]>();
      for (let round = 0; round < NEED_ROUNDS_MAX; round++) {
        const result = plan({ hosts, absent: o.onDemand?.absent });
        if (!isNeed(result)) return result as Exclude<P, NeedPlan>;
        const { need, because } = result;
        if (need.kind === "own-workload") {
          if (await ownWorkload(o, pod)) continue;
          return { kind: "deny", code: "unknown-source", message: `failed to fetch information about local workload: ${pod.namespace}/${pod.name} is not known after ${OWN_WORKLOAD_WAIT_MS} ms`, because };
        }
        if (need.kind === "address") {
          if (o.onDemand !== undefined && (await o.onDemand.fetch(need.name)) !== "timeout") continue;
          return { kind: "deny", code: "lookup-timeout", message: `the control plane gave no answer for ${need.name}`, because };
        }
        o.onName?.(pod, need.hostname);
        try {
          hosts.set(need.hostname, await o.resolve(need.hostname));
        } catch (error) {
          const message = error instanceof Error ? error.message : String(error);
          return { kind: "deny", code: error instanceof MeshError ? error.code : "dns-failed", message: `cannot resolve ${need.hostname}: ${message}`, because };
        }
      }
      return { kind: "deny", code: "need-exhausted", message: `still not decided after ${NEED_ROUNDS_MAX} rounds`, because: [] };
    },
  };
}

const isNeed = (p: { readonly kind: string }): p is NeedPlan => p.kind === "need";

/** Waits for a push that brings the pod's workload. */
export function ownWorkload(o: Pick<NeedsOptions, "state" | "clock" | "onDemand">, pod: PodInfo, limitMs = OWN_WORKLOAD_WAIT_MS): Promise<boolean> {
  if (o.state.view().workloadOfPod(pod) !== undefined) return Promise.resolve(true);
  o.onDemand?.askForPod(pod);
  return new Promise((resolve) => {
    const finish = (found: boolean) => { timer.cancel(); stop(); resolve(found); };
    const timer = o.clock.after(limitMs, () => finish(false));
    const stop = o.state.onApplied(() => { if (o.state.view().workloadOfPod(pod) !== undefined) finish(true); });
  });
}
