// Owns grouping: one item per value of an index, holding everything that has that value.
import { Node, type Change } from "./collection.ts";

export interface Group<T> {
  readonly key: string;
  /** Sorted by key; never empty. */
  readonly items: readonly T[];
}

export class GroupNode<T> extends Node<Group<T>> {
  readonly #members: (value: string) => T[];
  readonly #dirty = new Set<string>();

  constructor(name: string, of: Node<T>, valuesOf: (item: T) => readonly string[], members: (value: string) => T[]) {
    super(name);
    this.#members = members;
    const touch = (item: T | undefined): void => { if (item !== undefined) for (const v of valuesOf(item)) this.#dirty.add(v); };
    of.feed((changes: readonly Change<T>[]) => { for (const c of changes) { touch(c.before); touch(c.after); } });
    for (const item of of.list()) touch(item);
  }

  get dirty(): boolean { return this.#dirty.size > 0; }

  step(): void {
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    this.commit(dirty.map((key) => {
      const items = this.#members(key);
      return [key, items.length === 0 ? undefined : { key, items }] as const;
    }));
  }
}
