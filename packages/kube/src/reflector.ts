// Owns list-and-watch of one kind: never gives up, relists on 410, and turns what it sees into added/updated/deleted.
import { StringDecoder } from "node:string_decoder";
import { backoffDelay, errorText, systemClock, systemRandom, type Clock, type Logger, type Random } from "@ambit/runtime";
import { KubeClient, KubeError, statusError } from "./client.ts";
import { objectKey, pathOf, type Kind, type KubeObject } from "./objects.ts";

export interface ReflectorHandler<T> {
  onAdd?(object: T): void;
  onUpdate?(object: T, old: T): void;
  onDelete?(last: T): void;
  /** After the first complete list; later relists only produce differences. */
  onSynced?(): void;
}
export interface ReflectorOptions<T extends KubeObject = KubeObject> {
  /** What is kept of an object, applied before anything else sees it: a large cluster's pods are mostly what nobody here reads. */
  keep?(object: T): T;
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
}

const BACKOFF = { initialMs: 50, maxMs: 10_000 };
/** The server ends the watch before this; without a word for longer the connection is dead. */
const WATCH_TIMEOUT_S = 300;
const WATCH_IDLE_MS = 360_000;
/** What a watch missed while it was cut comes as soon as it is open again, and takes its time. */
const CAUGHT_UP_MS = 1_000;
/** One object larger than this is not stored by any API server (etcd's limit is 1.5 MiB). */
const LINE_MAX_CHARS = 16 * 1024 * 1024;

interface WatchEvent<T> { type: string; object: T & { metadata: { resourceVersion?: string } } }

/** A live copy of one kind. Handlers run synchronously in order; a handler that throws is a defect of its owner and is not caught. */
export class Reflector<T extends KubeObject = KubeObject> {
  readonly #client: KubeClient;
  readonly #kind: Kind;
  readonly #options: ReflectorOptions<T>;
  readonly #handlers: ReflectorHandler<T>[] = [];
  readonly #store = new Map<string, T>();
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  #synced = false;
  /** On the monotonic clock; undefined: no watch is open. */
  #openSince: number | undefined;
  #resourceVersion = "";
  #running: Promise<void> | undefined;
  #waiters: (() => void)[] = [];

  constructor(client: KubeClient, kind: Kind, options: ReflectorOptions<T> = {}) {
    this.#client = client;
    this.#kind = kind;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get kind(): Kind { return this.#kind; }
  get synced(): boolean { return this.#synced; }
  /**
   * What is here is what the API server had a moment ago: a watch is open, and has been for long enough to have told what was missed
   * before it, or that it cannot (410).
   */
  get current(): boolean { return this.#openSince !== undefined && this.#clock.monotonic() - this.#openSince >= CAUGHT_UP_MS; }
  get size(): number { return this.#store.size; }
  items(): T[] { return [...this.#store.values()]; }
  /** Key: `namespace/name`, or `name` of a cluster-scoped object. */
  get(key: string): T | undefined { return this.#store.get(key); }

  /** Adds a handler; it hears of everything already known first. */
  handle(handler: ReflectorHandler<T>): this {
    this.#handlers.push(handler);
    for (const object of this.#store.values()) handler.onAdd?.(object);
    if (this.#synced) handler.onSynced?.();
    return this;
  }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  whenSynced(): Promise<void> {
    return this.#synced ? Promise.resolve() : new Promise((resolve) => this.#waiters.push(resolve));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; ) {
      try {
        if (this.#resourceVersion === "") await this.#list();
        await this.#watch();
        attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        const gone = error instanceof KubeError && (error.status === 410 || error.reason === "Expired" || error.reason === "Gone");
        if (gone) this.#resourceVersion = "";
        else this.#options.log?.warn("watch failed, will try again", { kind: this.#kind.kind, attempt, error: errorText(error) });
        const delay = backoffDelay(BACKOFF, attempt++, this.#options.random ?? systemRandom);
        await this.#clock.sleep(gone && attempt === 1 ? 0 : delay, signal).catch(() => undefined);
      }
    }
  }

  async #list(): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const whole = (item: T): T => {
      // Items of a list carry no kind of their own.
      item.apiVersion ??= this.#kind.group === "" ? this.#kind.version : `${this.#kind.group}/${this.#kind.version}`;
      item.kind ??= this.#kind.kind;
      return this.#options.keep?.(item) ?? item;
    };
    const { items, resourceVersion } = await this.#client.list<T>(this.#kind, namespace, { labelSelector, fieldSelector }, whole);
    const seen = new Set<string>();
    for (const item of items) {
      seen.add(objectKey(item));
      this.#upsert(item);
    }
    for (const [key, old] of [...this.#store]) if (!seen.has(key)) this.#remove(key, old);
    this.#resourceVersion = resourceVersion;
    if (this.#synced) return;
    this.#synced = true;
    for (const h of this.#handlers) h.onSynced?.();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  async #watch(): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const path = pathOf(this.#kind, namespace);
    const response = await this.#client.open("GET", path, {
      query: { watch: true, allowWatchBookmarks: true, resourceVersion: this.#resourceVersion, timeoutSeconds: WATCH_TIMEOUT_S, labelSelector, fieldSelector },
      timeoutMs: 0, signal: this.#stop.signal,
    });
    response.setTimeout(WATCH_IDLE_MS, () => response.destroy(new Error("the watch fell silent")));
    if (response.statusCode !== 200) {
      let body = "";
      for await (const chunk of response as AsyncIterable<Buffer>) body += chunk.toString("utf8");
      let parsed: unknown = body;
      try { parsed = JSON.parse(body); } catch { /* the text itself is the message */ }
      throw statusError(response.statusCode ?? 0, parsed, "GET", path);
    }
    this.#openSince = this.#clock.monotonic();
    try {
      await this.#follow(response);
    } finally {
      this.#openSince = undefined;
    }
  }

  async #follow(response: AsyncIterable<Buffer>): Promise<void> {
    const decoder = new StringDecoder("utf8");
    let rest = "";
    for await (const chunk of response) {
      const lines = (rest + decoder.write(chunk)).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > LINE_MAX_CHARS) throw new Error(`a watch event exceeds ${LINE_MAX_CHARS} characters`);
      for (const line of lines) if (line !== "") this.#event(JSON.parse(line) as WatchEvent<T>);
    }
  }

  #event(event: WatchEvent<T>): void {
    if (event.type === "ERROR") {
      const s = event.object as unknown as { code?: number; reason?: string; message?: string };
      throw new KubeError(s.code ?? 0, s.reason ?? "", s.message ?? "watch error");
    }
    this.#resourceVersion = event.object.metadata.resourceVersion ?? this.#resourceVersion;
    if (event.type === "BOOKMARK") return;
    const object = this.#options.keep?.(event.object) ?? event.object;
    if (event.type === "DELETED") this.#remove(objectKey(object), object);
    else this.#upsert(object);
  }

  #upsert(object: T): void {
    const key = objectKey(object);
    const old = this.#store.get(key);
    if (old !== undefined && old.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.#store.set(key, object);
    // Same name, other uid: the old one is gone and this is another object.
    const replaced = old !== undefined && old.metadata.uid !== object.metadata.uid;
    if (replaced) for (const h of this.#handlers) h.onDelete?.(old);
    for (const h of this.#handlers) {
      if (old === undefined || replaced) h.onAdd?.(object);
      else h.onUpdate?.(object, old);
    }
  }

  #remove(key: string, last: T): void {
    if (!this.#store.delete(key)) return;
    for (const h of this.#handlers) h.onDelete?.(last);
  }
}
