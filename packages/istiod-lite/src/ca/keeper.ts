// Owns which authority signs at this moment: reads its source again and again, follows new keys and intermediates at once, and new
// roots only as fast as everybody can come along (plan/trust.ts).
import { errorText, type Clock, type Logger, type Metrics } from "@ambit/runtime";
import type { Authority } from "./authority.ts";
import { announced, planTrust, type RootRecord, type SignerFacts, type TrustPlan } from "./plan/trust.ts";

/** Where the key comes from is asked this often: an event that got lost costs no more than this. */
export const REREAD_MS = 10_000;
/** A root is marked as in use this much longer than the certificate at hand needs: one write for many certificates. */
const MARK_AHEAD_MS = 10 * 60_000;
/** Certificates end on the clocks of their holders, which may be behind ours. */
const SKEW_MS = 6 * 60_000;
/** A root that nobody wants and nobody uses is forgotten this much later. */
const FORGET_AFTER_MS = 24 * 3600_000;

export interface StoredRoot extends RootRecord {
  readonly pem: string;
}
export type StoredRoots = ReadonlyMap<string, StoredRoot>;

/** What the owner of the authority wants. */
export interface Material {
  readonly desired: Authority;
  /** The one before it, where its key is kept until it is not needed any more. */
  readonly previous?: Authority | undefined;
}

export interface AuthoritySource {
  /** Waits for what is only late; rejects when what is there cannot be used. */
  load(): Promise<Material>;
  loadRoots(): Promise<StoredRoots>;
  /** Changes what is stored, all replicas after one another; resolves with what is stored now. */
  changeRoots(change: (stored: StoredRoots) => StoredRoots): Promise<StoredRoots>;
}

export interface AuthorityKeeper {
  current(): Authority;
  /** For people: what is waited for, in words. */
  status(): { readonly signer: string; readonly roots: readonly string[]; readonly waiting: readonly string[] };
  /** Roots or signer have changed. */
  onChange(listener: () => void): void;
  /** True while a certificate under this root may be valid, or it signs. */
  inUse(root: string): boolean;
  /** Reads the source now. Never rejects. */
  refresh(): Promise<void>;
  close(): void;
}

export async function keepAuthority(o: { source: AuthoritySource; clock: Clock; log: Logger; metrics: Metrics }): Promise<AuthorityKeeper> {
  const keeper = new Keeper(o);
  await keeper.begin();
  return keeper;
}

class Keeper implements AuthorityKeeper {
  readonly #o: { source: AuthoritySource; clock: Clock; log: Logger; metrics: Metrics };
  readonly #listeners: (() => void)[] = [];
  #material: Material | undefined;
  #previous: Authority | undefined;
  #roots = new Map<string, StoredRoot>();
  #plan: TrustPlan | undefined;
  #current: Authority | undefined;
  #said = "";
  #trouble = "";
  #marking: Promise<void> | undefined;
  #refreshing: Promise<void> | undefined;
  #timer: { cancel(): void } | undefined;

  constructor(o: { source: AuthoritySource; clock: Clock; log: Logger; metrics: Metrics }) {
    this.#o = o;
    const left = o.metrics.gauge("ambit_ca_authority_expiry_seconds", "Seconds until the signing authority, its root or what is between ends.");
    const roots = o.metrics.gauge("ambit_ca_roots", "Trust anchors that proxies are told.");
    o.metrics.onCollect(() => {
      left.with({}).set(Math.round((this.current().notAfter - o.clock.now()) / 1000));
      roots.with({}).set(this.current().roots.size);
    });
  }

  async begin(): Promise<void> {
    this.#material = await this.#o.source.load();
    this.#previous = this.#material.previous;
    this.#merge(await this.#o.source.loadRoots());
    await this.#follow();
    this.#timer = this.#o.clock.every(REREAD_MS, () => void this.refresh());
  }

  current(): Authority {
    if (this.#current === undefined) throw new Error("defect: the authority is asked for before it was loaded");
    return this.#current;
  }

  status() {
    const now = this.current();
    return { signer: now.fingerprint, roots: [...now.roots.keys()], waiting: this.#plan?.because ?? [] };
  }

  inUse(root: string): boolean {
    return this.current().anchor === root || this.#previous?.anchor === root || (this.#roots.get(root)?.inUseUntil ?? 0) > this.#o.clock.now();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }

  close(): void {
    this.#timer?.cancel();
  }

  async #refresh(): Promise<void> {
    try {
      const material = await this.#o.source.load();
      const known = this.#material?.desired;
      if (known !== undefined && material.desired.fingerprint !== known.fingerprint) {
        // Who signs now goes on until the new one may.
        this.#previous = material.previous ?? this.#signer();
        this.#o.log.info("another authority was put in place", { fingerprint: material.desired.fingerprint, not_after: new Date(material.desired.notAfter).toISOString() });
      }
      this.#material = material;
      this.#merge(await this.#o.source.loadRoots());
      await this.#follow();
      this.#trouble = "";
    } catch (error) {
      this.#o.metrics.counter("ambit_ca_reload_failures_total", "Times the authority's source could not be read or used; the last good one goes on.").with({}).inc();
      // Once for each reason: it is tried again every few seconds.
      const text = errorText(error);
      if (text !== this.#trouble) this.#o.log.error("the authority cannot be read again, the last good one goes on", { error: text });
      this.#trouble = text;
    }
  }

  #signer(): Authority | undefined {
    const { desired } = this.#material ?? {};
    return this.#plan?.sign === "previous" ? this.#previous : desired;
  }

  #merge(stored: StoredRoots): void {
    for (const [root, theirs] of stored) {
      const ours = this.#roots.get(root);
      this.#roots.set(root, ours === undefined ? theirs : latest(ours, theirs));
    }
  }

  /** Announces what is new, plans, and makes the outcome current. */
  async #follow(): Promise<void> {
    const { clock, log } = this.#o;
    const desired = this.#material?.desired;
    if (desired === undefined) return;
    const now = clock.now();
    const known = [...[...desired.roots], ...[...(this.#previous?.roots ?? [])]];
    if (known.some(([root]) => !this.#roots.has(root))) await this.#announce(known);
    this.#plan = planTrust({ now, desired: factsOf(desired), desiredRoots: [...desired.roots.keys()], previous: this.#previous === undefined ? undefined : factsOf(this.#previous), records: this.#roots });
    if (this.#plan.sign === "desired") this.#previous = undefined;
    this.#forget(now);
    const said = this.#plan.because.join("; ");
    if (said !== this.#said) log.info("roots", { count: this.#plan.roots.length, waiting: said === "" ? "for nothing" : said });
    this.#said = said;
    this.#become(this.#plan.sign === "desired" ? desired : (this.#previous ?? desired), this.#plan.roots);
  }

  async #announce(roots: readonly (readonly [string, string])[]): Promise<void> {
    const { clock, log } = this.#o;
    const add = (stored: StoredRoots): StoredRoots => {
      const all = new Map(stored);
      const first = announced(new Map([...this.#roots, ...stored]), clock.now());
      for (const [root, pem] of roots) if (!all.has(root)) all.set(root, { ...(this.#roots.get(root) ?? first), pem });
      return all;
    };
    try {
      this.#merge(await this.#o.source.changeRoots(add));
    } catch (error) {
      log.warn("new roots cannot be recorded yet", { error: errorText(error) });
      this.#merge(add(new Map()));
    }
  }

  #forget(now: number): void {
    for (const [root, record] of this.#roots)
      if (!this.#plan?.roots.includes(root) && record.inUseUntil + FORGET_AFTER_MS < now) this.#roots.delete(root);
  }

  #become(signer: Authority, roots: readonly string[]): void {
    const all = new Map(roots.map((r) => [r, signer.roots.get(r) ?? this.#material?.desired.roots.get(r) ?? this.#roots.get(r)?.pem ?? ""]));
    const before = this.#current;
    if (before?.fingerprint === signer.fingerprint && [...before.roots.keys()].join() === roots.join() && before.crlPem === signer.crlPem) return;
    this.#current = {
      ...signer, roots: all, rootsPem: [...all.values()].join(""), crlPem: this.#material?.desired.crlPem ?? "",
      issue: async (request) => {
        await this.#mark(signer.anchor, Math.min(request.notAfter, signer.notAfter));
        return signer.issue(request);
      },
    };
    if (before === undefined) return;
    this.#o.log.info("the authority has changed", { signer: signer.fingerprint, roots: roots.length });
    for (const listener of this.#listeners) listener();
  }

  /** A root whose certificates outlive what is recorded is recorded first: whoever takes over must know. */
  async #mark(anchor: string, notAfter: number): Promise<void> {
    const until = notAfter + SKEW_MS;
    if ((this.#roots.get(anchor)?.inUseUntil ?? 0) >= until) return;
    this.#marking ??= this.#writeMark(anchor, until + MARK_AHEAD_MS).finally(() => (this.#marking = undefined));
    await this.#marking;
    if ((this.#roots.get(anchor)?.inUseUntil ?? 0) < until) await this.#writeMark(anchor, until + MARK_AHEAD_MS);
  }

  async #writeMark(anchor: string, until: number): Promise<void> {
    const mark = (stored: StoredRoots): StoredRoots => {
      const record = stored.get(anchor) ?? this.#roots.get(anchor);
      return record === undefined ? stored : new Map([...stored, [anchor, { ...record, inUseUntil: Math.max(record.inUseUntil, until) }]]);
    };
    // In memory first: a source that is away must not keep proxies from their certificates.
    this.#merge(mark(this.#roots));
    try {
      this.#merge(await this.#o.source.changeRoots(mark));
    } catch (error) {
      this.#o.log.warn("a root's use cannot be recorded yet", { error: errorText(error) });
    }
  }
}

const factsOf = (a: Authority): SignerFacts => ({ anchor: a.anchor, notAfter: a.notAfter });
const latest = (a: StoredRoot, b: StoredRoot): StoredRoot => ({ pem: a.pem, knownFrom: Math.min(a.knownFrom, b.knownFrom), inUseUntil: Math.max(a.inUseUntil, b.inUseUntil) });
