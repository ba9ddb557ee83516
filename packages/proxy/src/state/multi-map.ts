// Owns an index from a key to several values, in order of insertion.

const NONE: readonly never[] = [];

export class MultiMap<V> {
  readonly #sets = new Map<string, Set<V>>();

  add(key: string, value: V): void {
    const set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, new Set([value]));
    else set.add(value);
  }

  remove(key: string, value: V): void {
    const set = this.#sets.get(key);
    if (set?.delete(value) === true && set.size === 0) this.#sets.delete(key);
  }

  get(key: string): readonly V[] {
    const set = this.#sets.get(key);
    return set === undefined ? NONE : [...set];
  }

  has(key: string): boolean {
    return this.#sets.has(key);
  }
}
