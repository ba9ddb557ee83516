// Owns the end of the mesh on a node: what was done to pods is undone, whoever still listens to us.
import type { Netns } from "@ambit/linux";
import { errorText } from "@ambit/runtime";
import type { AgentOptions } from "./agent-options.ts";
import type { PodRules } from "./rules/inpod.ts";

/** How often a leaving pod is asked whether its captured connections have ended. */
export const LEAVE_POLL_MS = 250;
/** How long connections that ztunnel cut may take to end, before the rules that translate their last packets go. */
export const CUT_SETTLE_MS = 1_000;
/** Pods at once: each costs a chain of programs, and the kubelet's patience is short. */
const AT_ONCE = 8;
/** What says goodbye must not keep the rest waiting: the API server may have forgotten us, ztunnel may be gone. */
const GOODBYE_MS = 1_000;

export interface CapturedPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly netns: Netns;
  readonly rules: PodRules;
  /** Rules of ours may be there. */
  readonly touched: boolean;
}
type Means = Pick<AgentOptions, "redirection" | "reporter" | "clock" | "log"> & { readonly letGo: (uid: string) => Promise<void> };

/** Never rejects: what cannot be taken back is logged, and does not keep other pods from it. */
export async function takeBack(pods: readonly CapturedPod[], o: Means): Promise<void> {
  const waiting = [...pods];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let pod = waiting.shift(); pod !== undefined; pod = waiting.shift()) await one(pod, o);
  }));
}

async function one(pod: CapturedPod, o: Means): Promise<void> {
  const { redirection, clock, log } = o;
  const named = { pod: `${pod.namespace}/${pod.name}` };
  const goodbye = (what: string, step: Promise<void>) => Promise.race([step, clock.sleep(GOODBYE_MS)]).catch((error: unknown) => log.debug(what, { ...named, error: errorText(error) }));
  // The word first, so that peers stop tunnelling to it.
  await goodbye("cannot take back what a pod says of itself", o.reporter.write(pod, { redirection: null, enrolment: null }));
  try {
    // What it spares, connections that are open, are cut in a moment anyhow.
    if (pod.touched) await redirection.drain(pod.netns, pod.rules).catch((error: unknown) => log.debug("cannot let a pod's connections end", { ...named, error: errorText(error) }));
    await goodbye("no ztunnel to let go of a pod", o.letGo(pod.uid));
    if (!pod.touched) return;
    const cut = clock.monotonic();
    while (redirection.captured(pod.netns) > 0 && clock.monotonic() - cut < CUT_SETTLE_MS) await clock.sleep(LEAVE_POLL_MS);
    // Each of its programs has a time limit, and the node may be busy.
    await redirection.remove(pod.netns, pod.rules).catch(() => redirection.remove(pod.netns, pod.rules));
    log.info("pod released", { ...named, because: "the mesh leaves this node" });
  } catch (error) {
    log.warn("cannot give a pod its network back as it was", { ...named, error: errorText(error) });
  }
}
