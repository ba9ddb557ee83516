// Owns what is asked of the control plane name by name, and for how long it is believed that a name is not there.
import type { PodInfo } from "@ambit/proxy/state";
import type { Clock } from "@ambit/runtime";
import type { LookupAnswer } from "@ambit/xds";

/** Names that are remembered as missing: mostly addresses outside the mesh. The oldest go first. */
export const ABSENT_MAX = 10_000;
/** An address may join the mesh: it is asked for again after this time. The control plane also pushes it, if it remembers the question. */
export const ABSENT_MS = 30_000;

export interface OnDemand {
  readonly absent: { has(name: string): boolean };
  /** "found": it is in the state. Connections that ask meanwhile share the question. */
  fetch(name: string): Promise<LookupAnswer>;
  /** Our own pod, by the uid that it must have; nobody waits for the answer, which comes as a push. */
  askForPod(pod: PodInfo): void;
}

export interface OnDemandOptions {
  readonly ask: (name: string) => Promise<LookupAnswer>;
  readonly clusterId: string;
  readonly clock: Clock;
}

export function createOnDemand(o: OnDemandOptions): OnDemand {
  const until = new Map<string, number>();
  const remember = (name: string): void => {
    until.delete(name);
    until.set(name, o.clock.monotonic() + ABSENT_MS);
    const [oldest] = until.keys();
    if (until.size > ABSENT_MAX && oldest !== undefined) until.delete(oldest);
  };
  const fetch = async (name: string): Promise<LookupAnswer> => {
    const answer = await o.ask(name);
    // Found under another network, or refused: the view lacks it all the same, and asking again would not help.
    if (answer !== "timeout") remember(name);
    return answer;
  };
  return {
    absent: { has: (name) => (until.get(name) ?? -Infinity) > o.clock.monotonic() },
    fetch,
    askForPod: (pod) => void o.ask(`${o.clusterId}//Pod/${pod.namespace}/${pod.name}`),
  };
}
