// Owns the xDS client of a proxy: one stream at a time, reconnected for ever, resumed by versions, answered per push.
import type { Problem } from "@ambit/core";
import { errorText, type Clock, type Logger, type Random } from "@ambit/runtime";
import { DeltaClient, lastByName, type Answer, type ClientType } from "../protocol/delta-client.ts";
import type { DeltaResponse, XdsNode } from "../protocol/messages.ts";
import { planReconnect } from "../protocol/reconnect.ts";
import { decodeResponse } from "../wire/decode.ts";
import type { ControlPlane } from "./control-plane.ts";
import { openStream, type OpenStream, type StreamEnded } from "./stream.ts";

/** A connection waits for this lookup: longer than a healthy round trip, shorter than the user's patience. */
export const ANSWER_TIMEOUT_MS = 5_000;

export interface Upsert {
  readonly name: string;
  readonly version: string;
  readonly bytes: Uint8Array;
}

export interface Delivery {
  readonly upserts: readonly Upsert[];
  readonly removed: readonly string[];
  /** Names whose content is of another type than the response: refused by the client already; the handler may want to know. */
  readonly misfits: readonly string[];
}

/** Applies what is good and returns a problem, with the resource's name as path, for each resource it refuses. */
/** May take its time (a large push in slices): later messages wait meanwhile. */
export type Handler = (typeUrl: string, delivery: Delivery) => readonly Problem[] | Promise<readonly Problem[]>;

export interface XdsClientOptions {
  /** See createControlPlane; not closed by the client. */
  readonly connect: ControlPlane;
  readonly node: XdsNode;
  readonly types: readonly ClientType[];
  readonly handler: Handler;
  readonly onConnected?: () => void;
  readonly onDisconnected?: (how: StreamEnded) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export type LookupAnswer = "found" | "missing" | "timeout";

export interface XdsClient {
  /** Every wildcard type was accepted cleanly once. */
  readonly ready: boolean;
  whenReady(): Promise<void>;
  /** A stream is open and has been served. */
  readonly connected: boolean;
  /** On-demand types only: resolves within ANSWER_TIMEOUT_MS; "found" means the handler has run. */
  subscribe(typeUrl: string, name: string): Promise<LookupAnswer>;
  /** Name to version of what is held, for dumps. */
  held(typeUrl: string): ReadonlyMap<string, string>;
  close(): void;
}

/** Starts connecting at once. */
export function createXdsClient(o: XdsClientOptions): XdsClient {
  return new Driver(o);
}

type Misfits = readonly { readonly name: string; readonly reason: string }[];

interface Waiter {
  readonly resolve: (answer: LookupAnswer) => void;
  readonly promise: Promise<LookupAnswer>;
}

class Driver implements XdsClient {
  readonly #o: XdsClientOptions;
  readonly #machine: DeltaClient;
  readonly #waiters = new Map<string, Waiter>();
  readonly #closing = new AbortController();
  readonly #readyWaiters: (() => void)[] = [];
  readonly #stopWatching: () => void;
  #stream: OpenStream | undefined;
  /** A push that its handler works on; what came after it waits. */
  #applying: Promise<void> | undefined;
  #waiting: (() => void)[] = [];
  #served = false;

  constructor(o: XdsClientOptions) {
    this.#o = o;
    this.#machine = new DeltaClient(o.types);
    this.#stopWatching = o.connect.onRootsChanged(() => {
      o.log.info("root certificates changed, connecting anew");
      this.#stream?.cancel();
    });
    void this.#run();
  }

  get ready(): boolean {
    return this.#machine.ready;
  }

  get connected(): boolean {
    return this.#served;
  }

  whenReady(): Promise<void> {
    return this.ready ? Promise.resolve() : new Promise((resolve) => this.#readyWaiters.push(resolve));
  }

  held(typeUrl: string): ReadonlyMap<string, string> {
    return this.#machine.held(typeUrl);
  }

  subscribe(typeUrl: string, name: string): Promise<LookupAnswer> {
    const key = waiterKey(typeUrl, name);
    const known = this.#waiters.get(key);
    if (known !== undefined) return known.promise;
    const wanted = this.#machine.want(typeUrl, name);
    if (wanted.kind === "held") return Promise.resolve("found");
    if (wanted.kind === "full" || this.#closing.signal.aborted) return Promise.resolve("timeout");
    let resolve: Waiter["resolve"] = () => undefined;
    const promise = new Promise<LookupAnswer>((r) => (resolve = r));
    const timer = this.#o.clock.after(ANSWER_TIMEOUT_MS, () => {
      this.#machine.giveUp(typeUrl, name);
      this.#answer(key, "timeout");
    });
    this.#waiters.set(key, { promise, resolve: (answer) => { timer.cancel(); resolve(answer); } });
    if (wanted.request !== undefined) this.#stream?.send(wanted.request);
    return promise;
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new Error("the xDS client was closed"));
    this.#stopWatching();
    this.#stream?.cancel();
    for (const key of [...this.#waiters.keys()]) this.#answer(key, "timeout");
  }

  async #run(): Promise<void> {
    const { clock, log, random } = this.#o;
    const signal = this.#closing.signal;
    for (let attempt = 0; !signal.aborted; ) {
      const end = await this.#oneStream();
      if (signal.aborted) return;
      const plan = planReconnect({ served: end.served, code: end.code }, attempt, random);
      attempt = plan.attempt;
      log.info("control plane stream ended", { code: end.code, error: end.detail, retry_ms: plan.delayMs });
      await clock.sleep(plan.delayMs, signal).catch(() => undefined);
    }
  }

  async #oneStream(): Promise<StreamEnded & { served: boolean }> {
    this.#served = false;
    let ended: (how: StreamEnded) => void = () => undefined;
    const end = new Promise<StreamEnded>((resolve) => (ended = resolve));
    const stream = await openStream(this.#o.connect, this.#o.clock, { message: (bytes) => this.#message(bytes), ended });
    this.#stream = stream;
    if (this.#closing.signal.aborted) stream.cancel();
    else for (const request of this.#machine.open(this.#o.node)) stream.send(request);
    const how = await end;
    const served = this.#served;
    this.#stream = undefined;
    this.#waiting = [];
    await this.#applying; // what was begun is finished; its answer goes nowhere
    this.#served = false;
    this.#machine.close();
    if (served) this.#o.onDisconnected?.(how);
    return { ...how, served };
  }

  #message(bytes: Uint8Array): void {
    const { response, misfits } = decodeResponse(bytes);
    if (!this.#served) {
      this.#served = true;
      this.#o.log.info("control plane connected", { address: this.#o.connect.address });
      this.#o.onConnected?.();
    }
    if (this.#applying === undefined) this.#take(response, misfits);
    else this.#waiting.push(() => this.#take(response, misfits));
  }

  #take(response: DeltaResponse, misfits: Misfits): void {
    const problems = this.#machine.knows(response.typeUrl) ? this.#apply(response, misfits) : this.#ignore(response);
    if (!(problems instanceof Promise)) return this.#settle(response, problems);
    this.#applying = problems.then((done) => {
      this.#applying = undefined;
      this.#settle(response, done);
      while (this.#applying === undefined) {
        const next = this.#waiting.shift();
        if (next === undefined) return;
        next();
      }
    });
  }

  #settle(response: DeltaResponse, problems: readonly Problem[]): void {
    const { reply, answers, lost } = this.#machine.settle(response, problems);
    this.#stream?.send(reply);
    if (lost) {
      this.#o.log.warn("what is held is not what was sent, connecting anew", { type: response.typeUrl, held: this.#machine.held(response.typeUrl).size });
      this.#stream?.cancel();
    }
    for (const a of answers) this.#answer(waiterKey(a.typeUrl, a.name), outcome(a));
    if (this.#machine.ready) for (const wake of this.#readyWaiters.splice(0)) wake();
  }

  #apply(response: DeltaResponse, misfits: Misfits): readonly Problem[] | Promise<readonly Problem[]> {
    const bad = new Set(misfits.map((m) => m.name));
    const last = lastByName(response.resources);
    const upserts = bad.size === 0 ? last : last.filter((r) => !bad.has(r.name));
    const told = (problems: readonly Problem[]): readonly Problem[] => {
      const all = [...misfits.map((m): Problem => ({ path: m.name, message: m.reason })), ...problems];
      for (const p of all) this.#o.log.error("resource refused", { type: response.typeUrl, resource: p.path, error: p.message });
      return all;
    };
    // A defect of the handler: refuse the push by name, keep the process and the stream.
    const defect = (error: unknown): readonly Problem[] => {
      this.#o.log.error("defect: the push handler failed", { type: response.typeUrl, error: errorText(error) });
      return told(upserts.map((u) => ({ path: u.name, message: `defect: ${errorText(error)}` })));
    };
    try {
      const problems = this.#o.handler(response.typeUrl, { upserts, removed: response.removed, misfits: misfits.map((m) => m.name) });
      return problems instanceof Promise ? problems.then(told, defect) : told(problems);
    } catch (error) {
      return defect(error);
    }
  }

  #ignore(response: DeltaResponse): readonly Problem[] {
    this.#o.log.warn("response of a type that was not asked for", { type: response.typeUrl });
    return [];
  }

  #answer(key: string, answer: LookupAnswer): void {
    const waiter = this.#waiters.get(key);
    this.#waiters.delete(key);
    waiter?.resolve(answer);
  }
}

const waiterKey = (typeUrl: string, name: string): string => `${typeUrl}\0${name}`;
const outcome = (a: Answer): LookupAnswer => (a.found ? "found" : "missing");
