// Owns what connections between the same two parties share: found by the objects that the control plane's last push made, so it goes with them.
import { sameIdentity, type Identity } from "@ambit/core";
import type { Parties } from "./traffic-metrics.ts";

/** Kept for one workload as the far end: more kinds of peers than this take turns. */
const PER_WORKLOAD_MAX = 64;

interface Known<T> { readonly parties: Parties; readonly value: T }

export class RecentParties<T> {
  readonly #byWorkload = new WeakMap<object, Known<T>[]>();

  of(p: Parties, make: () => T): T {
    // The one that is not ours differs most; own words of a peer are not worth keeping.
    const anchor = p.reporter === "source" ? (p.destination ?? p.source) : (p.source ?? p.destination);
    if (anchor === undefined || p.destinationClaims !== undefined || (p.source === undefined && p.sourceClaims !== undefined)) return make();
    let known = this.#byWorkload.get(anchor);
    if (known === undefined) this.#byWorkload.set(anchor, (known = []));
    for (const k of known) if (sameParties(k.parties, p)) return k.value;
    const value = make();
    if (known.length >= PER_WORKLOAD_MAX) known.shift();
    known.push({ parties: { ...p }, value });
    return value;
  }
}

const sameParties = (a: Parties, b: Parties): boolean =>
  a.reporter === b.reporter && a.source === b.source && a.destination === b.destination && a.service === b.service && a.mutualTls === b.mutualTls
  && same(a.sourceIdentity, b.sourceIdentity) && same(a.destinationIdentity, b.destinationIdentity);

const same = (a: Identity | undefined, b: Identity | undefined): boolean => a === b || (a !== undefined && b !== undefined && sameIdentity(a, b));
