// Owns the decision which of two signers signs now and which roots everybody is told to trust, while one root gives way to another.
// Two gates, both by what certificates are still valid, not by hope: nobody is shown a certificate under a root that somebody may not
// know yet, and no root is taken away while a certificate under it may be in use. Pure.

/** Of one root, by its fingerprint. Epoch milliseconds. */
export interface RootRecord {
  /** Every certificate given out before this root was announced has ended by then: from then on everybody knows the root. */
  readonly knownFrom: number;
  /** Every certificate given out under this root has ended by then; 0: none was. */
  readonly inUseUntil: number;
}

export interface SignerFacts {
  /** Fingerprint of the root above it. */
  readonly anchor: string;
  /** The root and everything between. */
  readonly notAfter: number;
}

export interface TrustFacts {
  readonly now: number;
  /** What the owner wants: signer and roots. */
  readonly desired: SignerFacts;
  readonly desiredRoots: readonly string[];
  /** The signer before it, as long as its key is known. */
  readonly previous: SignerFacts | undefined;
  readonly records: ReadonlyMap<string, RootRecord>;
}

export interface TrustPlan {
  readonly sign: "desired" | "previous";
  /** Fingerprints: the desired ones first, then what cannot go yet. */
  readonly roots: readonly string[];
  /** What is waited for, in words; empty when nothing is. */
  readonly because: readonly string[];
}

export function planTrust(f: TrustFacts): TrustPlan {
  const because: string[] = [];
  const sign = signerNow(f, because);
  const roots = new Set(f.desiredRoots);
  if (sign === "previous" && f.previous !== undefined) roots.add(f.previous.anchor);
  for (const [root, record] of f.records) {
    if (roots.has(root) || record.inUseUntil <= f.now) continue;
    roots.add(root);
    because.push(`root ${short(root)} stays: certificates under it are valid until ${when(record.inUseUntil)}`);
  }
  return { sign, roots: [...roots], because };
}

function signerNow(f: TrustFacts, because: string[]): TrustPlan["sign"] {
  const { previous, desired } = f;
  const known = f.records.get(desired.anchor)?.knownFrom ?? Infinity;
  if (known <= f.now) return "desired";
  if (previous === undefined) {
    if (f.records.size > 1) because.push(`root ${short(desired.anchor)} signs before everybody knows it: the key of the one before is not known here`);
    return "desired";
  }
  // An authority that has ended signs nothing: better a root that some do not know yet.
  if (previous.notAfter <= f.now) {
    because.push(`root ${short(desired.anchor)} signs before everybody knows it: the one before has expired`);
    return "desired";
  }
  because.push(`root ${short(desired.anchor)} does not sign yet: certificates from before it was announced are valid until ${known === Infinity ? "an unknown time" : when(known)}`);
  return "previous";
}

/** Replicas read their source every few seconds: one that reads late has given out certificates without the new root meanwhile. */
export const LATE_MS = 60_000;

/** Of a root that is announced now: everybody knows it when what was given out before has ended. The very first is known at once. */
export function announced(records: ReadonlyMap<string, RootRecord>, now: number): RootRecord {
  const last = Math.max(0, ...[...records.values()].map((r) => r.inUseUntil));
  return { knownFrom: last > now ? last + LATE_MS : now, inUseUntil: 0 };
}

const SHOWN = 8;
const short = (fingerprint: string): string => fingerprint.replaceAll(":", "").slice(0, SHOWN).toLowerCase();
const when = (at: number): string => new Date(at).toISOString();
