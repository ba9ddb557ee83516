// Owns starting one pod in the whole process: with a predecessor's sockets where there are any, in every thread or in none.
import { closeDescriptor, type Netns } from "@ambit/linux";
import type { PodInfo } from "@ambit/proxy/state";
import type { Crew } from "../workers/crew.ts";
import type { Handover } from "./handover.ts";
import type { RunningPod } from "./manager.ts";
import type { PodProxies } from "./pod-proxies.ts";
import { TRAFFIC_PORTS } from "./pod-proxy.ts";

export interface Starters { readonly handover: Handover; readonly crew: Crew | undefined; readonly pods: PodProxies }

/** Takes ownership of `netns` if it resolves. */
export async function startPod({ handover, crew, pods }: Starters, uid: string, info: PodInfo, netns: Netns): Promise<RunningPod> {
  const inherited = await handover.take(uid, netns.inode);
  const theirs = crew === undefined ? [] : inherited.filter((s) => TRAFFIC_PORTS.has(s.at.port));
  const ours = inherited.filter((s) => !theirs.includes(s));
  const starting = crew?.start(uid, info, netns, theirs);
  starting?.catch(() => { for (const { fd } of ours) closeDescriptor(fd); });
  const sockets = (await starting) ?? [];
  try {
    const pod = await pods.start(uid, info, netns, ours);
    handover.serves(uid, netns.inode, [...sockets, ...pod.sockets()]);
    return { ...pod, stop: () => { handover.forget(uid); crew?.stop(uid); pod.stop(); } };
  } catch (error) {
    crew?.stop(uid);
    throw error;
  }
}
