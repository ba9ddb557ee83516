// Owns leadership through a Lease: one holder at a time, given up when it cannot be renewed in time.
import { backoffDelay, errorText, systemClock, systemRandom, type Clock, type Logger, type Random, type Timer } from "@ambit/runtime";
import { isAlreadyExists, isConflict, isNotFound, type KubeClient } from "./client.ts";
import { KINDS, type KubeObject } from "./objects.ts";

/** After this long without a renewal others may take over. */
const LEASE_MS = 15_000;
/** A holder that could not renew for this long stops by itself, before anybody else may start. */
const GIVE_UP_MS = 10_000;
const RENEW_EVERY_MS = 3_000;
/** One request of the election; shorter than what is left between GIVE_UP_MS and LEASE_MS. */
const REQUEST_MS = 4_000;
const JITTER = { initialMs: RENEW_EVERY_MS, maxMs: RENEW_EVERY_MS * 1.2, factor: 1 };

interface Lease extends KubeObject {
  spec?: { holderIdentity?: string; leaseDurationSeconds?: number; acquireTime?: string; renewTime?: string; leaseTransitions?: number };
}

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process, not only to its host. */
  readonly identity: string;
  readonly onChange: (leading: boolean) => void;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
}

export class LeaderElection {
  readonly #o: LeaderOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #leading = false;
  /** Ends leadership when no renewal comes in time, also while a request hangs. */
  #watchdog: Timer | undefined;
  /** What another's lease looked like and since when: its clock is not trusted. */
  #seen = { record: "", since: 0 };
  #running: Promise<void> | undefined;

  constructor(options: LeaderOptions) {
    this.#o = options;
    this.#clock = options.clock ?? systemClock;
  }

  get leading(): boolean { return this.#leading; }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  /** Gives the lease back, so that another need not wait for it to expire. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error("the election ends"));
    await this.#running;
    this.#watchdog?.cancel();
    if (!this.#leading) return;
    this.#lead(false);
    try {
      const lease = await this.#o.client.get<Lease>(KINDS.leases, this.#o.namespace, this.#o.name, { timeoutMs: REQUEST_MS });
      if (lease.spec?.holderIdentity === this.#o.identity) await this.#o.client.replace(KINDS.leases, { ...lease, spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 } });
    } catch (error) {
      this.#o.log?.warn("lease not given back, it will expire", { lease: this.#o.name, error: errorText(error) });
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const asked = this.#clock.monotonic();
      try {
        const held = await this.#tryHold(asked);
        if (held) this.#guard(asked);
        this.#lead(held);
      } catch (error) {
        this.#o.log?.warn("lease not renewed", { lease: this.#o.name, error: errorText(error) });
      }
      await this.#clock.sleep(backoffDelay(JITTER, 0, this.#o.random ?? systemRandom), signal).catch(() => undefined);
    }
  }

  /** Counts from when the renewal was asked for: the server may have written it at once. */
  #guard(asked: number): void {
    this.#watchdog?.cancel();
    this.#watchdog = this.#clock.after(Math.max(0, asked + GIVE_UP_MS - this.#clock.monotonic()), () => this.#lead(false));
  }

  async #tryHold(now: number): Promise<boolean> {
    const { client, namespace, name, identity } = this.#o;
    let lease: Lease;
    try {
      lease = await client.get<Lease>(KINDS.leases, namespace, name, { timeoutMs: REQUEST_MS, signal: this.#stop.signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const body = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name, namespace }, spec: this.#spec(undefined) };
      return this.#attempt(() => client.create(KINDS.leases, namespace, body, { timeoutMs: REQUEST_MS }));
    }
    const holder = lease.spec?.holderIdentity ?? "";
    if (holder !== identity && holder !== "" && !this.#expired(lease, now)) return false;
    return this.#attempt(() => client.replace(KINDS.leases, { ...lease, spec: this.#spec(lease) }));
  }

  /** Someone else was faster: that is an answer, not a failure. */
  async #attempt(write: () => Promise<unknown>): Promise<boolean> {
    try {
      await write();
      return true;
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return false;
      throw error;
    }
  }

  #expired(lease: Lease, now: number): boolean {
    const record = `${lease.spec?.holderIdentity}/${lease.spec?.renewTime}/${lease.metadata.resourceVersion}`;
    if (record !== this.#seen.record) this.#seen = { record, since: now };
    return now - this.#seen.since > (lease.spec?.leaseDurationSeconds ?? LEASE_MS / 1000) * 1000;
  }

  #spec(old: Lease | undefined): Lease["spec"] {
    const now = new Date(this.#clock.now()).toISOString().replace("Z", "000Z");
    const mine = old?.spec?.holderIdentity === this.#o.identity;
    return {
      holderIdentity: this.#o.identity, leaseDurationSeconds: LEASE_MS / 1000, renewTime: now,
      acquireTime: mine ? (old?.spec?.acquireTime ?? now) : now,
      leaseTransitions: (old?.spec?.leaseTransitions ?? 0) + (mine || old === undefined ? 0 : 1),
    };
  }

  #lead(leading: boolean): void {
    if (this.#leading === leading) return;
    this.#leading = leading;
    this.#o.log?.info(leading ? "leading" : "no longer leading", { lease: this.#o.name });
    this.#o.onChange(leading);
  }
}
