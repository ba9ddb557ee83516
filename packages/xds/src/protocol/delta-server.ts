// Owns the server's half of delta xDS for one type on one stream: who asked for what, what is still owed, which nonces are open.
// A deterministic machine: events in, chunks out. It never stores bytes: what a name means is looked up when a chunk is cut,
// so that changes coalesce while a client is slow.
import { WILDCARD, type DeltaRequest } from "./messages.ts";

/** A client that leaves this many responses without ACK or NACK gets no more until it answers: bounds what is in flight. */
export const UNACKED_MAX = 64;
/** Names one stream may ask for by name: far above the pods a node can talk to, far below what hurts a server. */
export const WANTED_MAX = 100_000;
/** Kubernetes names are at most 253 bytes each; the longest uid has five parts. */
export const NAME_LENGTH_MAX = 2_048;

/** What exists now. Must be consistent during one call. */
export interface Truth {
  names(): Iterable<string>;
  /** undefined: there is no resource of exactly this name. */
  versionOf(name: string): string | undefined;
  /** Encoded size in bytes; only asked for names that exist. */
  sizeOf(name: string): number;
  /** The names of the resources that answer an on-demand request; none when nothing matches. */
  resolve(nameOrAlias: string): readonly string[];
  /** Names that belong to a node: its on-demand client holds them without asking. */
  onNode(node: string): readonly string[];
  /** Over all names and versions; undefined when there are no versions. */
  checksum(): string | undefined;
}

export interface ChunkLimits {
  readonly resources: number;
  readonly bytes: number;
}

export interface Chunk {
  readonly nonce: string;
  /** Names that exist, in the order in which they changed. */
  readonly upserts: readonly string[];
  readonly removed: readonly string[];
  /** Aliases are for on-demand clients only. */
  readonly aliases: boolean;
  readonly partial: boolean;
  /** What the client must hold after this, in an answer to an audit. */
  readonly checksum: string | undefined;
}

export type RequestOutcome =
  | { readonly kind: "first" | "subscription" | "ack" | "stale" }
  | { readonly kind: "nack"; readonly error: string }
  | { readonly kind: "refused"; readonly code: "invalid" | "exhausted"; readonly reason: string };

export interface SubscriptionStatus {
  readonly mode: "none" | "wildcard" | "on-demand";
  readonly wanted: number;
  readonly pending: number;
  readonly unacked: number;
  readonly sentNonce: string;
  readonly sentVersion: string;
  readonly ackedNonce: string;
  readonly ackedVersion: string;
  /** The last NACK, until a later response is ACKed. */
  readonly nack: string;
  /** The resources of that NACK with what is wrong with each (a path and a reason, as the proxy says it); the first REFUSED_MAX. */
  readonly refused: readonly Refused[];
  /** What the client has refused and not taken since, by any NACK of this stream. */
  readonly outstanding: readonly Refused[];
  /** It answered for everything that is served now: what is not outstanding, it holds. False as well while that cannot be known. */
  readonly settled: boolean;
}

export interface Refused { readonly name: string; readonly reason: string }
/** A proxy that refuses more than this at once has one reason for all of them. */
export const REFUSED_MAX = 100;
/** Refused resources remembered per stream and type; a client that refuses more is not counted as settled. */
const OUTSTANDING_MAX = 10_000;

/** The NACK text of ztunnel, ours and the real one: `name: reason; name2: reason2`. A reason may hold "; " itself: what names nothing belongs to what is before it. */
export function refusedIn(nack: string): Refused[] {
  const out: { name: string; reason: string }[] = [];
  for (const part of nack.split("; ")) {
    const at = part.indexOf(": ");
    const name = part.slice(0, Math.max(0, at));
    const last = out.at(-1);
    // Resource names have a slash and no space.
    if (at > 0 && name.includes("/") && !name.includes(" ")) {
      if (out.length >= REFUSED_MAX) break;
      out.push({ name, reason: part.slice(at + 2) });
    } else if (last !== undefined) last.reason += `; ${part}`;
  }
  return out;
}

export class ServerSubscription {
  readonly #versioned: boolean;
  readonly #noncePrefix: string;
  /** Whose pods an on-demand client gets without asking; empty: nobody's. */
  #node = "";
  #started = false;
  #wildcard = false;
  /** Asked for by name or alias. */
  readonly #wanted = new Set<string>();
  /** On demand: resources the client was told about, so that later changes and removals reach it. */
  readonly #held = new Set<string>();
  /** Names whose present state the client does not have yet. */
  readonly #dirty = new Set<string>();
  /** Held by a client that comes back, and not known here: gone, or not heard of yet by a replica that lags. Told as removed only when that is settled. */
  readonly #doubtful = new Set<string>();
  /** Asked for and not there: answered as removed. */
  readonly #missing = new Set<string>();
  /** A request is answered, even when there is nothing to say. */
  #owesAnswer = false;
  /** The next chunk that leaves nothing pending says what the client must hold. */
  #audit = false;
  #sequence = 0;
  readonly #open = new Map<string, { readonly version: string; readonly names: readonly string[] }>();
  readonly #outstanding = new Map<string, string>();
  #forgotten = false;
  #sent = { nonce: "", version: "" };
  #acked = { nonce: "", version: "" };
  #nack = "";

  /** `noncePrefix` keeps nonces of different types on one stream apart. */
  constructor(o: { versioned: boolean; noncePrefix: string }) {
    this.#versioned = o.versioned;
    this.#noncePrefix = o.noncePrefix;
  }

  request(req: DeltaRequest, truth: Truth): RequestOutcome {
    const bad = tooMuch(req, this.#wanted.size);
    if (bad !== undefined) return bad;
    if (!this.#started) {
      this.#start(req, truth);
      return { kind: "first" };
    }
    this.#subscribe(req, truth);
    if (req.nonce === "") {
      this.#owesAnswer = true;
      return { kind: "subscription" };
    }
    const open = this.#open.get(req.nonce);
    if (open === undefined) return { kind: "stale" };
    this.#open.delete(req.nonce);
    for (const name of open.names) this.#outstanding.delete(name);
    if (req.error !== undefined) {
      this.#nack = req.error;
      this.#refuse(open.names, req.error);
      return { kind: "nack", error: req.error };
    }
    this.#acked = { nonce: req.nonce, version: open.version };
    this.#nack = "";
    return { kind: "ack" };
  }

  /** The client's node, known from its first request. Only on-demand subscriptions are narrowed by it. */
  serveNode(node: string): void {
    this.#node = node;
  }

  /** A wildcard client is to be told what it must hold, so that it finds what it lost. */
  audit(): void {
    if (this.#started && this.#wildcard && this.#versioned && this.#doubtful.size === 0) this.#audit = true;
  }

  get doubts(): boolean {
    return this.#doubtful.size > 0;
  }

  /** What is known here is the truth by now: what a returning client holds and is not in it, is gone. */
  settleDoubts(): void {
    for (const name of this.#doubtful) this.#dirty.add(name);
    this.#doubtful.clear();
  }

  /** Resources that appeared, changed or vanished; which of these it was is looked up when a chunk is cut. */
  change(names: Iterable<string>, truth: Truth): void {
    if (!this.#started) return;
    for (const name of names) {
      // Heard of now, as there or as gone.
      if (this.#doubtful.delete(name) || this.#wildcard || this.#held.has(name)) this.#dirty.add(name);
    }
    if (this.#wildcard) return;
    for (const wanted of this.#wanted) this.#hold(truth.resolve(wanted), false);
    this.#hold(this.#ofNode(truth), false);
  }

  /** True when `next` would give a chunk. */
  get due(): boolean {
    return (this.#owesAnswer || this.#audit || this.#dirty.size > 0 || this.#missing.size > 0) && this.#open.size < UNACKED_MAX;
  }

  /** Cuts the next chunk, at most `limits` (one resource above the byte limit still goes, alone). `version` is for the books. */
  next(truth: Truth, limits: ChunkLimits, version: string): Chunk | undefined {
    if (!this.due) return undefined;
    const upserts: string[] = [];
    const removed: string[] = [];
    let bytes = 0;
    for (const name of this.#missing) {
      if (removed.length >= limits.resources) break;
      this.#missing.delete(name);
      if (truth.resolve(name).length === 0) removed.push(name);
    }
    for (const name of this.#dirty) {
      if (upserts.length + removed.length >= limits.resources) break;
      const exists = truth.versionOf(name) !== undefined;
      const size = exists ? truth.sizeOf(name) : name.length;
      if (bytes > 0 && bytes + size > limits.bytes) break;
      bytes += size;
      this.#dirty.delete(name);
      if (exists) upserts.push(name);
      else {
        removed.push(name);
        this.#held.delete(name);
      }
    }
    this.#owesAnswer = false;
    const nonce = `${this.#noncePrefix}${++this.#sequence}`;
    this.#open.set(nonce, { version, names: [...upserts, ...removed] });
    this.#sent = { nonce, version };
    const partial = this.#dirty.size + this.#missing.size > 0;
    const checksum = this.#audit && !partial ? truth.checksum() : undefined;
    if (!partial) this.#audit = false;
    return { nonce, upserts, removed, aliases: !this.#wildcard, partial, checksum };
  }

  status(): SubscriptionStatus {
    return {
      mode: !this.#started ? "none" : this.#wildcard ? "wildcard" : "on-demand",
      wanted: this.#wanted.size, pending: this.#dirty.size + this.#missing.size, unacked: this.#open.size,
      sentNonce: this.#sent.nonce, sentVersion: this.#sent.version,
      ackedNonce: this.#acked.nonce, ackedVersion: this.#acked.version, nack: this.#nack, refused: refusedIn(this.#nack),
      outstanding: [...this.#outstanding].map(([name, reason]) => ({ name, reason })), settled: this.#settled,
    };
  }

  /** Those that the error names; all of the response when it names none. */
  #refuse(names: readonly string[], error: string): void {
    const named = refusedIn(error);
    // The list of an error may have been cut.
    if (named.length >= REFUSED_MAX) this.#forgotten = true;
    for (const r of named.length > 0 ? named : names.map((name) => ({ name, reason: error }))) {
      if (this.#outstanding.size >= OUTSTANDING_MAX) this.#forgotten = true;
      else this.#outstanding.set(r.name, r.reason);
    }
  }

  get #settled(): boolean {
    if (!this.#started || this.#forgotten || this.#dirty.size + this.#missing.size + this.#doubtful.size > 0) return false;
    // An audit's response holds nothing that could be refused.
    return [...this.#open.values()].every((o) => o.names.length === 0);
  }

  /** The first request of a stream: what the client holds decides what it is spared and what it must forget. */
  #start(req: DeltaRequest, truth: Truth): void {
    this.#started = true;
    this.#owesAnswer = true;
    const names = req.subscribe.filter((n) => n !== WILDCARD);
    this.#wildcard = (names.length === 0 || req.subscribe.includes(WILDCARD)) && !req.unsubscribe.includes(WILDCARD);
    for (const name of names) this.#wanted.add(name);
    for (const name of req.unsubscribe) this.#wanted.delete(name);
    if (this.#wildcard) this.#dirtyUnless(truth.names(), req.initialVersions, truth);
    for (const [name, version] of req.initialVersions) {
      if (this.#wildcard) {
        if (truth.versionOf(name) === undefined) this.#doubtful.add(name);
        continue;
      }
      this.#wanted.add(name);
      // What it held and is gone must be told so, also when the name has become an alias of something else.
      if (version !== "" && truth.versionOf(name) === undefined) this.#doubtful.add(name);
    }
    if (this.#wildcard) return;
    for (const name of this.#wanted) this.#lookup(name, truth, req.initialVersions);
    const own = this.#ofNode(truth);
    for (const name of own) this.#held.add(name);
    this.#dirtyUnless(own, req.initialVersions, truth);
  }

  #ofNode(truth: Truth): readonly string[] {
    return this.#node === "" ? [] : truth.onNode(this.#node);
  }

  #subscribe(req: DeltaRequest, truth: Truth): void {
    for (const name of req.subscribe) {
      if (name === WILDCARD) {
        if (!this.#wildcard) this.#dirtyUnless(truth.names(), new Map(), truth);
        this.#wildcard = true;
        continue;
      }
      this.#wanted.add(name);
      this.#lookup(name, truth, undefined);
    }
    for (const name of req.unsubscribe) {
      if (name === WILDCARD) this.#wildcard = false;
      this.#wanted.delete(name);
      this.#held.delete(name);
      this.#missing.delete(name);
      this.#doubtful.delete(name);
    }
  }

  #lookup(name: string, truth: Truth, holds: ReadonlyMap<string, string> | undefined): void {
    const found = truth.resolve(name);
    if (found.length === 0) {
      if (!this.#dirty.has(name) && !this.#doubtful.has(name)) this.#missing.add(name);
    } else if (holds === undefined) this.#hold(found, true);
    else {
      for (const f of found) this.#held.add(f);
      this.#dirtyUnless(found, holds, truth);
    }
  }

  #hold(names: readonly string[], again: boolean): void {
    for (const name of names) {
      if (again || !this.#held.has(name)) this.#dirty.add(name);
      this.#held.add(name);
    }
  }

  #dirtyUnless(names: Iterable<string>, holds: ReadonlyMap<string, string>, truth: Truth): void {
    for (const name of names) {
      const same = this.#versioned && holds.get(name) === truth.versionOf(name);
      if (!same) this.#dirty.add(name);
    }
  }
}

function tooMuch(req: DeltaRequest, wanted: number): RequestOutcome | undefined {
  if (wanted + req.subscribe.length > WANTED_MAX)
    return { kind: "refused", code: "exhausted", reason: `more than ${WANTED_MAX} names subscribed for ${req.typeUrl}` };
  for (const names of [req.subscribe, req.unsubscribe, req.initialVersions.keys()])
    for (const name of names)
      if (name.length > NAME_LENGTH_MAX)
        return { kind: "refused", code: "invalid", reason: `a resource name of ${name.length} characters for ${req.typeUrl}` };
  return undefined;
}
