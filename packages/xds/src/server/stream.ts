// Owns one client's stream: its subscriptions, the order of its pushes, and how much may be under way to it.
import { status, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Identity } from "@ambit/core";
import type { Clock, Logger, Timer } from "@ambit/runtime";
import { ServerSubscription, type ChunkLimits, type SubscriptionStatus, type Truth } from "../protocol/delta-server.ts";
import { WILDCARD, type DeltaRequest } from "../protocol/messages.ts";
import { checkNode } from "../protocol/node.ts";
import { encodeResponse } from "../wire/encode.ts";
import { permitted, type ResourceTable } from "./source.ts";

/** A client asks for its types one after the other: the first answers wait this long for the other questions, so that they go
 *  out in the order of the sources (policies before the workloads they guard) and not in that of the questions. */
export const OPENING_LINGER_MS = 20;
/** Responses handed to the transport that it has not taken yet: two keep the wire busy, more only fill memory. */
export const WRITES_UNDER_WAY_MAX = 2;

export interface ClientStatus {
  readonly proxyId: string;
  readonly role: string;
  readonly node: string;
  readonly identity: Identity;
  readonly peer: string;
  /** Epoch milliseconds. */
  readonly connectedSince: number;
  readonly types: Readonly<Record<string, SubscriptionStatus>>;
}

export interface StreamHooks {
  readonly log: Logger;
  readonly limits: ChunkLimits;
  readonly controlPlane: string;
  /** How long a client that comes back keeps what is not known here before it is told that it is gone. */
  readonly doubtMs: number;
  /** What is known here is up to date. */
  fresh(): boolean;
  pushed(typeUrl: string, resources: number, removed: number): void;
  rejected(typeUrl: string): void;
}

export type DeltaCall = ServerDuplexStream<DeltaRequest, Uint8Array>;

export class ClientStream {
  readonly #call: DeltaCall;
  readonly #identity: Identity;
  readonly #tables: readonly ResourceTable[];
  readonly #hooks: StreamHooks;
  readonly #views = new Map<ResourceTable, Truth>();
  readonly #subscriptions = new Map<string, ServerSubscription>();
  readonly #connectedSince: number;
  readonly #clock: Clock;
  readonly #asked = new Set<string>();
  /** Present until the opening is over. */
  #linger: Timer | undefined;
  #opened = false;
  #log: Logger;
  #proxy: { id: string; role: string; nodeName: string } | undefined;
  #underWay = 0;
  #scheduled = false;
  #closed = false;
  #named = false;
  /** Answers owed to requests for types that nobody serves; one each, empty. */
  readonly #unknownOwed: string[] = [];
  #unknownAnswered = 0;

  constructor(o: { call: DeltaCall; identity: Identity; tables: readonly ResourceTable[]; hooks: StreamHooks; clock: Clock }) {
    this.#call = o.call;
    this.#identity = o.identity;
    this.#tables = o.tables;
    this.#hooks = o.hooks;
    this.#log = o.hooks.log;
    this.#clock = o.clock;
    this.#connectedSince = o.clock.now();
    o.tables.forEach((t, i) =>
      this.#subscriptions.set(t.source.typeUrl, new ServerSubscription({ versioned: t.source.versioned, noncePrefix: `${i}-` })));
  }

  get introduced(): boolean {
    return this.#proxy !== undefined;
  }

  request(req: DeltaRequest): void {
    if (this.#closed) return;
    if (this.#proxy === undefined && !this.#introduce(req)) return;
    const table = this.#table(req.typeUrl);
    const subscription = this.#subscriptions.get(req.typeUrl);
    if (table === undefined || subscription === undefined) return this.#unknown(req);
    const forbidden = this.#forbidden(req, table);
    if (forbidden !== undefined) return this.end(status.PERMISSION_DENIED, forbidden);
    const outcome = subscription.request(req, this.#seen(table));
    switch (outcome.kind) {
      case "refused":
        return this.end(outcome.code === "invalid" ? status.INVALID_ARGUMENT : status.RESOURCE_EXHAUSTED, outcome.reason);
      case "nack":
        this.#hooks.rejected(req.typeUrl);
        this.#log.warn("push rejected by the proxy", { type: req.typeUrl, nonce: req.nonce, error: outcome.error });
        break;
      case "stale":
        this.#log.debug("answer to an unknown nonce ignored", { type: req.typeUrl, nonce: req.nonce });
        break;
      case "first":
        if (subscription.doubts) this.#doubt(subscription);
        this.#log.debug("subscribed", { type: req.typeUrl, mode: subscription.status().mode, holds: req.initialVersions.size });
        break;
      case "subscription":
      case "ack":
        break;
    }
    this.#open(req.typeUrl);
    this.#schedule();
  }

  changed(table: ResourceTable, names: ReadonlySet<string>): void {
    if (this.#closed) return;
    this.#subscriptions.get(table.source.typeUrl)?.change(names, this.#seen(table));
    this.#schedule();
  }

  /** A replica that lags, or has lost its API server, must not take away what another one gave. */
  #doubt(subscription: ServerSubscription): void {
    this.#clock.after(this.#hooks.doubtMs, () => {
      if (this.#closed || !subscription.doubts) return;
      if (!this.#hooks.fresh()) return this.#doubt(subscription);
      subscription.settleDoubts();
      this.#schedule();
    });
  }

  /** Tells the client what it must hold by now. */
  audit(): void {
    if (this.#closed) return;
    for (const s of this.#subscriptions.values()) s.audit();
    this.#schedule();
  }

  status(): ClientStatus | undefined {
    if (this.#proxy === undefined) return undefined;
    return {
      proxyId: this.#proxy.id, role: this.#proxy.role, node: this.#proxy.nodeName, identity: this.#identity,
      peer: this.#call.getPeer(), connectedSince: this.#connectedSince,
      types: Object.fromEntries([...this.#subscriptions].map(([type, s]) => [type, s.status()])),
    };
  }

  /** Ends the stream with a gRPC status; OK is a clean end, after which clients come back at once. */
  end(code: status, details: string): void {
    if (this.#closed) return;
    this.#closed = true;
    if (code === status.OK) {
      this.#call.end();
      return;
    }
    this.#log.info("stream ended by us", { code: status[code], reason: details });
    this.#call.emit("error", Object.assign(new Error(details), { code, details }));
  }

  /** The peer is gone. */
  gone(): void {
    this.#closed = true;
    this.#linger?.cancel();
  }

  #introduce(req: DeltaRequest): boolean {
    const verdict = checkNode(req.node, this.#identity);
    if (!verdict.ok) {
      this.end(verdict.code === "invalid" ? status.INVALID_ARGUMENT : status.PERMISSION_DENIED, verdict.reason);
      return false;
    }
    this.#proxy = { id: req.node?.id ?? "", role: verdict.role, nodeName: verdict.nodeName };
    if (verdict.role === "ztunnel") for (const s of this.#subscriptions.values()) s.serveNode(verdict.nodeName);
    this.#log = this.#hooks.log.child("xds", { proxy: this.#proxy.id });
    this.#log.info("proxy connected", { peer: this.#call.getPeer() });
    return true;
  }

  #open(typeUrl: string): void {
    if (this.#opened) return;
    if (this.#subscriptions.has(typeUrl)) this.#asked.add(typeUrl);
    this.#opened = this.#asked.size === this.#tables.length;
    this.#linger ??= this.#clock.after(OPENING_LINGER_MS, () => {
      this.#opened = true;
      this.#schedule();
    });
  }

  /** One pass per event-loop turn, so that changes that come together go out in the order of the types. */
  #schedule(): void {
    if (this.#scheduled || this.#closed || !this.#opened) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.#closed && this.#underWay < WRITES_UNDER_WAY_MAX) {
      const bytes = this.#nextResponse();
      if (bytes === undefined) return;
      this.#underWay++;
      this.#call.write(bytes, () => {
        this.#underWay--;
        this.#schedule();
      });
    }
  }

  /** Said once a stream: it does not change, and a reconnecting thousand should not pay for it in every answer. */
  #controlPlane(): string {
    const name = this.#named ? "" : this.#hooks.controlPlane;
    this.#named = true;
    return name;
  }

  #nextResponse(): Buffer | undefined {
    const unknown = this.#unknownOwed.shift();
    if (unknown !== undefined)
      return encodeResponse({ typeUrl: unknown, nonce: `u-${++this.#unknownAnswered}`, version: "", removed: [], partial: false,
        resources: [], controlPlane: this.#controlPlane() });
    for (const table of this.#tables) {
      const typeUrl = table.source.typeUrl;
      const chunk = this.#subscriptions.get(typeUrl)?.next(this.#seen(table), this.#hooks.limits, table.version);
      if (chunk === undefined) continue;
      this.#hooks.pushed(typeUrl, chunk.upserts.length, chunk.removed.length);
      this.#log.debug("push", { type: typeUrl, nonce: chunk.nonce, resources: chunk.upserts.length, removed: chunk.removed.length });
      return encodeResponse({ typeUrl, nonce: chunk.nonce, version: table.version, removed: chunk.removed, partial: chunk.partial, checksum: chunk.checksum,
        resources: chunk.upserts.map((name) => table.field(name, chunk.aliases)), controlPlane: this.#controlPlane() });
    }
    return undefined;
  }

  #unknown(req: DeltaRequest): void {
    if (req.nonce !== "") return;
    if (this.#unknownOwed.length >= UNKNOWN_OWED_MAX)
      return this.end(status.RESOURCE_EXHAUSTED, `more than ${UNKNOWN_OWED_MAX} open requests for types that are not served`);
    this.#log.debug("request for a type that is not served", { type: req.typeUrl.slice(0, TYPE_SHOWN_MAX) });
    this.#unknownOwed.push(req.typeUrl);
    this.#open(req.typeUrl);
    this.#schedule();
  }

  /** Resources with an owner go to whoever asks for its own by name, and to nobody else. */
  #forbidden(req: DeltaRequest, table: ResourceTable): string | undefined {
    const { source } = table;
    if (source.permits === undefined) return undefined;
    const first = req.nonce === "" && this.#subscriptions.get(req.typeUrl)?.status().mode === "none";
    // A first request that names nothing means everything, unless it says that it does not.
    const wildcard = req.subscribe.includes(WILDCARD) || (first && req.subscribe.length === 0);
    if (wildcard && !req.unsubscribe.includes(WILDCARD)) return `${req.typeUrl} is given by name only`;
    const name = req.subscribe.find((n) => n !== WILDCARD && source.permits?.(n, this.#identity) === false);
    return name === undefined ? undefined : `${req.typeUrl} ${name.slice(0, NAME_SHOWN_MAX)} is not for ${this.#identity.namespace}/${this.#identity.serviceAccount}`;
  }

  /** Made once per type: who may see a resource is asked again for each, because its owner may change. */
  #seen(table: ResourceTable): Truth {
    let seen = this.#views.get(table);
    if (seen === undefined) this.#views.set(table, (seen = permitted(table, this.#identity)));
    return seen;
  }

  #table(typeUrl: string): ResourceTable | undefined {
    return this.#tables.find((t) => t.source.typeUrl === typeUrl);
  }
}

/** A client asks for a handful of types; more at once is noise or malice. */
const UNKNOWN_OWED_MAX = 32;
const TYPE_SHOWN_MAX = 200;
const NAME_SHOWN_MAX = 200;
