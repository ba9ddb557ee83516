// Owns the API server of the simulations: objects with versions, a log that is compacted, watches that are cut, and whole outages.
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { KubeClient, KubeError, objectKey, pathOf, type Kind, type KubeObject, type RequestOptions } from "@ambit/kube";
import type { SimClock } from "./clock.fixture.ts";

interface Event { readonly version: number; readonly path: string; readonly type: string; readonly object: KubeObject }
interface Watch { readonly path: string; readonly replica: number; readonly response: IncomingMessage; lastAt: number }

export class Api {
  readonly clock: SimClock;
  /** Per path, by key. */
  readonly objects = new Map<string, Map<string, KubeObject>>();
  readonly #log: Event[] = [];
  readonly #watches = new Set<Watch>();
  /** Replicas that get no answer. */
  readonly unreachable = new Set<number>();
  #version = 1;
  /** Watches from before this are told 410. */
  #compacted = 0;
  lists = 0;
  /** Milliseconds until an event or an answer arrives; by replica, so that they lag differently. */
  latency: (replica: number) => number = () => 5;

  constructor(clock: SimClock) {
    this.clock = clock;
  }

  put(kind: Kind, object: KubeObject): KubeObject {
    const stored = this.#of(pathOf(kind));
    const key = objectKey(object);
    const type = stored.has(key) ? "MODIFIED" : "ADDED";
    const whole = { apiVersion: kind.group === "" ? kind.version : `${kind.group}/${kind.version}`, kind: kind.kind, ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    stored.set(key, whole);
    this.#tell({ version: this.#version, path: pathOf(kind), type, object: whole });
    return whole;
  }

  delete(kind: Kind, key: string): void {
    const stored = this.#of(pathOf(kind));
    const object = stored.get(key);
    if (object === undefined) return;
    stored.delete(key);
    this.#tell({ version: ++this.#version, path: pathOf(kind), type: "DELETED", object: { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } } });
  }

  list(kind: Kind): KubeObject[] {
    return [...this.#of(pathOf(kind)).values()];
  }

  /** Every watch breaks; with `compact` nobody can go on where it was. */
  flap(compact: boolean): void {
    if (compact) this.#compacted = this.#version;
    this.cut(() => true);
  }

  cut(which: (replica: number) => boolean): void {
    for (const w of this.#watches) if (which(w.replica)) {
      this.#watches.delete(w);
      w.response.destroy(new Error("the watch was cut"));
    }
  }

  client(replica: number): KubeClient {
    return new SimClient(this, replica);
  }

  async answerList(replica: number, kind: Kind): Promise<{ items: KubeObject[]; resourceVersion: string }> {
    this.lists++;
    await this.clock.sleep(this.latency(replica));
    if (this.unreachable.has(replica)) throw new KubeError(0, "Unreachable", "no answer from the API server");
    const out = { items: this.list(kind).map((o) => structuredClone(o)), resourceVersion: String(this.#version) };
    await this.clock.sleep(this.latency(replica));
    return out;
  }

  async answerWatch(replica: number, path: string, options: RequestOptions): Promise<IncomingMessage> {
    await this.clock.sleep(this.latency(replica));
    if (this.unreachable.has(replica) || options.signal?.aborted === true) throw new KubeError(0, "Unreachable", "no answer from the API server");
    const response = new IncomingMessage(new Socket());
    response.statusCode = 200;
    response.on("error", () => undefined);
    const since = Number(options.query?.["resourceVersion"] ?? 0);
    if (since < this.#compacted) {
      response.push(`${JSON.stringify({ type: "ERROR", object: { code: 410, reason: "Expired", message: "too old resource version" } })}\n`);
      response.push(null);
      return response;
    }
    const watch: Watch = { path, replica, response, lastAt: 0 };
    this.#watches.add(watch);
    options.signal?.addEventListener("abort", () => { this.#watches.delete(watch); response.destroy(new Error("ended")); }, { once: true });
    for (const e of this.#log) if (e.path === path && e.version > since) this.#send(watch, e);
    return response;
  }

  #of(path: string): Map<string, KubeObject> {
    let found = this.objects.get(path);
    if (found === undefined) this.objects.set(path, found = new Map());
    return found;
  }

  #tell(event: Event): void {
    this.#log.push(event);
    if (this.#log.length > 2000) this.#compacted = Math.max(this.#compacted, this.#log.shift()?.version ?? 0);
    for (const w of this.#watches) if (w.path === event.path && !this.unreachable.has(w.replica)) this.#send(w, event);
  }

  #send(w: Watch, e: Event): void {
    const line = `${JSON.stringify({ type: e.type, object: e.object })}\n`;
    // A connection keeps the order.
    w.lastAt = Math.max(w.lastAt, this.clock.now() + this.latency(w.replica));
    this.clock.after(w.lastAt - this.clock.now(), () => { if (this.#watches.has(w)) w.response.push(line); });
  }
}

class SimClient extends KubeClient {
  readonly #api: Api;
  readonly #replica: number;
  constructor(api: Api, replica: number) {
    super({ server: "http://simulated" });
    this.#api = api;
    this.#replica = replica;
  }
  override async list<T extends KubeObject = KubeObject>(kind: Kind, _namespace?: string, _query: RequestOptions["query"] = {}, keep: (object: T) => T = (o) => o): Promise<{ items: T[]; resourceVersion: string }> {
    const { items, resourceVersion } = await this.#api.answerList(this.#replica, kind);
    return { items: items.map((o) => keep(o as T)), resourceVersion };
  }
  override open(_method: string, path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
    return this.#api.answerWatch(this.#replica, path, options);
  }
}
