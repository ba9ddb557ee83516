// Owns writing, reading back and removing redirection inside a pod's namespace.
import { deleteConntrackEntries, hostKernel, type Netns } from "@ambit/linux";
import { capturedConnections } from "./pods/sockets.ts";
import type { Redirection } from "./pods/redirection.ts";
import { MARK_MASK, renderDrainRules, renderInspection, renderPodCleanup, renderPodRules, renderRouting, renderRoutingCleanup, type PodRules } from "./rules/inpod.ts";

/**
 * Routes before rules: marked packets must have somewhere to go. Safe to repeat on a pod that is redirected already. Then the
 * kernel forgets connections that it would go on treating as not redirected; those that are open go on, because only a SYN
 * is ever redirected, and those of ztunnel are not forgotten: they carry its mark.
 */
async function applyPodRules(netns: Netns, rules: PodRules): Promise<string> {
  const script = `${renderRouting(rules)}\nnft -f -\n${renderInspection(rules)}`;
  const standing = await hostKernel.run(netns, ["sh", "-e", "-c", script], renderPodRules(rules));
  deleteConntrackEntries(netns, { untranslated: true, mark: { value: 0, mask: MARK_MASK } });
  return standing;
}

const inspectPodRules = (netns: Netns, rules: PodRules): Promise<string> => hostKernel.run(netns, ["sh", "-e", "-c", renderInspection(rules)]);

async function drainPodRules(netns: Netns): Promise<void> {
  await hostKernel.run(netns, ["nft", "-f", "-"], renderDrainRules());
}

/**
 * Entries that would still translate go first, while the drain rules stand: without them a reply could meet an entry that has
 * its ports, and be dropped. Then the rules, then what was tracked meanwhile.
 */
async function removePodRules(netns: Netns, rules: PodRules): Promise<void> {
  deleteConntrackEntries(netns);
  await hostKernel.run(netns, ["sh", "-c", `nft -f - && { ${renderRoutingCleanup(rules)}\n}`], renderPodCleanup());
  deleteConntrackEntries(netns);
}

export const podRedirection: Redirection = { apply: applyPodRules, inspect: inspectPodRules, drain: drainPodRules, remove: removePodRules, captured: capturedConnections };
