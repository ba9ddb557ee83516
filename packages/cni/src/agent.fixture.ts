// A node in memory for tests of the agent: pods, namespaces, a ztunnel, an API server, and time, all by hand.
import { KubeError, type Pod } from "@ambit/kube";
import type { Netns } from "@ambit/linux";
import { createLogger, Metrics, seededRandom, type Clock } from "@ambit/runtime";
import { Agent } from "./agent.ts";
import type { AgentOptions } from "./agent-options.ts";
import { DEFAULT_SELECTORS } from "./plan/selectors.ts";
import { CONDITION, enrolmentOf, REDIRECTION, type Report } from "./pods/report.ts";
import type { EnrolledPod } from "./ztunnel/server.ts";

export const AMBIENT = { "istio.io/dataplane-mode": "ambient" };
export const DRAIN_MS = 5_000;

export class ManualClock implements Clock {
  #now = 0;
  #timers: { at: number; task: () => void }[] = [];
  now(): number { return this.#now; }
  monotonic(): number { return this.#now; }
  after(delayMs: number, task: () => void) {
    const timer = { at: this.#now + delayMs, task };
    this.#timers.push(timer);
    return { cancel: () => { this.#timers = this.#timers.filter((t) => t !== timer); } };
  }
  every(): never { throw new Error("nobody asks for this"); }
  sleep(ms: number): Promise<void> { return new Promise((resolve) => this.after(ms, resolve)); }
  get waiting(): number { return this.#timers.length; }
  /** Runs what becomes due, one by one, and lets everything settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((t) => t !== next);
      this.#now = Math.max(this.#now, next.at);
      next.task();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Everything that can happen without time passing has happened. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

export interface FakeNetns extends Netns { closed: boolean; state: "none" | "redirected" | "drained" }

export class Node {
  readonly clock = new ManualClock();
  readonly metrics = new Metrics(() => 0);
  readonly pods = new Map<string, Pod>();
  readonly namespaces = new Map<string, Record<string, string>>([["shop", {}]]);
  /** By IP: what a look at the processes would find. */
  readonly found = new Map<string, bigint>();
  readonly states = new Map<bigint, FakeNetns["state"]>();
  readonly handles: FakeNetns[] = [];
  readonly did: string[] = [];
  readonly events: string[] = [];
  readonly listening = new Map<string, bigint>();
  probes: readonly string[] = [];
  captured = 0;
  /** A part that fails says these words. */
  failing: Partial<Record<"ztunnel" | "rules" | "api" | "probes", string>> = {};
  drifted: "pod" | "node" | undefined;
  /** A look at the node takes until then. */
  looking: Promise<void> | undefined;
  readonly agent: Agent;

  constructor() {
    const fail = (part: keyof Node["failing"]) => { if (this.failing[part] !== undefined) throw new Error(this.failing[part]); };
    const options: AgentOptions = {
      rules: { selectors: DEFAULT_SELECTORS, excludeNamespaces: [], systemNamespace: "istio-system" },
      podRules: { ipv6: false, dnsCapture: false, probeIpv4: "169.254.7.127", probeIpv6: "fd16::1" },
      drainMs: DRAIN_MS, clock: this.clock, random: seededRandom(1), metrics: this.metrics, log: createLogger("test", { write: () => undefined }),
      pods: { byUid: (uid) => this.pods.get(uid), all: () => this.pods.values(), namespaceLabels: (name) => this.namespaces.get(name) ?? {} },
      client: { get: (async (_kind: unknown, namespace: string, name: string) => {
        const pod = [...this.pods.values()].find((p) => p.metadata.namespace === namespace && p.metadata.name === name);
        if (pod === undefined) throw new KubeError(404, "NotFound", "no such pod");
        return pod;
      }) as AgentOptions["client"]["get"] },
      reporter: {
        write: async (ref, report) => { await settleOnce(); fail("api"); this.did.push(`report ${told(report)}`); this.#apply(ref.uid, report); },
        warn: async (ref, _reason, message) => { this.events.push(`${ref.name}: ${message}`); },
      },
      redirection: {
        apply: async (ns) => { await settleOnce(); fail("rules"); this.did.push("rules"); this.states.set(use(ns), "redirected"); return "rules"; },
        standing: async (ns) => (this.states.get(use(ns)) === "redirected" && this.drifted !== "pod" ? "rules" : undefined),
        forgetOther: async () => undefined,
        inspect: async (ns) => { if (this.drifted === "pod") { this.drifted = undefined; throw new Error("no such table"); } return use(ns) > 0n ? "rules" : ""; },
        drain: async (ns) => { await settleOnce(); this.did.push("drain"); this.states.set(use(ns), "drained"); },
        remove: async (ns) => { await settleOnce(); this.did.push("no rules"); this.states.set(use(ns), "none"); },
        captured: (ns) => (use(ns) > 0n ? this.captured : 0),
      },
      probes: {
        set: async (ips) => { await settleOnce(); fail("probes"); this.did.push("probes"); this.probes = [...ips]; },
        verify: async () => { await this.looking; const was = this.drifted === "node"; if (was) this.drifted = undefined; return was; },
      },
      findNetns: (_uid, ips) => {
        const inode = ips.map((ip) => this.found.get(ip)).find((i) => i !== undefined);
        return inode === undefined ? undefined : this.netns(inode);
      },
    };
    this.agent = new Agent(options);
  }

  /** A ztunnel that takes what it is given. */
  ztunnel(): void {
    this.agent.attach({
      add: async (pod: EnrolledPod) => {
        await settleOnce();
        if (this.failing.ztunnel !== undefined) throw new Error(this.failing.ztunnel);
        this.did.push("ztunnel");
        this.listening.set(pod.uid, use(pod.netns));
      },
      remove: async (uid) => { await settleOnce(); this.did.push("no ztunnel"); this.listening.delete(uid); },
    });
  }

  netns(inode: bigint): FakeNetns {
    const handle: FakeNetns = { fd: Number(inode), inode, closed: false, state: "none", [Symbol.dispose]() { this.closed = true; } };
    this.handles.push(handle);
    return handle;
  }
  get open(): FakeNetns[] { return this.handles.filter((h) => !h.closed); }

  /** A running pod with this address, seen by the watch. */
  pod(uid: string, more: { ip?: string; labels?: Record<string, string>; annotations?: Record<string, string>; inode?: bigint } = {}): Pod {
    const pod: Pod = {
      metadata: { uid, name: uid, namespace: "shop", labels: more.labels ?? AMBIENT, annotations: more.annotations ?? {} },
      spec: { containers: [] }, status: { phase: "Running", ...(more.ip === undefined ? {} : { podIP: more.ip }) },
    };
    this.pods.set(uid, pod);
    if (more.ip !== undefined) this.found.set(more.ip, more.inode ?? BigInt(this.found.size + 1));
    return pod;
  }
  label(uid: string, labels: Record<string, string>): Promise<void> {
    const pod = this.pods.get(uid);
    if (pod !== undefined) this.pods.set(uid, { ...pod, metadata: { ...pod.metadata, labels } });
    return this.agent.sync(uid);
  }
  delete(uid: string): Promise<void> {
    this.pods.delete(uid);
    return this.agent.deleted(uid);
  }

  /** What a pod says of itself: its annotation, its condition. */
  said(uid: string): string {
    const pod = this.pods.get(uid);
    const c = pod === undefined ? undefined : enrolmentOf(pod);
    return `${pod?.metadata.annotations?.[REDIRECTION] ?? "-"} ${c === undefined ? "-" : `${c.status}/${c.reason}`}`;
  }

  #apply(uid: string, { redirection, enrolment }: Report): void {
    const pod = this.pods.get(uid);
    if (pod === undefined) return;
    const { [REDIRECTION]: old, ...others } = pod.metadata.annotations ?? {};
    const value = redirection === undefined ? old : redirection ?? undefined;
    const conditions = enrolment === undefined ? pod.status?.conditions ?? [] : enrolment === null ? [] : [{ type: CONDITION, ...enrolment }];
    this.pods.set(uid, { ...pod, metadata: { ...pod.metadata, annotations: { ...others, ...(value === undefined ? {} : { [REDIRECTION]: value }) } }, status: { ...pod.status, conditions } });
  }
}

const settleOnce = () => new Promise<void>((resolve) => setImmediate(resolve));
const told = (r: Report): string => `${r.redirection === undefined ? "=" : r.redirection} ${r.enrolment === undefined ? "=" : r.enrolment === null ? "null" : r.enrolment.reason}`;

function use(ns: Netns): bigint {
  if ((ns as FakeNetns).closed) throw new Error(`namespace ${ns.inode} was used after it was let go of`);
  return ns.inode;
}
