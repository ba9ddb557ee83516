// Owns the list of live connections: each is on it before its policy is checked, and its end can be ordered from outside.
import { authorize, decisivePolicy, denialText, type AuthzFacts, type Denial, type SocketAddress, type Workload } from "@ambit/core";
import type { StateView } from "../state/view.ts";

const PERMIT = Symbol("permit");

/** Proof that policy allowed a connection. Only this file can make one; forwarding inbound bytes needs it. */
export interface Permit { readonly [PERMIT]: true }

export interface LiveConnection {
  readonly pod: string;
  readonly direction: "inbound" | "outbound";
  readonly src: SocketAddress;
  readonly originalDst: string;
  readonly actualDst: SocketAddress;
  readonly protocol: "HBONE" | "TCP";
}

/** Why a live connection was ended from outside. */
export interface Ending { readonly reason: "policy" | "pod" | "drain"; readonly error: Error }

export interface Live extends Disposable {
  readonly connection: LiveConnection;
  /** Aborted, with an Ending as reason, when it must stop now. */
  readonly ended: AbortSignal;
}

interface Entry { readonly live: Live; readonly abort: AbortController; readonly check: { readonly workload: Workload; readonly facts: AuthzFacts } | undefined }

export const POLICY_CHANGE = "connection closed due to policy change";
export const REJECTION = "connection closed due to policy rejection";

export class Connections {
  readonly #entries = new Set<Entry>();

  /** On the list and allowed, or refused. Registering and checking are one synchronous step: no policy change fits between. */
  admit(view: StateView, connection: LiveConnection, workload: Workload, facts: AuthzFacts): { live: Live; permit: Permit } | { denied: Denial } {
    const live = this.#register(connection, { workload, facts });
    const verdict = authorize(view.policiesFor(workload), facts);
    if (verdict.kind === "allow") return { live, permit: { [PERMIT]: true } };
    live[Symbol.dispose]();
    return { denied: verdict };
  }

  /** An outbound connection: listed, never checked by policy here. */
  track(connection: LiveConnection): Live {
    return this.#register(connection, undefined);
  }

  /** Checks every admitted connection again; those that policy forbids now are ended. Returns how many. */
  recheck(view: StateView, concerns: (workload: Workload) => boolean): number {
    let ended = 0;
    for (const entry of this.#entries) {
      if (entry.check === undefined || !concerns(entry.check.workload)) continue;
      // A pod may lose its workload while it still serves: the last known one then stands.
      const workload = view.workload(entry.check.workload.uid) ?? entry.check.workload;
      const verdict = authorize(view.policiesFor(workload), entry.check.facts);
      if (verdict.kind === "allow") continue;
      ended++;
      this.#end(entry, "policy", new PolicyEnded(verdict));
    }
    return ended;
  }

  endPod(pod: string): void {
    for (const entry of this.#entries) if (entry.live.connection.pod === pod) this.#end(entry, "pod", new Error("connection closed due to connection drain"));
  }

  endAll(): void {
    for (const entry of this.#entries) this.#end(entry, "drain", new Error("connection closed due to connection drain"));
  }

  list(pod?: string): LiveConnection[] {
    const all = [...this.#entries].map((e) => e.live.connection);
    return pod === undefined ? all : all.filter((c) => c.pod === pod);
  }

  get size(): number {
    return this.#entries.size;
  }

  #register(connection: LiveConnection, check: Entry["check"]): Live {
    const abort = new AbortController();
    const live: Live = { connection, ended: abort.signal, [Symbol.dispose]: () => void this.#entries.delete(entry) };
    const entry: Entry = { live, abort, check };
    this.#entries.add(entry);
    return live;
  }

  #end(entry: Entry, reason: Ending["reason"], error: Error): void {
    this.#entries.delete(entry);
    entry.abort.abort({ reason, error } satisfies Ending);
  }
}

export class PolicyEnded extends Error {
  readonly verdict: Denial;
  constructor(verdict: Denial) {
    super(POLICY_CHANGE);
    this.verdict = verdict;
  }
}

/** Log text and fields of a denial: which policy, which rule, which fields. */
export function describeDenial(verdict: Denial): { readonly error: string; readonly fields: Readonly<Record<string, unknown>> } {
  const policy = decisivePolicy(verdict);
  return {
    error: `${REJECTION}: ${denialText(verdict)}`,
    fields: {
      ...(policy === undefined ? {} : { policy }),
      ...(verdict.reason === "explicit" ? { "policy.rule": verdict.by.rule, "policy.fields": verdict.by.fields } : {}),
      ...(verdict.reason === "no-allow-matched" ? { "policy.allow": verdict.allowPolicies } : {}),
    },
  };
}
