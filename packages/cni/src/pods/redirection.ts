// Owns the seam between the agent's decisions and a pod's namespace. Real in apply.ts, fake in tests.
import type { Netns } from "@ambit/linux";
import type { PodRules } from "../rules/inpod.ts";

export interface Redirection {
  /** Writes it, whatever stood there, and resolves with it as the kernel prints it. */
  apply(netns: Netns, rules: PodRules): Promise<string>;
  /** What stands, if that is to the letter what `apply` would write; undefined otherwise. */
  standing(netns: Netns, rules: PodRules): Promise<string | undefined>;
  /** Prints what stands; rejects where part of it is missing. */
  inspect(netns: Netns, rules: PodRules): Promise<string>;
  /** Nothing new is redirected; connections that were go on. */
  drain(netns: Netns, rules: PodRules): Promise<void>;
  /** What an earlier agent wrote the other way (nft, iptables) goes. */
  forgetOther(netns: Netns): Promise<void>;
  /** The namespace is as it was before. */
  remove(netns: Netns, rules: PodRules): Promise<void>;
  /** Connections that still run through ztunnel's capture ports. */
  captured(netns: Netns): number;
}
