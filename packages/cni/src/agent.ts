// Owns enrolment: brings each pod of the node from what it is to what its labels say, one step chain per pod, retried.
import type { Pod } from "@ambit/kube";
import { SyscallError, type Netns } from "@ambit/linux";
import { backoffDelay, errorText, type Timer } from "@ambit/runtime";
import type { AgentOptions, Zds } from "./agent-options.ts";
import type { Entry } from "./entry.ts";
import { selectPod } from "./plan/select.ts";
import { factsOf, isTerminal, nameOf, podIps, switchesOf } from "./pods/facts.ts";
import { enrolmentOf, REDIRECTION, type Enrolment, type Report } from "./pods/report.ts";
import { CUT_SETTLE_MS, LEAVE_POLL_MS, takeBack } from "./take-back.ts";
import { Turns } from "./turns.ts";
import { Upkeep } from "./upkeep.ts";
import type { EnrolledPod } from "./ztunnel/server.ts";

/** Retries never end while the pod should be enrolled: giving up would leave it outside in silence. */
const RETRY = { initialMs: 20, maxMs: 5_000 };
/** A pod that is not enrolled for this long gets a condition and an Event that say why; before, it is just on its way. */
const PATIENCE_MS = 2_000;
/** A pod that leaves is served at least this long: peers learn from the control plane that it has left, and still tunnel until then. */
export const PEERS_LEARN_MS = 2_000;
/** Without any ztunnel for this long (a restart takes less), pods are not enrolled any more and say so. */
const ABSENCE_MS = 10_000;

interface Retry { attempt: number; readonly since: number; readonly timer: Timer; warned: boolean }

export class Agent {
  readonly #o: AgentOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #turns: Turns;
  readonly #upkeep: Upkeep;
  readonly #retries = new Map<string, Retry>();
  #zds: Zds | undefined;
  #absence: Timer | undefined;
  #closed = false;

  constructor(options: AgentOptions) {
    this.#o = options;
    const { metrics } = options;
    const enrolled = metrics.gauge("istio_cni_enrolled_pods", "pods whose traffic is captured on this node").with({});
    metrics.onCollect(() => enrolled.set([...this.#entries.values()].filter((e) => e.phase === "enrolled").length));
    this.#turns = new Turns(options.log);
    this.#upkeep = new Upkeep({
      ...options, entries: this.#entries, turns: this.#turns,
      state: (entry) => this.#state(entry), gone: (entry) => this.#release(entry, "the pod is gone"),
    });
  }

  /** Everything a connecting ztunnel must take. */
  snapshot(): EnrolledPod[] {
    return [...this.#entries.values()];
  }

  /** From now on pods are handed over; those adopted before travel in the snapshot. */
  attach(zds: Zds): void {
    this.#zds = zds;
  }

  /** Called whenever the number of ztunnels that hold the whole snapshot changed. */
  ztunnels(count: number): void {
    if (count === 0) {
      this.#absence ??= this.#o.clock.after(ABSENCE_MS, () => {
        for (const [uid, entry] of this.#entries) {
          entry.accepted = false;
          if (entry.phase === "enrolled") void this.#turns.take(uid, () => this.#state(entry));
        }
      });
      return;
    }
    this.#absence?.cancel();
    this.#absence = undefined;
    for (const [uid, entry] of this.#entries) if (entry.phase !== "enrolled") void this.sync(uid);
    for (const uid of this.#retries.keys()) void this.sync(uid);
  }

  /** A ztunnel took this pod of its snapshot, or said why not (it tries again by itself). */
  taken(pod: EnrolledPod, error: string | undefined): void {
    const entry = this.#entries.get(pod.uid);
    if (entry !== pod) return;
    entry.accepted = error === undefined;
    if (entry.phase === "enrolled") void this.#turns.take(pod.uid, () => this.#state(entry, error));
  }

  /** The watch says that the pod was deleted. */
  deleted(uid: string): Promise<void> {
    const entry = this.#entries.get(uid);
    if (entry !== undefined) entry.listed = true;
    return this.sync(uid);
  }

  /** Brings one pod in line. Never rejects; failures are logged and tried again. */
  sync(uid: string): Promise<void> {
    return this.#turns.take(uid, async () => {
      this.#retries.get(uid)?.timer.cancel();
      try {
        await this.#reconcile(uid);
        this.#retries.delete(uid);
      } catch (error) {
        await this.#retryLater(uid, error);
      }
    });
  }

  /**
   * A pod that has no process yet: called by the CNI plugin, fails the pod's start when it cannot be enrolled. A failed attempt
   * leaves nothing behind but rules in a namespace that ends. `abandoned`: the plugin has given up waiting.
   */
  async enrolNew(pod: Pod, netns: Netns, ips: readonly string[], abandoned: () => boolean = () => false): Promise<void> {
    const uid = pod.metadata.uid ?? "";
    let failure: unknown;
    await this.#turns.take(uid, async () => {
      let entry: Entry | undefined;
      try {
        entry = this.#adopt(pod, netns, ips);
        if (this.#zds === undefined) throw new Error("the agent is still starting");
        // No process can speak yet: redirect first, so that nothing ever leaves in clear.
        await this.#redirect(entry);
        await this.#handOver(entry);
        if (abandoned()) throw new Error("the plugin has stopped waiting");
      } catch (error) {
        failure = error;
        if (entry === undefined) netns[Symbol.dispose]();
        else await this.#end(entry).catch((cause: unknown) => this.#o.log.warn("cannot undo a failed enrolment", { pod: nameOf(pod), error: errorText(cause) }));
        return;
      }
      // The pod is safe; only the word is missing. It may start.
      await this.#announce(entry).catch((error: unknown) => this.#retryLater(uid, error));
    });
    if (failure === undefined) return;
    this.#warn({ uid, name: pod.metadata.name, namespace: pod.metadata.namespace ?? "" }, `cannot start in the mesh: ${errorText(failure)}`);
    throw failure;
  }

  selection(pod: Pod): ReturnType<typeof selectPod> {
    return selectPod(this.#o.rules, factsOf(pod, this.#o.pods.namespaceLabels(pod.metadata.namespace ?? "")));
  }

  /** Compares what stands in every namespace and on the node with what should, and puts it right. One round at a time. */
  verify(): Promise<void> {
    return this.#upkeep.round();
  }

  /** The mesh goes from this node: every pod gets its network back as it was, within seconds; its captured connections are cut. */
  async leaveAll(): Promise<void> {
    await this.#settle();
    await takeBack([...this.#entries.values()], { ...this.#o, letGo: async (uid) => this.#zds?.remove(uid) });
  }

  async close(): Promise<void> {
    await this.#settle();
    for (const entry of this.#entries.values()) entry.netns[Symbol.dispose]();
    this.#entries.clear();
  }

  async #settle(): Promise<void> {
    this.#closed = true;
    this.#upkeep.close();
    this.#absence?.cancel();
    for (const { timer } of this.#retries.values()) timer.cancel();
    await this.#turns.settled();
  }

  async #reconcile(uid: string): Promise<void> {
    if (this.#closed) return;
    const pod = this.#o.pods.byUid(uid);
    const entry = this.#entries.get(uid);
    if (entry !== undefined && pod !== undefined) entry.listed = true;
    // The plugin is often faster than the watch: an unknown pod that was never listed is new, not gone.
    if (pod === undefined) {
      if (entry?.listed === true) return this.#release(entry, "the pod is gone");
      return entry?.phase === "joining" ? this.#finish(entry) : undefined;
    }
    if (isTerminal(pod)) return entry === undefined ? undefined : this.#release(entry, "the pod has ended");
    const selection = this.selection(pod);
    if (!selection.enrolled) {
      const leaving = entry ?? this.#adoptLeaving(pod);
      return leaving === undefined ? undefined : this.#leave(leaving, selection.because);
    }
    if (entry !== undefined) {
      if (entry.phase === "leaving") this.#o.log.info("pod comes back", { pod: nameOf(pod) });
      return entry.phase === "enrolled" ? undefined : this.#finish(entry);
    }
    // Without an address its sandbox is still being made: the CNI plugin brings it.
    const ips = podIps(pod);
    if (ips.length === 0) return;
    const adopted = this.#adopt(pod, this.#netnsOf(pod, ips), ips);
    // Enrolled before this agent started: its redirection stands or must stand again, ztunnel or not.
    if (adopted.annotated) {
      await this.#redirect(adopted, await this.#o.redirection.standing(adopted.netns, adopted.rules));
      await this.#o.redirection.forgetOther(adopted.netns);
    }
    await this.#finish(adopted);
  }

  #netnsOf(pod: Pod, ips: readonly string[]): Netns {
    const uid = pod.metadata.uid ?? "";
    for (const other of this.#o.pods.all()) {
      if (other.metadata.uid === uid || isTerminal(other) || other.spec.hostNetwork === true) continue;
      const shared = podIps(other).find((ip) => ips.includes(ip));
      // After a reboot a status may name an address that is somebody else's by now.
      if (shared !== undefined) throw new Error(`pod ${nameOf(other)} says that ${shared} is its own as well`);
    }
    const netns = this.#o.findNetns(uid, ips);
    if (netns === undefined) throw new Error(`no process on this node is in the network namespace that owns ${ips.join(", ")}`);
    for (const other of this.#entries.values()) {
      if (other.uid === uid || other.netns.inode !== netns.inode) continue;
      netns[Symbol.dispose]();
      throw new Error(`the network namespace that owns ${ips.join(", ")} is that of pod ${nameOf(other)}`);
    }
    return netns;
  }

  /** Takes ownership of `netns`. */
  #adopt(pod: Pod, netns: Netns, ips: readonly string[]): Entry {
    const uid = pod.metadata.uid ?? "";
    const known = this.#entries.get(uid);
    if (known?.netns.inode === netns.inode) {
      netns[Symbol.dispose]();
      if (known.phase === "leaving") known.phase = "joining";
      known.cutSince = undefined;
      return known;
    }
    const rules = { ...this.#o.podRules, ...switchesOf(pod, this.#o.podRules.dnsCapture, netns) };
    known?.netns[Symbol.dispose]();
    const entry: Entry = {
      uid, name: pod.metadata.name, namespace: pod.metadata.namespace ?? "", serviceAccount: pod.spec.serviceAccountName ?? "default",
      netns, ips, rules,
      phase: "joining", standing: undefined, touched: false, accepted: false, probed: false, listed: this.#o.pods.byUid(uid) !== undefined,
      annotated: pod.metadata.annotations?.[REDIRECTION] === "enabled", reported: enrolmentOf(pod), leavingSince: 0, cutSince: undefined,
    };
    this.#entries.set(uid, entry);
    return entry;
  }

  /** A pod that an earlier agent enrolled, or was taking out, and that is not wanted any more. */
  #adoptLeaving(pod: Pod): Entry | undefined {
    const ips = podIps(pod);
    if (pod.metadata.annotations?.[REDIRECTION] === undefined && enrolmentOf(pod) === undefined) return undefined;
    if (ips.length === 0 || pod.spec.hostNetwork === true) return undefined;
    const entry = this.#adopt(pod, this.#netnsOf(pod, ips), ips);
    entry.touched = true;
    entry.probed = true;
    entry.annotated = true;
    return entry;
  }

  /** Listeners and probes first, redirection second: a running pod's connections always find somebody. */
  async #finish(entry: Entry): Promise<void> {
    entry.phase = "joining";
    entry.cutSince = undefined;
    if (this.#zds === undefined) return;
    entry.probed = true;
    await Promise.all([this.#handOver(entry), this.#setProbes()]);
    if (entry.standing === undefined) await this.#write(entry);
    await this.#announce(entry);
  }

  async #handOver(entry: Entry): Promise<void> {
    await this.#zds?.add(entry);
    entry.accepted = true;
  }

  /** `standing`: found as it should be, nothing to write. Probes first: between the two the kubelet's probes would meet policy. */
  async #redirect(entry: Entry, standing?: string): Promise<void> {
    entry.probed = true;
    await this.#setProbes();
    await this.#write(entry, standing);
  }

  async #write(entry: Entry, standing?: string): Promise<void> {
    entry.touched = true;
    entry.standing = standing ?? await this.#o.redirection.apply(entry.netns, entry.rules);
  }

  async #announce(entry: Entry): Promise<void> {
    const first = entry.phase !== "enrolled";
    entry.phase = "enrolled";
    try {
      await this.#state(entry);
    } catch (error) {
      entry.phase = "joining";
      throw error;
    }
    if (first) this.#o.log.info("pod enrolled", { pod: nameOf(entry), ips: entry.ips });
  }

  /** Writes annotation and condition, from what is, if they are not written yet. */
  async #state(entry: Entry, error?: string): Promise<void> {
    if (this.#closed || this.#entries.get(entry.uid) !== entry || entry.phase !== "enrolled") return;
    const enrolment: Enrolment = entry.accepted
      ? { status: "True", reason: "Captured", message: "a ztunnel listens in the pod and its traffic is redirected there" }
      : { status: "False", reason: "NoZtunnel", message: error === undefined ? "no ztunnel of this node serves the pod; its connections fail until one does" : `ztunnel refuses the pod: ${error}` };
    await this.#report(entry, entry.annotated ? { enrolment } : { redirection: "enabled", enrolment });
    entry.annotated = true;
  }

  async #report(entry: Entry, report: Report): Promise<void> {
    const { enrolment } = report;
    const known = entry.reported;
    const same = enrolment === undefined || (enrolment?.status === known?.status && enrolment?.reason === known?.reason && enrolment?.message === known?.message);
    if (same && report.redirection === undefined) return;
    await this.#o.reporter.write(entry, report);
    entry.reported = enrolment ?? undefined;
  }

  /** The word first, so that peers stop tunnelling to it; then nothing new is redirected; the end comes when what was has ended. */
  async #leave(entry: Entry, because: string): Promise<void> {
    const { clock, log, redirection } = this.#o;
    if (entry.phase !== "leaving") {
      if (entry.annotated || entry.reported !== undefined)
        await this.#report(entry, { redirection: null, enrolment: { status: "False", reason: "Leaving", message: because } });
      entry.annotated = false;
      entry.standing = undefined;
      entry.phase = "leaving";
      entry.leavingSince = clock.monotonic();
      entry.cutSince = undefined;
      if (!entry.touched) return this.#release(entry, because, true);
      await redirection.drain(entry.netns, entry.rules);
      log.info("pod leaves", { pod: nameOf(entry), because });
    }
    const now = clock.monotonic();
    const waited = now - entry.leavingSince;
    const later = () => void clock.after(LEAVE_POLL_MS, () => { if (this.#entries.get(entry.uid) === entry) void this.sync(entry.uid); }, { hold: true });
    if (entry.cutSince === undefined) {
      if (waited < PEERS_LEARN_MS || (waited < this.#o.drainMs && redirection.captured(entry.netns) > 0)) return later();
      await this.#zds?.remove(entry.uid);
      entry.cutSince = now;
    }
    // A reset that ztunnel sends after the rules are gone would not be translated, and the application would wait for ever.
    if (now - entry.cutSince < CUT_SETTLE_MS && redirection.captured(entry.netns) > 0) return later();
    await this.#release(entry, because, true);
  }

  /** ztunnel's part ends; a pod that lives on gets its namespace back as it was. */
  async #release(entry: Entry, because: string, alive = false): Promise<void> {
    if (entry.cutSince === undefined) await this.#zds?.remove(entry.uid);
    if (alive) {
      await this.#o.redirection.remove(entry.netns, entry.rules);
      if (entry.reported !== undefined) await this.#report(entry, { enrolment: null });
    }
    await this.#end(entry, false);
    this.#o.log.info("pod released", { pod: nameOf(entry), because });
  }

  async #end(entry: Entry, tell = true): Promise<void> {
    if (this.#entries.get(entry.uid) === entry) this.#entries.delete(entry.uid);
    try {
      if (tell) await this.#zds?.remove(entry.uid);
      if (entry.probed) await this.#setProbes();
    } finally {
      entry.netns[Symbol.dispose]();
    }
  }

  async #setProbes(): Promise<void> {
    await this.#o.probes.set([...this.#entries.values()].filter((e) => e.probed).flatMap((e) => e.ips));
  }

  async #retryLater(uid: string, error: unknown): Promise<void> {
    if (this.#closed) return;
    const { clock, log, pods } = this.#o;
    const { attempt = 0, since = clock.monotonic(), warned = false, timer: old } = this.#retries.get(uid) ?? {};
    old?.cancel();
    const pod = pods.byUid(uid);
    const text = errorText(error);
    // A namespace that vanished under us is a pod that ended: its deletion event is on the way.
    log[error instanceof SyscallError || attempt < 3 ? "debug" : "warn"]("pod is not in its desired state yet", { pod: pod === undefined ? uid : nameOf(pod), attempt, error: text });
    const timer = clock.after(backoffDelay(RETRY, attempt, this.#o.random), () => void this.sync(uid), { hold: true });
    const retry: Retry = { attempt: attempt + 1, since, timer, warned };
    this.#retries.set(uid, retry);
    if (warned || clock.monotonic() - since < PATIENCE_MS || pod === undefined || !this.selection(pod).enrolled) return;
    retry.warned = true;
    const ref = { uid, name: pod.metadata.name, namespace: pod.metadata.namespace ?? "" };
    // "enabled" stays: it was redirected once and still is, so that peers must not send it plaintext.
    const redirection = pod.metadata.annotations?.[REDIRECTION] === "enabled" ? {} : { redirection: "pending" as const };
    const enrolment: Enrolment = { status: "False", reason: "Pending", message: text };
    try {
      await this.#o.reporter.write(ref, { ...redirection, enrolment });
      const entry = this.#entries.get(uid);
      if (entry !== undefined) entry.reported = enrolment;
      this.#warn(ref, `cannot be enrolled yet: ${text}`);
    } catch (cause) {
      log.debug("cannot report on a pod", { pod: nameOf(pod), error: errorText(cause) });
    }
  }

  #warn(pod: { uid: string; name: string; namespace: string }, message: string): void {
    this.#o.reporter.warn(pod, "MeshEnrolmentFailed", message).catch((error: unknown) => this.#o.log.debug("cannot write an event", { pod: nameOf(pod), error: errorText(error) }));
  }
}
