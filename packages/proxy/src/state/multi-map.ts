// Owns an index from a key to several values, in order of insertion. Most keys have one: that is kept without a set around it.

const NONE: readonly never[] = [];

export class MultiMap<V extends object> {
  readonly #values = new Map<string, V | Set<V>>();

  add(key: string, value: V): void {
    const before = this.#values.get(key);
    if (before === undefined) this.#values.set(key, value);
    else if (before instanceof Set) before.add(value);
    else if (before !== value) this.#values.set(key, new Set([before, value]));
  }

  remove(key: string, value: V): void {
    const before = this.#values.get(key);
    if (before === value) this.#values.delete(key);
    else if (before instanceof Set && before.delete(value) && before.size === 0) this.#values.delete(key);
  }

  get(key: string): readonly V[] {
    const values = this.#values.get(key);
    return values === undefined ? NONE : values instanceof Set ? [...values] : [values];
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  *values(): Iterable<V> {
    for (const values of this.#values.values()) if (values instanceof Set) yield* values; else yield values;
  }
}
