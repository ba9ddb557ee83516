// Owns the regular look at what stands: in every enrolled pod's namespace, on the node, and in what was said of the pods; it puts right what is not as it should be.
import { isNotFound, KINDS } from "@ambit/kube";
import { errorText, type Counter } from "@ambit/runtime";
import type { AgentOptions } from "./agent-options.ts";
import type { Entry } from "./entry.ts";
import { nameOf } from "./pods/facts.ts";
import { enrolmentOf, REDIRECTION } from "./pods/report.ts";
import type { Turns } from "./turns.ts";

export interface UpkeepOptions extends Pick<AgentOptions, "client" | "log" | "metrics" | "pods" | "probes" | "redirection"> {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly turns: Turns;
  /** Says of the pod what is, where that is not said yet. */
  state(entry: Entry): Promise<void>;
  /** The pod is gone. */
  gone(entry: Entry): Promise<void>;
}

export class Upkeep {
  readonly #o: UpkeepOptions;
  readonly #drift: { with(labels: Readonly<Record<string, string>>): Counter };
  #underWay = false;
  #closed = false;

  constructor(options: UpkeepOptions) {
    this.#o = options;
    this.#drift = options.metrics.counter("ambit_cni_rules_drift_total", "times that rules were found changed by somebody else, and put back");
    for (const where of ["pod", "node"]) this.#drift.with({ where });
  }

  /** One round at a time; none after the end. */
  async round(): Promise<void> {
    if (this.#underWay || this.#closed) return;
    this.#underWay = true;
    try {
      await this.#node();
      for (const [uid, entry] of this.#o.entries) await this.#o.turns.take(uid, () => this.#pod(entry));
    } finally {
      this.#underWay = false;
    }
  }

  close(): void {
    this.#closed = true;
  }

  async #node(): Promise<void> {
    try {
      if (!(await this.#o.probes.verify())) return;
      this.#drift.with({ where: "node" }).inc();
      this.#o.log.warn("the node's probe rule was changed by somebody else and is put back");
    } catch (error) {
      this.#o.log.warn("cannot verify the node's probe rule", { error: errorText(error) });
    }
  }

  async #pod(entry: Entry): Promise<void> {
    if (this.#closed || this.#o.entries.get(entry.uid) !== entry) return;
    try {
      if (!entry.listed && await this.#isGone(entry)) return await this.#o.gone(entry);
      if (entry.phase !== "enrolled" || entry.standing === undefined) return;
      const pod = this.#o.pods.byUid(entry.uid);
      if (pod !== undefined) {
        // Somebody may have taken our word away.
        entry.annotated = pod.metadata.annotations?.[REDIRECTION] === "enabled";
        entry.reported = enrolmentOf(pod);
        await this.#o.state(entry);
      }
      const { redirection } = this.#o;
      // A missing table is a failure of the inspection; so is a namespace that cannot be entered, and then the repair says so.
      const found = await redirection.inspect(entry.netns, entry.rules).catch(() => undefined);
      if (found === entry.standing) return;
      this.#o.log.warn("the redirection of a pod was changed by somebody else and is put back", { pod: nameOf(entry) });
      entry.standing = await redirection.apply(entry.netns, entry.rules);
      // Whoever sees the count finds the rules there.
      this.#drift.with({ where: "pod" }).inc();
    } catch (error) {
      this.#o.log.warn("cannot verify the redirection of a pod", { pod: nameOf(entry), error: errorText(error) });
    }
  }

  /** The plugin brought it and the watch never showed it: the API server knows. */
  async #isGone(entry: Entry): Promise<boolean> {
    try {
      return (await this.#o.client.get(KINDS.pods, entry.namespace, entry.name)).metadata.uid !== entry.uid;
    } catch (error) {
      if (isNotFound(error)) return true;
      throw error;
    }
  }
}
