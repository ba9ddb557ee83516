// Owns the workload certificates of this node: one per identity, asked for when wanted, renewed at half life, never given up early.
import { formatIdentity, MeshError, type Identity } from "@ambit/core";
import { errorText, type Clock, type Logger, type Metrics, type Random, type Timer } from "@ambit/runtime";
import type { CaClient } from "./ca-client.ts";
import { atLeast, byUrgency, dueAt, errorOf, failed, hurried, issued, requested, usable, WANTED, type CertState, type Priority } from "./cert-state.ts";
import type { WorkloadCertificate } from "./chain.ts";

export type { WorkloadCertificate } from "./chain.ts";
export type { Priority } from "./cert-state.ts";

/** Requests under way at once: a restart of a full node must not be a storm on the CA. */
export const IN_FLIGHT_MAX = 8;
/** A connection waits this long for a certificate. */
export const FETCH_WAIT_MS = 5_000;
/** Connections that may wait at once, over all identities. */
export const WAITERS_MAX = 10_000;
/** Wall clocks jump; nothing due is overlooked longer than this. */
const RECHECK_MS = 60_000;

export interface CertStatus {
  readonly identity: Identity;
  readonly state: CertState["kind"];
  readonly usable: boolean;
  /** Epoch milliseconds. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly serial?: string;
  readonly fingerprint?: string;
  readonly chainPem?: string;
  readonly rootsPem?: string;
  /** When the next request is due; absent while one is under way. */
  readonly nextRequestAt?: number;
  readonly error?: string;
}

export interface CertStore {
  /** The current certificate, or the first one. Rejects with `identity-unavailable` after FETCH_WAIT_MS. */
  fetch(identity: Identity, priority: Priority): Promise<WorkloadCertificate>;
  /** Begins to obtain it; failures are retried and logged. */
  prefetch(identity: Identity): void;
  /** Its last local workload is gone: drop certificate and key. */
  forget(identity: Identity): void;
  /** Sorted by identity. Never holds keys. */
  list(): CertStatus[];
  /** Runs for every certificate obtained, the first included. */
  onRotate(listener: (certificate: WorkloadCertificate) => void): () => void;
  close(): void;
}

export interface CertStoreOptions {
  readonly caClient: CaClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export const createCertStore = (o: CertStoreOptions): CertStore => new Store(o);

interface Waiter {
  readonly resolve: (certificate: WorkloadCertificate) => void;
  readonly reject: (error: MeshError) => void;
}

interface Entry {
  readonly identity: Identity;
  readonly uri: string;
  state: CertState;
  certificate: WorkloadCertificate | undefined;
  /** Of the next request. */
  priority: Priority;
  readonly waiters: Set<Waiter>;
}

class Store implements CertStore {
  readonly #o: CertStoreOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>();
  #inFlight = 0;
  #waiting = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(o: CertStoreOptions) {
    this.#o = o;
    const valid = o.metrics.gauge("ambit_certificates", "Workload certificates by state.");
    o.metrics.onCollect(() => {
      const now = o.clock.now();
      const good = [...this.#entries.values()].filter((e) => usable(e.state, now)).length;
      valid.with({ state: "usable" }).set(good);
      valid.with({ state: "unavailable" }).set(this.#entries.size - good);
    });
  }

  fetch(identity: Identity, priority: Priority): Promise<WorkloadCertificate> {
    if (this.#closed) return Promise.reject(unavailable(formatIdentity(identity), "the certificate store is closed"));
    const entry = this.#entry(identity, priority);
    if (entry.certificate !== undefined && usable(entry.state, this.#o.clock.now())) return Promise.resolve(entry.certificate);
    if (this.#waiting >= WAITERS_MAX) return Promise.reject(new MeshError("overloaded", `${WAITERS_MAX} connections already wait for certificates`));
    entry.priority = atLeast(entry.priority, priority);
    if (priority === "realtime") entry.state = hurried(entry.state);
    const waited = this.#wait(entry);
    this.#pump();
    return waited;
  }

  prefetch(identity: Identity): void {
    if (this.#closed) return;
    this.#entry(identity, "warmup");
    this.#pump();
  }

  forget(identity: Identity): void {
    const uri = formatIdentity(identity);
    const entry = this.#entries.get(uri);
    this.#entries.delete(uri);
    if (entry !== undefined) for (const w of entry.waiters) w.reject(unavailable(uri, "its last local workload is gone"));
  }

  list(): CertStatus[] {
    const now = this.#o.clock.now();
    return [...this.#entries.values()].sort((a, b) => (a.uri < b.uri ? -1 : 1)).map((e) => statusOf(e, now));
  }

  onRotate(listener: (certificate: WorkloadCertificate) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const entry of [...this.#entries.values()]) this.forget(entry.identity);
    this.#listeners.clear();
  }

  #entry(identity: Identity, priority: Priority): Entry {
    const uri = formatIdentity(identity);
    let entry = this.#entries.get(uri);
    if (entry === undefined) {
      entry = { identity, uri, state: WANTED, certificate: undefined, priority, waiters: new Set() };
      this.#entries.set(uri, entry);
    }
    return entry;
  }

  #wait(entry: Entry): Promise<WorkloadCertificate> {
    return new Promise((resolve, reject) => {
      const done = () => {
        timer.cancel();
        if (entry.waiters.delete(waiter)) this.#waiting--;
      };
      const waiter: Waiter = {
        resolve: (certificate) => { done(); resolve(certificate); },
        reject: (error) => { done(); reject(error); },
      };
      const timer = this.#o.clock.after(FETCH_WAIT_MS, () => waiter.reject(unavailable(entry.uri, this.#whyNot(entry))));
      entry.waiters.add(waiter);
      this.#waiting++;
    });
  }

  #whyNot(entry: Entry): string {
    const at = dueAt(entry.state);
    const next = at === undefined ? "asking again" : `next attempt in ${Math.max(0, at - this.#o.clock.now())} ms`;
    return `${errorOf(entry.state) ?? `no answer from the CA within ${FETCH_WAIT_MS} ms`}; ${next}`;
  }

  /** Starts what is due, most urgent first, and sleeps until the next is. */
  #pump(): void {
    if (this.#closed) return;
    const now = this.#o.clock.now();
    const queue = [...this.#entries.values()].flatMap((entry) => {
      const at = dueAt(entry.state);
      return at === undefined ? [] : [{ entry, dueAt: at, priority: entry.priority }];
    });
    const due = queue.filter((q) => q.dueAt <= now).sort(byUrgency);
    for (const q of due.slice(0, IN_FLIGHT_MAX - this.#inFlight)) void this.#request(q.entry);
    this.#timer?.cancel();
    const next = Math.min(now + RECHECK_MS, ...queue.filter((q) => q.dueAt > now).map((q) => q.dueAt));
    this.#timer = this.#o.clock.after(next - now, () => this.#pump());
  }

  async #request(entry: Entry): Promise<void> {
    const { caClient, clock, random, log } = this.#o;
    entry.state = requested(entry.state);
    this.#inFlight++;
    try {
      const certificate = await caClient.request(entry.identity);
      if (this.#entries.get(entry.uri) === entry) this.#accept(entry, certificate);
    } catch (error) {
      if (this.#entries.get(entry.uri) === entry) {
        entry.state = failed(entry.state, errorText(error), clock.now(), random);
        this.#count("failed");
        log.warn("certificate request failed", { identity: entry.uri, error: errorText(error), usable: usable(entry.state, clock.now()),
          ...(entry.state.kind === "failing" ? { attempt: entry.state.attempt, retry_ms: Math.round(entry.state.retryAt - clock.now()) } : {}) });
        if (entry.waiters.size > 0) entry.state = hurried(entry.state);
      }
    } finally {
      this.#inFlight--;
      this.#pump();
    }
  }

  #accept(entry: Entry, certificate: WorkloadCertificate): void {
    const { clock, random, log } = this.#o;
    const renewal = entry.certificate !== undefined;
    entry.certificate = certificate;
    entry.state = issued(certificate, clock.now(), random);
    entry.priority = "background";
    this.#count(renewal ? "renewed" : "issued");
    log.info(renewal ? "certificate renewed" : "certificate obtained", { identity: entry.uri, serial: certificate.serial, not_after: new Date(certificate.notAfter).toISOString() });
    // It is used all the same: peers judge it by their own clocks.
    if (certificate.notBefore > clock.now())
      log.warn("certificate begins in the future: this clock or the CA's is wrong", { identity: entry.uri, not_before: new Date(certificate.notBefore).toISOString(), time_here: new Date(clock.now()).toISOString() });
    for (const waiter of [...entry.waiters]) waiter.resolve(certificate);
    for (const listener of this.#listeners) listener(certificate);
  }

  #count(outcome: "issued" | "renewed" | "failed"): void {
    this.#o.metrics.counter("ambit_certificate_requests_total", "Requests to the CA by outcome.").with({ outcome }).inc();
  }
}

function statusOf(e: Entry, now: number): CertStatus {
  const c = e.certificate;
  const next = dueAt(e.state);
  const error = errorOf(e.state);
  return {
    identity: e.identity, state: e.state.kind, usable: usable(e.state, now),
    ...(c === undefined ? {} : { notBefore: c.notBefore, notAfter: c.notAfter, serial: c.serial, fingerprint: c.fingerprint, chainPem: c.chainPem, rootsPem: c.rootsPem }),
    ...(next === undefined ? {} : { nextRequestAt: next }),
    ...(error === undefined ? {} : { error }),
  };
}

const unavailable = (uri: string, why: string): MeshError => new MeshError("identity-unavailable", `no certificate for ${uri}: ${why}`);
