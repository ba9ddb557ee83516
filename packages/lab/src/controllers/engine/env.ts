// Owns what every controller is built from: caches shared by kind, one applier, and a way to open a work queue.
import { KubeClient, Reflector, isNotFound, type ClientConfig, type Kind, type KubeObject, type ReflectorOptions } from "@ambit/kube";
import { errorText, type Clock, type Logger, type Random } from "@ambit/runtime";
import { makeApplier, type Applier } from "./apply.ts";
import { Cache, splitKey } from "./cache.ts";
import { EventRecorder } from "./events.ts";
import { WorkQueue } from "./queue.ts";

/** Watches per client: each holds a socket for ever, and a client has 64. */
const WATCHES_PER_CLIENT = 24;
/** A write that the watch has not shown after this long is looked up: it may have been lost in a relist. */
const CONFIRM_AFTER_MS = 30_000;
const CONFIRM_EVERY_MS = 10_000;

export interface EnvParts { readonly config: ClientConfig; readonly clock: Clock; readonly random: Random; readonly log: Logger }

interface Watched { readonly kind: Kind; readonly cache: Cache; readonly reflector: Reflector }

export class ControllerEnv {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
  readonly events: EventRecorder;
  readonly #config: ClientConfig;
  readonly #watched = new Map<string, Watched>();
  readonly #watchClients: KubeClient[] = [];
  readonly #queues: WorkQueue[] = [];
  #timer: { cancel(): void } | undefined;
  #started = false;

  constructor({ config, clock, random, log }: EnvParts) {
    this.#config = config;
    this.clock = clock;
    this.random = random;
    this.log = log;
    this.client = new KubeClient(config);
    this.events = new EventRecorder(this.client, clock, log);
  }

  /** The shared copy of a kind; the first caller decides on selectors. Starts at once when the env already runs. */
  cache<T extends KubeObject>(kind: Kind, options: ReflectorOptions = {}): Cache<T> {
    return this.#watch(kind, options).cache as Cache<T>;
  }

  /** Resolves when the kind's first list is complete. */
  synced(kind: Kind): Promise<void> { return this.#watch(kind, {}).reflector.whenSynced(); }

  peek(kind: Kind): Cache | undefined { return this.#watched.get(idOf(kind))?.cache; }

  /** Stops following a kind, as when its CRD is gone. */
  async forget(kind: Kind): Promise<void> {
    const found = this.#watched.get(idOf(kind));
    this.#watched.delete(idOf(kind));
    await found?.reflector.stop();
  }

  applier(component: string): Applier {
    return makeApplier({ client: this.client, clock: this.clock, events: this.events, component, cacheOf: (kind) => this.peek(kind) });
  }

  queue(name: string, workers: number, sync: (key: string) => Promise<number | undefined>): WorkQueue {
    const { clock, random } = this;
    const queue = new WorkQueue({ name, workers, clock, random, log: this.log, sync });
    this.#queues.push(queue);
    if (this.#started) queue.start();
    return queue;
  }

  /** Fills every cache asked for so far, then lets the queues work: no plan is made from half a view. */
  async start(): Promise<void> {
    for (const { reflector } of this.#watched.values()) reflector.start();
    await Promise.all([...this.#watched.values()].map(({ reflector }) => reflector.whenSynced()));
    this.#started = true;
    for (const queue of this.#queues) queue.start();
    this.#timer = this.clock.every(CONFIRM_EVERY_MS, () => void this.#confirm());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    await Promise.all(this.#queues.map((q) => q.stop()));
    await this.events.flush();
    await Promise.all([...this.#watched.values()].map(({ reflector }) => reflector.stop()));
    this.client.close();
    for (const client of this.#watchClients) client.close();
  }

  #watch(kind: Kind, options: ReflectorOptions): Watched {
    const id = idOf(kind);
    const known = this.#watched.get(id);
    if (known !== undefined) return known;
    const slot = Math.floor(this.#watched.size / WATCHES_PER_CLIENT);
    const client = (this.#watchClients[slot] ??= new KubeClient(this.#config));
    const reflector = new Reflector(client, kind, { ...options, clock: this.clock, random: this.random, log: this.log });
    const made = { kind, reflector, cache: new Cache().follow(reflector) };
    this.#watched.set(id, made);
    if (this.#started) reflector.start();
    return made;
  }

  async #confirm(): Promise<void> {
    const before = this.clock.now() - CONFIRM_AFTER_MS;
    for (const { kind, cache } of this.#watched.values()) {
      for (const { key, uid } of cache.unconfirmed(before)) {
        const { namespace, name } = splitKey(key);
        try {
          const there = await this.client.get(kind, namespace, name);
          if (there.metadata.uid !== uid) cache.vanished(key, uid);
        } catch (error) {
          if (isNotFound(error)) cache.vanished(key, uid);
          else this.log.debug("cannot confirm a write", { kind: kind.kind, key, error: errorText(error) });
        }
      }
    }
  }
}

const idOf = (kind: Kind): string => `${kind.group}/${kind.plural}`;
