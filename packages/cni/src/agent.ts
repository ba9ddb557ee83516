// Owns enrolment: brings each pod of the node from what it is to what its labels say, one step chain per pod, retried.
import { isNotFound, KINDS, KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { SyscallError, type Netns } from "@ambit/linux";
import { backoffDelay, errorText, type Clock, type Logger, type Metrics, type Random, type Timer } from "@ambit/runtime";
import { applyPodRules, HostProbeRules, removePodRules } from "./apply.ts";
import { selectPod, type EnrolmentRules, type PodFacts } from "./plan/select.ts";
import type { PodRules } from "./rules/inpod.ts";
import type { EnrolledPod } from "./ztunnel/server.ts";

export const REDIRECTION = "ambient.istio.io/redirection";

export interface Pods {
  /** By uid, as last seen. */
  byUid(uid: string): Pod | undefined;
  namespaceLabels(name: string): Readonly<Record<string, string>>;
}
export interface Zds {
  add(pod: EnrolledPod): Promise<void>;
  remove(uid: string): Promise<void>;
}
export interface AgentOptions {
  readonly rules: EnrolmentRules;
  readonly podRules: Omit<PodRules, "bypassInbound">;
  readonly pods: Pods;
  readonly client: KubeClient;
  readonly probes: HostProbeRules;
  /** The namespace that owns one of these IPs, if a process holds it. */
  readonly findNetns: (ips: readonly string[]) => Netns | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Retries never end while the pod should be enrolled: giving up would leave it outside in silence. */
const RETRY = { initialMs: 20, maxMs: 5_000 };

interface Entry extends EnrolledPod {
  readonly ips: readonly string[];
  readonly rules: PodRules;
  /** The redirection is in the pod's namespace. */
  redirected: boolean;
  /** Everything is done and the annotation says so. */
  enrolled: boolean;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #turns = new Map<string, Promise<void>>();
  readonly #retries = new Map<string, { attempt: number; timer: Timer }>();
  #zds: Zds | undefined;
  #closed = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    const enrolled = options.metrics.gauge("istio_cni_enrolled_pods", "pods whose traffic is captured on this node").with({});
    options.metrics.onCollect(() => enrolled.set([...this.#entries.values()].filter((e) => e.enrolled).length));
  }

  /** Everything a connecting ztunnel must take. */
  snapshot(): EnrolledPod[] {
    return [...this.#entries.values()];
  }

  /** From now on pods are handed over; those adopted before travel in the snapshot. */
  attach(zds: Zds): void {
    this.#zds = zds;
  }

  /** A ztunnel is there: what waited for one goes on now. */
  resume(): void {
    for (const [uid, entry] of this.#entries) if (!entry.enrolled) void this.sync(uid);
    for (const uid of this.#retries.keys()) void this.sync(uid);
  }

  /** Brings one pod in line. Never rejects; failures are logged and tried again. */
  sync(uid: string): Promise<void> {
    return this.#inTurn(uid, async () => {
      this.#retries.get(uid)?.timer.cancel();
      try {
        await this.#reconcile(uid);
        this.#retries.delete(uid);
      } catch (error) {
        this.#retryLater(uid, error);
      }
    });
  }

  /** A pod that has no process yet: called by the CNI plugin, fails the pod's start when it cannot be enrolled. */
  async enrolNew(pod: Pod, netns: Netns, ips: readonly string[]): Promise<void> {
    const uid = pod.metadata.uid ?? "";
    let failure: unknown;
    await this.#inTurn(uid, async () => {
      try {
        const entry = this.#adopt(pod, netns, ips);
        // No process can speak yet: redirect first, so that nothing ever leaves in clear.
        await this.#redirect(entry);
        await this.#handOver(entry);
      } catch (error) {
        failure = error;
      }
    });
    if (failure !== undefined) throw failure;
  }

  selection(pod: Pod): ReturnType<typeof selectPod> {
    return selectPod(this.#options.rules, this.#facts(pod));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { timer } of this.#retries.values()) timer.cancel();
    await Promise.allSettled(this.#turns.values());
    for (const entry of this.#entries.values()) entry.netns[Symbol.dispose]();
    this.#entries.clear();
  }

  async #reconcile(uid: string): Promise<void> {
    const pod = this.#options.pods.byUid(uid);
    const entry = this.#entries.get(uid);
    const selection = pod === undefined ? { enrolled: false, because: "the pod is gone" } : this.selection(pod);
    if (!selection.enrolled) {
      if (entry !== undefined) await this.#release(entry, pod, selection.because);
      else if (pod !== undefined && pod.metadata.annotations?.[REDIRECTION] !== undefined) await this.#releaseUnknown(pod);
      return;
    }
    if (entry !== undefined) {
      if (!entry.enrolled) await this.#finish(entry);
      return;
    }
    const ips = podIps(pod as Pod);
    // Without an address its sandbox is still being made: the CNI plugin brings it.
    if (ips.length === 0) return;
    const netns = this.#options.findNetns(ips);
    if (netns === undefined) throw new Error(`no process on this node is in the network namespace that owns ${ips.join(", ")}`);
    const adopted = this.#adopt(pod as Pod, netns, ips);
    // Enrolled before this agent started: its redirection stands or must stand again, ztunnel or not.
    if (pod?.metadata.annotations?.[REDIRECTION] === "enabled") await this.#redirect(adopted);
    await this.#finish(adopted);
  }

  #adopt(pod: Pod, netns: Netns, ips: readonly string[]): Entry {
    const uid = pod.metadata.uid ?? "";
    const known = this.#entries.get(uid);
    if (known?.netns.inode === netns.inode) {
      netns[Symbol.dispose]();
      return known;
    }
    known?.netns[Symbol.dispose]();
    const entry: Entry = {
      uid, name: pod.metadata.name, namespace: pod.metadata.namespace ?? "", serviceAccount: pod.spec.serviceAccountName ?? "default",
      netns, ips, redirected: false, enrolled: false,
      rules: { ...this.#options.podRules, ...podSwitches(pod, this.#options.podRules.dnsCapture) },
    };
    this.#entries.set(uid, entry);
    return entry;
  }

  /** Listeners first, redirection second: a running pod's connections always find somebody. */
  async #finish(entry: Entry): Promise<void> {
    if (this.#zds === undefined) return;
    await this.#zds.add(entry);
    if (!entry.redirected) await this.#redirect(entry);
    await this.#announce(entry);
  }

  async #handOver(entry: Entry): Promise<void> {
    if (this.#zds === undefined) throw new Error("the agent is still starting");
    await this.#zds.add(entry);
    await this.#announce(entry);
  }

  async #redirect(entry: Entry): Promise<void> {
    await applyPodRules(entry.netns, entry.rules);
    entry.redirected = true;
    await this.#setProbes();
  }

  async #announce(entry: Entry): Promise<void> {
    await this.#annotate(entry, "enabled");
    entry.enrolled = true;
    this.#options.log.info("pod enrolled", { pod: `${entry.namespace}/${entry.name}`, ips: entry.ips });
  }

  async #release(entry: Entry, pod: Pod | undefined, because: string): Promise<void> {
    entry.enrolled = false;
    // Peers stop tunnelling to it first; then its own traffic goes direct; last its listeners end.
    const alive = pod !== undefined && !isTerminal(pod);
    if (alive) {
      await this.#annotate(entry, null);
      if (entry.redirected) await removePodRules(entry.netns, entry.rules);
      entry.redirected = false;
    }
    await this.#zds?.remove(entry.uid);
    this.#entries.delete(entry.uid);
    await this.#setProbes();
    entry.netns[Symbol.dispose]();
    this.#options.log.info("pod released", { pod: `${entry.namespace}/${entry.name}`, because });
  }

  /** Annotated by an earlier agent, no longer wanted, never adopted by this one. */
  async #releaseUnknown(pod: Pod): Promise<void> {
    if (isTerminal(pod)) return;
    const netns = this.#options.findNetns(podIps(pod));
    await this.#annotate({ name: pod.metadata.name, namespace: pod.metadata.namespace ?? "" }, null);
    if (netns === undefined) return;
    try {
      await removePodRules(netns, { ...this.#options.podRules, bypassInbound: false });
    } finally {
      netns[Symbol.dispose]();
    }
  }

  async #annotate(pod: { name: string; namespace: string }, value: string | null): Promise<void> {
    try {
      await this.#options.client.patch(KINDS.pods, pod.namespace, pod.name, { metadata: { annotations: { [REDIRECTION]: value } } }, { type: "merge", subresource: "status" });
    } catch (error) {
      if (!isNotFound(error)) throw new Error(`cannot annotate pod ${pod.namespace}/${pod.name}`, { cause: error });
    }
  }

  async #setProbes(): Promise<void> {
    await this.#options.probes.set([...this.#entries.values()].filter((e) => e.redirected).flatMap((e) => e.ips));
  }

  #inTurn(uid: string, step: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(uid) ?? Promise.resolve()).then(step);
    this.#turns.set(uid, turn);
    void turn.finally(() => { if (this.#turns.get(uid) === turn) this.#turns.delete(uid); });
    return turn;
  }

  #retryLater(uid: string, error: unknown): void {
    if (this.#closed) return;
    const attempt = this.#retries.get(uid)?.attempt ?? 0;
    const pod = this.#options.pods.byUid(uid);
    // A namespace that vanished under us is a pod that ended: its deletion event is on the way.
    const level = error instanceof SyscallError || attempt < 3 ? "debug" : "warn";
    this.#options.log[level]("pod is not in its desired state yet", { pod: pod === undefined ? uid : `${pod.metadata.namespace}/${pod.metadata.name}`, attempt, error: errorText(error) });
    const timer = this.#options.clock.after(backoffDelay(RETRY, attempt, this.#options.random), () => void this.sync(uid), { hold: true });
    this.#retries.set(uid, { attempt: attempt + 1, timer });
  }

  #facts(pod: Pod): PodFacts {
    const namespace = pod.metadata.namespace ?? "";
    return {
      name: pod.metadata.name, namespace, labels: pod.metadata.labels ?? {}, annotations: pod.metadata.annotations ?? {},
      namespaceLabels: this.#options.pods.namespaceLabels(namespace), hostNetwork: pod.spec.hostNetwork === true, terminal: isTerminal(pod),
    };
  }
}

export const podIps = (pod: Pod): string[] => (pod.status?.podIPs ?? (pod.status?.podIP === undefined ? [] : [{ ip: pod.status.podIP }])).map((p) => p.ip);
const isTerminal = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

/** The two annotations a pod may carry; anything but true and false means the default. */
function podSwitches(pod: KubeObject, dnsDefault: boolean): { bypassInbound: boolean; dnsCapture: boolean } {
  const annotations = pod.metadata.annotations ?? {};
  const dns = annotations["ambient.istio.io/dns-capture"];
  return {
    bypassInbound: annotations["ambient.istio.io/bypass-inbound-capture"] === "true",
    dnsCapture: dns === "true" ? true : dns === "false" ? false : dnsDefault,
  };
}
