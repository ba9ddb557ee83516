// Owns what the controllers know of one kind: the reflector's copy, ahead of it by our own writes.
import type { KubeObject, Reflector } from "@ambit/kube";
import { controllerOf } from "../plan/claim.ts";

/** Answers to our writes may arrive after the watch has told of the deletion; uids older than this many are forgotten. */
const TOMBSTONES_MAX = 4096;

export type Change<T> = { readonly type: "put"; readonly object: T; readonly old: T | undefined } | { readonly type: "drop"; readonly object: T };

/**
 * Reads see our own writes at once, so no plan is made twice from the same stale view (upstream's "expectations").
 * Objects are shared and never changed in place.
 */
export class Cache<T extends KubeObject = KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #byNamespace = new Map<string, Map<string, T>>();
  readonly #byController = new Map<string, Map<string, T>>();
  readonly #gone = new Set<string>();
  readonly #unconfirmed = new Map<string, { uid: string; at: number }>();
  /** As methods, so that a cache of pods is also a cache of objects. */
  readonly #listeners: { hear(change: Change<T>): void }[] = [];

  /** Starts following; the reflector must not have been started with another cache. */
  follow(reflector: Reflector<T>): this {
    reflector.handle({
      onAdd: (o) => this.#seen(o), onUpdate: (o) => this.#seen(o),
      onDelete: (o) => { this.#unconfirmed.delete(keyOf(o)); this.#drop(o); },
    });
    return this;
  }

  /** Hears of everything already known first. */
  listen(listener: (change: Change<T>) => void): void {
    this.#listeners.push({ hear: listener });
    for (const object of this.#objects.values()) listener({ type: "put", object, old: undefined });
  }

  get(namespace: string | undefined, name: string): T | undefined { return this.#objects.get(joinKey(namespace, name)); }
  at(key: string): T | undefined { return this.#objects.get(key); }
  get size(): number { return this.#objects.size; }
  all(): T[] { return [...this.#objects.values()]; }
  in(namespace: string): T[] { return [...(this.#byNamespace.get(namespace)?.values() ?? [])]; }
  controlledBy(uid: string | undefined): T[] { return uid === undefined ? [] : [...(this.#byController.get(uid)?.values() ?? [])]; }

  /** The API server's answer to a write of ours. */
  wrote(object: T, now: number): void {
    const key = keyOf(object);
    if (this.#gone.has(object.metadata.uid ?? "")) return;
    if (!this.#objects.has(key)) this.#unconfirmed.set(key, { uid: object.metadata.uid ?? "", at: now });
    this.#put(object);
  }

  /** We deleted it and the server agreed: it counts as terminating until the watch says what became of it. */
  deleting(object: T, at: string): void {
    const key = keyOf(object);
    const known = this.#objects.get(key);
    if (known === undefined || known.metadata.uid !== object.metadata.uid || known.metadata.deletionTimestamp !== undefined) return;
    this.#store(key, { ...known, metadata: { ...known.metadata, deletionTimestamp: at } }, known);
  }

  /** Objects we wrote that the watch has not confirmed since `before`: the owner checks them against the server. */
  unconfirmed(before: number): { key: string; uid: string }[] {
    return [...this.#unconfirmed].filter(([, { at }]) => at < before).map(([key, { uid }]) => ({ key, uid }));
  }

  /** The server does not have it. */
  vanished(key: string, uid: string): void {
    this.#unconfirmed.delete(key);
    const known = this.#objects.get(key);
    if (known?.metadata.uid === uid) this.#drop(known);
  }

  #seen(object: T): void {
    this.#unconfirmed.delete(keyOf(object));
    this.#put(object);
  }

  #put(object: T): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    if (old !== undefined && !isNewer(object, old)) return;
    if (old !== undefined && old.metadata.uid !== object.metadata.uid) this.#drop(old);
    this.#store(key, object, old?.metadata.uid === object.metadata.uid ? old : undefined);
  }

  #store(key: string, object: T, old: T | undefined): void {
    if (old !== undefined) this.#unindex(key, old);
    this.#objects.set(key, object);
    bucket(this.#byNamespace, object.metadata.namespace ?? "").set(key, object);
    const controller = controllerOf(object)?.uid;
    if (controller !== undefined) bucket(this.#byController, controller).set(key, object);
    for (const listener of this.#listeners) listener.hear({ type: "put", object, old });
  }

  #drop(object: T): void {
    const uid = object.metadata.uid ?? "";
    this.#gone.add(uid);
    if (this.#gone.size > TOMBSTONES_MAX) this.#gone.delete(this.#gone.values().next().value ?? "");
    const key = keyOf(object);
    const known = this.#objects.get(key);
    if (known === undefined || known.metadata.uid !== object.metadata.uid) return;
    this.#objects.delete(key);
    this.#unindex(key, known);
    for (const listener of this.#listeners) listener.hear({ type: "drop", object: known });
  }

  #unindex(key: string, object: T): void {
    remove(this.#byNamespace, object.metadata.namespace ?? "", key);
    remove(this.#byController, controllerOf(object)?.uid ?? "", key);
  }
}

export function keyOf(o: KubeObject): string { return joinKey(o.metadata.namespace, o.metadata.name); }
export function joinKey(namespace: string | undefined, name: string): string { return namespace === undefined ? name : `${namespace}/${name}`; }
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf("/");
  return slash === -1 ? { namespace: undefined, name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Resource versions are compared as numbers: they come from one store, in the order of its writes. */
function isNewer(a: KubeObject, b: KubeObject): boolean {
  return Number(a.metadata.resourceVersion ?? 0) > Number(b.metadata.resourceVersion ?? 0);
}

function bucket<T>(index: Map<string, Map<string, T>>, key: string): Map<string, T> {
  let found = index.get(key);
  if (found === undefined) index.set(key, (found = new Map()));
  return found;
}

function remove<T>(index: Map<string, Map<string, T>>, key: string, item: string): void {
  const found = index.get(key);
  if (found?.delete(item) === true && found.size === 0) index.delete(key);
}
