// Owns writing, reading back and removing redirection inside a pod's namespace.
import { deleteConntrackEntries, hostKernel, type Netns } from "@ambit/linux";
import type { Redirection } from "./pods/redirection.ts";
import { capturedConnections } from "./pods/sockets.ts";
import { IPTABLES, NFT, type Backend } from "./rules/backend.ts";
import { MARK_MASK, renderRouting, renderRoutingCleanup, renderRoutingInspection, renderTracking, renderTrackingCleanup, type PodRules } from "./rules/inpod.ts";

const lines = (...parts: readonly string[]): string => parts.filter((p) => p !== "").join("\n");
const shell = (script: string): readonly string[] => ["sh", "-e", "-c", script];
const inspection = (backend: Backend, rules: PodRules): string => lines(backend.inspect(rules), renderRoutingInspection(rules));
/** Routes before rules: marked packets must have somewhere to go. */
const written = (backend: Backend, rules: PodRules, seen: string): string => lines(renderTracking(), renderRouting(rules), backend.write(rules, seen), inspection(backend, rules));

class PodRedirection implements Redirection {
  readonly #backend: Backend;
  readonly #other: Backend;
  /** How the kernel prints each set of rules, found out in an empty namespace. A few variants at most: switches of pods. */
  readonly #models = new Map<string, Promise<string>>();

  constructor(backend: Backend, other: Backend) {
    this.#backend = backend;
    this.#other = other;
  }

  /**
   * Safe to repeat on a pod that is redirected already. Then the kernel forgets connections that it would go on treating as not
   * redirected; those that are open go on, because only a SYN is ever redirected, and those of ztunnel are not forgotten: they
   * carry its mark.
   */
  async apply(netns: Netns, rules: PodRules): Promise<string> {
    const standing = await hostKernel.run(netns, shell(written(this.#backend, rules, await look(netns, this.#backend))));
    deleteConntrackEntries(netns, { untranslated: true, mark: { value: 0, mask: MARK_MASK } });
    return standing;
  }

  async standing(netns: Netns, rules: PodRules): Promise<string | undefined> {
    const [found, model] = await Promise.all([this.inspect(netns, rules), this.#modelOf(rules)].map((text) => text.catch(() => undefined)));
    return found !== undefined && found === model ? found : undefined;
  }

  /** Prints what `apply` would leave, written into a namespace of nobody that ends with the command. */
  #modelOf(rules: PodRules): Promise<string> {
    const key = JSON.stringify(rules);
    const known = this.#models.get(key);
    if (known !== undefined) return known;
    const model = hostKernel.runAlone(shell(lines("ip link set lo up", written(this.#backend, rules, ""))));
    this.#models.set(key, model);
    model.catch(() => this.#models.delete(key));
    return model;
  }

  inspect(netns: Netns, rules: PodRules): Promise<string> {
    return hostKernel.run(netns, shell(inspection(this.#backend, rules)));
  }

  async forgetOther(netns: Netns): Promise<void> {
    let script: string;
    try {
      script = this.#other.clear(await look(netns, this.#other));
    } catch {
      return; // This node does not have the other kind's programs: then there is nothing of it either.
    }
    if (script !== "") await hostKernel.run(netns, shell(script));
  }

  async drain(netns: Netns, rules: PodRules): Promise<void> {
    await hostKernel.run(netns, shell(this.#backend.drain(rules, await look(netns, this.#backend))));
  }

  /**
   * Entries that would still translate go first, while the drain rules stand: without them a reply could meet an entry that has
   * its ports, and be dropped. Then the rules, then what was tracked meanwhile.
   */
  async remove(netns: Netns, rules: PodRules): Promise<void> {
    deleteConntrackEntries(netns);
    const clear = this.#backend.clear(await look(netns, this.#backend));
    await hostKernel.run(netns, shell(lines(clear, renderRoutingCleanup(rules), renderTrackingCleanup())));
    deleteConntrackEntries(netns);
  }

  captured(netns: Netns): number {
    return capturedConnections(netns);
  }
}

const look = async (netns: Netns, backend: Backend): Promise<string> => (backend.look === "" ? "" : hostKernel.run(netns, shell(backend.look)));

/** `native`: nft; otherwise iptables-nft (NATIVE_NFTABLES). */
export const podRedirection = (native: boolean): Redirection => (native ? new PodRedirection(NFT, IPTABLES) : new PodRedirection(IPTABLES, NFT));
