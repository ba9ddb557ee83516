// Owns what the agent needs from its surroundings: the seam that its tests fill with a node in memory.
import type { KubeClient, Pod } from "@ambit/kube";
import type { Netns } from "@ambit/linux";
import type { Clock, Logger, Metrics, Random } from "@ambit/runtime";
import type { HostProbeRules } from "./host-probes.ts";
import type { EnrolmentRules } from "./plan/select.ts";
import type { Redirection } from "./pods/redirection.ts";
import type { Reporter } from "./pods/report.ts";
import type { PodRules } from "./rules/inpod.ts";
import type { EnrolledPod } from "./ztunnel/server.ts";

export interface Pods {
  /** By uid, as last seen. */
  byUid(uid: string): Pod | undefined;
  all(): Iterable<Pod>;
  namespaceLabels(name: string): Readonly<Record<string, string>>;
}
export interface Zds {
  add(pod: EnrolledPod): Promise<void>;
  remove(uid: string): Promise<void>;
}
export interface AgentOptions {
  readonly rules: EnrolmentRules;
  readonly podRules: Omit<PodRules, "bypassInbound" | "virtualInterfaces">;
  /** How long connections of a pod that leaves may take to end. */
  readonly drainMs: number;
  readonly pods: Pods;
  readonly client: Pick<KubeClient, "get">;
  readonly reporter: Pick<Reporter, "write" | "warn">;
  readonly redirection: Redirection;
  readonly probes: Pick<HostProbeRules, "set" | "verify">;
  /** The pod's namespace: it owns one of these IPs and a process holds it. */
  readonly findNetns: (uid: string, ips: readonly string[]) => Netns | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}
