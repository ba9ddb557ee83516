// Owns the list of live connections: each is on it before its policy is checked, and its end can be ordered from outside.
import { authorize, decisivePolicy, denialText, MeshError, type AuthzFacts, type Denial, type DryRunResult, type SocketAddress, type Workload } from "@ambit/core";
import type { StateView } from "@ambit/proxy/state";
import { Roster, Stop, systemClock, type Clock, type StopSignal } from "@ambit/runtime";

const PERMIT = Symbol("permit");

/** Proof that policy allowed a connection. Only this file can make one; forwarding inbound bytes needs it. */
export interface Permit { readonly [PERMIT]: true }
const PERMITTED: Permit = { [PERMIT]: true };

export interface LiveConnection {
  readonly pod: string;
  readonly direction: "inbound" | "outbound";
  readonly src: SocketAddress;
  readonly originalDst: string;
  readonly actualDst: SocketAddress;
  readonly protocol: "HBONE" | "DOUBLEHBONE" | "TCP";
}

/** Why a live connection was ended from outside: the reason of its signal. */
export class Ended extends MeshError {
  /** The verdict that ended it, if policy did. */
  readonly verdict: Denial | undefined;
  /** Both sides get an end rather than a reset; who goes on writing is reset. */
  readonly gently: boolean;
  constructor(verdict?: Denial, gently = false) {
    super(verdict === undefined ? "drained" : "policy-revoked", verdict === undefined ? DRAINED : POLICY_CHANGE);
    this.verdict = verdict;
    this.gently = gently;
  }
}

export interface Live extends Disposable {
  readonly connection: LiveConnection;
  /** Aborted, with an Ended as reason, when it must stop now. */
  readonly ended: StopSignal;
  /** Another upstream was chosen. */
  retarget(actualDst: SocketAddress, protocol: LiveConnection["protocol"]): void;
  /** Bytes that were forwarded so far, both directions together. */
  moved(): number;
  /** Bytes flow now: from now on the meter says how many. */
  measure(meter: Meter): void;
}

export interface Meter { readonly bytes: Flow }
/** From the client towards the server, and back. */
export interface Flow { readonly received: number; readonly sent: number }
export interface ListedConnection extends LiveConnection { readonly ageMs: number; readonly bytes: Flow }

export type Admission =
  | { readonly live: Live; readonly permit: Permit; /** What policies on trial would have done. */ readonly dryRun: readonly DryRunResult[] }
  | { readonly denied: Denial };

const DRAINED = "connection closed due to connection drain";
export const POLICY_CHANGE = "connection closed due to policy change";
export const REJECTION = "connection closed due to policy rejection";

const NOTHING_MOVED: Meter = { bytes: { received: 0, sent: 0 } };

class Entry implements Live {
  connection: LiveConnection;
  readonly begunMs: number;
  readonly ended = new Stop();
  /** What is judged again when something changes; nothing for an outbound connection. */
  readonly workload: Workload | undefined;
  readonly facts: AuthzFacts | undefined;
  meter = NOTHING_MOVED;
  seat = -1;
  readonly #remove: (entry: Entry) => void;

  constructor(connection: LiveConnection, begunMs: number, remove: (entry: Entry) => void, workload?: Workload, facts?: AuthzFacts) {
    this.connection = connection;
    this.begunMs = begunMs;
    this.#remove = remove;
    this.workload = workload;
    this.facts = facts;
  }

  retarget(actualDst: SocketAddress, protocol: LiveConnection["protocol"]): void {
    this.connection = { ...this.connection, actualDst, protocol };
  }

  moved(): number {
    const { received, sent } = this.meter.bytes;
    return received + sent;
  }

  measure(meter: Meter): void {
    this.meter = meter;
  }

  [Symbol.dispose](): void {
    this.#remove(this);
  }
}

export class Connections {
  readonly #clock: Clock;
  readonly #entries = new Roster<Entry>();
  #idle: (() => void)[] = [];

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** On the list and allowed, or refused. Registering and checking are one synchronous step: no policy change fits between. */
  admit(view: StateView, connection: LiveConnection, workload: Workload, facts: AuthzFacts): Admission {
    const live = this.#register(new Entry(connection, this.#clock.monotonic(), this.#remove, workload, facts));
    const verdict = authorize(view.policiesFor(workload), facts);
    if (verdict.kind === "allow") return { live, permit: PERMITTED, dryRun: verdict.dryRun };
    live[Symbol.dispose]();
    return { denied: verdict };
  }

  /** An outbound connection: listed, never checked by policy here. */
  track(connection: LiveConnection): Live {
    return this.#register(new Entry(connection, this.#clock.monotonic(), this.#remove));
  }

  /**
   * Checks every admitted connection again; those that policy forbids now are ended. Those whose only fault is a policy that is
   * named and was not sent (yet) are spared while `patient`, and counted.
   */
  recheck(view: StateView, concerns: (workload: Workload) => boolean, patient: boolean): { ended: number; spared: number } {
    let ended = 0;
    let spared = 0;
    for (const entry of this.#entries) {
      if (entry.workload === undefined || entry.facts === undefined || !concerns(entry.workload)) continue;
      // A pod may lose its workload while it still serves: the last known one then stands.
      const workload = view.workload(entry.workload.uid) ?? entry.workload;
      const verdict = authorize(view.policiesFor(workload), entry.facts);
      if (verdict.kind === "allow") continue;
      if (patient && mayComeYet(verdict)) { spared++; continue; }
      ended++;
      this.#end(entry, verdict);
    }
    return { ended, spared };
  }

  endPod(pod: string): void {
    for (const entry of this.#entries) if (entry.connection.pod === pod) this.#end(entry);
  }

  /** Connections that nobody has told to end. One that is told stays on the list until its last bytes are through. */
  open(): { readonly live: Live; endGently(): void }[] {
    return [...this.#entries].filter((e) => !e.ended.aborted).map((e) => ({ live: e, endGently: () => e.ended.abort(new Ended(undefined, true)) }));
  }

  endAll(): void {
    for (const entry of this.#entries) this.#end(entry);
  }

  list(pod?: string): ListedConnection[] {
    const of = [...this.#entries].filter((e) => pod === undefined || e.connection.pod === pod).sort((a, b) => a.begunMs - b.begunMs);
    return of.map((e) => ({ ...e.connection, ageMs: Math.round(this.#clock.monotonic() - e.begunMs), bytes: e.meter.bytes }));
  }

  /** Resolves when no connection is live. */
  whenIdle(): Promise<void> {
    return this.#entries.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  get size(): number {
    return this.#entries.size;
  }

  #register(entry: Entry): Live {
    this.#entries.add(entry);
    return entry;
  }

  #end(entry: Entry, verdict?: Denial): void {
    this.#remove(entry);
    entry.ended.abort(new Ended(verdict));
  }

  readonly #remove = (entry: Entry): void => {
    if (!this.#entries.delete(entry) || this.#entries.size > 0) return;
    for (const wake of this.#idle.splice(0)) wake();
  };
}

/** The control plane may push a workload before the policy that it names: such a denial is worth a moment's patience. */
export const mayComeYet = (verdict: Denial): boolean => verdict.reason === "missing-policy" && verdict.missing.reason === "unknown";

/** Log fields for policies on trial: nothing when there are none. */
export function describeDryRun(results: readonly DryRunResult[]): Readonly<Record<string, unknown>> {
  return results.length === 0 ? {} : { "policy.dry_run": results.map((d) => `${d.action} by ${d.policy} rule ${d.rule}`) };
}

/** Log text and fields of a denial: which policy, which rule, which fields. */
export function describeDenial(verdict: Denial): { readonly error: string; readonly fields: Readonly<Record<string, unknown>> } {
  const policy = decisivePolicy(verdict);
  return {
    error: `${REJECTION}: ${denialText(verdict)}`,
    fields: {
      ...describeDryRun(verdict.dryRun),
      ...(policy === undefined ? {} : { policy }),
      ...(verdict.reason === "explicit" ? { "policy.rule": verdict.by.rule, "policy.fields": verdict.by.fields } : {}),
      ...(verdict.reason === "no-allow-matched" ? { "policy.allow": verdict.allowPolicies } : {}),
    },
  };
}
