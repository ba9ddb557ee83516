// Owns writing, reading back and removing redirection inside a pod's namespace.
import { deleteConntrackEntries, hostKernel, type Netns } from "@ambit/linux";
import { capturedConnections } from "./pods/sockets.ts";
import type { Redirection } from "./pods/redirection.ts";
import { MARK_MASK, renderDrainRules, renderInspection, renderPodCleanup, renderPodRules, renderRouting, renderRoutingCleanup, renderTracking, renderTrackingCleanup, type PodRules } from "./rules/inpod.ts";

/**
 * Routes before rules: marked packets must have somewhere to go. Safe to repeat on a pod that is redirected already. Then the
 * kernel forgets connections that it would go on treating as not redirected; those that are open go on, because only a SYN
 * is ever redirected, and those of ztunnel are not forgotten: they carry its mark.
 */
async function applyPodRules(netns: Netns, rules: PodRules): Promise<string> {
  const script = `${renderTracking()}\n${renderRouting(rules)}\nnft -f -\n${renderInspection(rules)}`;
  const standing = await hostKernel.run(netns, ["sh", "-e", "-c", script], renderPodRules(rules));
  deleteConntrackEntries(netns, { untranslated: true, mark: { value: 0, mask: MARK_MASK } });
  return standing;
}

/** How the kernel prints each set of rules, found out in an empty namespace. A few variants at most: switches of pods. */
const models = new Map<string, Promise<string>>();

/** Prints what `applyPodRules` would leave, written into a namespace of nobody that ends with the command. */
function modelOf(rules: PodRules): Promise<string> {
  const key = JSON.stringify(rules);
  const known = models.get(key);
  if (known !== undefined) return known;
  const script = `ip link set lo up\n${renderTracking()}\n${renderRouting(rules)}\nnft -f -\n${renderInspection(rules)}`;
  const model = hostKernel.runAlone(["sh", "-e", "-c", script], renderPodRules(rules));
  models.set(key, model);
  model.catch(() => models.delete(key));
  return model;
}

/** A pod that an earlier agent captured: what stands well is better left alone than written again. */
async function standingPodRules(netns: Netns, rules: PodRules): Promise<string | undefined> {
  const [found, model] = await Promise.all([inspectPodRules(netns, rules), modelOf(rules)].map((text) => text.catch(() => undefined)));
  return found !== undefined && found === model ? found : undefined;
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
  await hostKernel.run(netns, ["sh", "-c", `nft -f - && { ${renderRoutingCleanup(rules)}\n${renderTrackingCleanup()}\n}`], renderPodCleanup());
  deleteConntrackEntries(netns);
}

export const podRedirection: Redirection = { apply: applyPodRules, standing: standingPodRules, inspect: inspectPodRules, drain: drainPodRules, remove: removePodRules, captured: capturedConnections };
