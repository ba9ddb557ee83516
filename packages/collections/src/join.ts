// Owns the union of collections of one type: under one key, the collection named first wins.
import { Node, type Equals } from "./collection.ts";

export class JoinNode<T> extends Node<T> {
  readonly #parts: readonly Node<T>[];
  readonly #dirty = new Set<string>();

  constructor(name: string, parts: readonly Node<T>[], equals?: Equals<T>) {
    super(name, equals);
    this.#parts = parts;
    for (const part of parts) {
      part.feed((changes) => { for (const c of changes) this.#dirty.add(c.key); });
      for (const key of part.keys()) this.#dirty.add(key);
    }
  }

  get dirty(): boolean { return this.#dirty.size > 0; }

  step(): void {
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    this.commit(dirty.map((key) => [key, this.#first(key)] as const));
  }

  #first(key: string): T | undefined {
    for (const part of this.#parts) {
      const item = part.get(key);
      if (item !== undefined) return item;
    }
    return undefined;
  }
}
