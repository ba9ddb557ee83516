// Owns what every collection is: items by key, indexes, changes, and the record of who fetched what.
import { structuralEqual } from "./equal.ts";

/** One real difference: added (no `before`), updated, or deleted (no `after`). */
export interface Change<T> {
  readonly key: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
}
export type Listener<T> = (changes: readonly Change<T>[]) => void;
export type Equals<T> = (a: T, b: T) => boolean;

/** A live, read-only set of items. Items are values: never mutate one. */
export interface Collection<T> {
  readonly name: string;
  readonly size: number;
  get(key: string): T | undefined;
  /** Sorted by key: equal content gives equal lists, whatever its history. */
  list(): T[];
  keys(): string[];
  /** Called once per batch with what differs, when the whole graph has settled. Returns the end of the subscription. */
  onChange(listener: Listener<T>): () => void;
}

/** A second way to find items of one collection. Items may have no, one or many values. */
export interface Index<T> {
  readonly name: string;
  readonly of: Collection<T>;
  lookup(value: string): T[];
  values(): string[];
}

/** What a fetch asks for. Every part that is given must hold; `where` must be a pure function of the item. */
export interface Filter<T> {
  readonly key?: string;
  readonly index?: readonly [Index<T>, string];
  readonly where?: (item: T) => boolean;
}

/** Someone who must be computed again when what it fetched changes. */
export interface Dependent<T> {
  readonly where: ((item: T) => boolean) | undefined;
  invalidate(): void;
}

export const compareKeys = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export class IndexNode<T> implements Index<T> {
  readonly name: string;
  readonly of: Node<T>;
  readonly #valuesOf: (item: T) => readonly string[];
  readonly #keys = new Map<string, Set<string>>();
  readonly dependents = new Map<string, Set<Dependent<T>>>();

  constructor(name: string, of: Node<T>, valuesOf: (item: T) => readonly string[]) {
    this.name = name;
    this.of = of;
    this.#valuesOf = valuesOf;
    for (const key of of.keys()) this.apply({ key, before: undefined, after: of.get(key) });
  }

  apply(change: Change<T>): void {
    if (change.before !== undefined) for (const v of this.#valuesOf(change.before)) drop(this.#keys, v, change.key);
    if (change.after !== undefined) for (const v of this.#valuesOf(change.after)) put(this.#keys, v, change.key);
  }

  invalidate(change: Change<T>): void {
    if (this.dependents.size === 0) return;
    const { key, before, after } = change;
    const was = new Set(before === undefined ? [] : this.#valuesOf(before));
    const is = new Set(after === undefined ? [] : this.#valuesOf(after));
    // Under each value only the side that has it can concern those who asked for it.
    for (const v of was.union(is)) invalidateAll(this.dependents.get(v), { key, before: was.has(v) ? before : undefined, after: is.has(v) ? after : undefined });
  }

  lookup(value: string): T[] {
    return this.of.select([...(this.#keys.get(value) ?? [])].sort(compareKeys));
  }

  values(): string[] {
    return [...this.#keys.keys()].sort(compareKeys);
  }
}

/** The base of every kind of collection. `step` is called in creation order, which is a topological order of the graph. */
export abstract class Node<T> implements Collection<T> {
  readonly name: string;
  readonly #items = new Map<string, T>();
  readonly #equals: Equals<T>;
  readonly #indexes: IndexNode<T>[] = [];
  readonly #listeners = new Set<Listener<T>>();
  readonly #downstream: Listener<T>[] = [];
  readonly #byKey = new Map<string, Set<Dependent<T>>>();
  readonly #scans = new Set<Dependent<T>>();
  #changes: Change<T>[] = [];

  constructor(name: string, equals: Equals<T> = structuralEqual) {
    this.name = name;
    this.#equals = equals;
  }

  /** True while there is something to recompute. */
  abstract get dirty(): boolean;
  /** Recomputes what is dirty and hands the outcome to `commit`. */
  abstract step(): void;

  get size(): number { return this.#items.size; }
  get(key: string): T | undefined { return this.#items.get(key); }
  keys(): string[] { return [...this.#items.keys()].sort(compareKeys); }
  list(): T[] { return this.select(this.keys()); }

  select(keys: readonly string[]): T[] {
    const out: T[] = [];
    for (const key of keys) {
      const item = this.#items.get(key);
      if (item !== undefined) out.push(item);
    }
    return out;
  }

  onChange(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Graph-internal: a collection built on this one. */
  feed(downstream: Listener<T>): void {
    this.#downstream.push(downstream);
  }

  addIndex(index: IndexNode<T>): void {
    this.#indexes.push(index);
  }

  /** Remembers that `dependent` read what `filter` selects; the returned function forgets it. */
  depend(filter: Filter<T>, dependent: Dependent<T>): () => void {
    if (filter.key !== undefined) return join(this.#byKey, filter.key, dependent);
    if (filter.index !== undefined) return join((filter.index[0] as IndexNode<T>).dependents, filter.index[1], dependent);
    this.#scans.add(dependent);
    return () => void this.#scans.delete(dependent);
  }

  /** Applies new values by key; only real differences become changes. */
  protected commit(next: Iterable<readonly [string, T | undefined]>): void {
    const changes: Change<T>[] = [];
    for (const [key, after] of next) {
      const before = this.#items.get(key);
      if (before === undefined ? after === undefined : after !== undefined && this.#equals(before, after)) continue;
      if (after === undefined) this.#items.delete(key);
      else this.#items.set(key, after);
      const change = { key, before, after };
      for (const index of this.#indexes) index.apply(change);
      changes.push(change);
    }
    if (changes.length === 0) return;
    changes.sort((a, b) => compareKeys(a.key, b.key));
    this.#changes = changes;
    for (const tell of this.#downstream) tell(changes);
    for (const change of changes) {
      invalidateAll(this.#byKey.get(change.key), change);
      invalidateAll(this.#scans, change);
      for (const index of this.#indexes) index.invalidate(change);
    }
  }

  /** After the graph has settled. */
  notify(): void {
    const changes = this.#changes;
    if (changes.length === 0) return;
    this.#changes = [];
    for (const listener of [...this.#listeners]) listener(changes);
  }
}

function invalidateAll<T>(dependents: Iterable<Dependent<T>> | undefined, change: Change<T>): void {
  if (dependents === undefined) return;
  for (const d of dependents) {
    const concerns = d.where === undefined || (change.before !== undefined && d.where(change.before)) || (change.after !== undefined && d.where(change.after));
    if (concerns) d.invalidate();
  }
}

function put<V>(sets: Map<string, Set<V>>, key: string, value: V): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function drop<V>(sets: Map<string, Set<V>>, key: string, value: V): void {
  const set = sets.get(key);
  if (set?.delete(value) === true && set.size === 0) sets.delete(key);
}

function join<V>(sets: Map<string, Set<V>>, key: string, value: V): () => void {
  put(sets, key, value);
  return () => drop(sets, key, value);
}
