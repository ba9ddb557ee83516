// Owns transformations: outputs of a pure function of one input item and what it fetched, recomputed only when those change.
import { compareKeys, Node, type Change, type Collection, type Dependent, type Equals, type Filter } from "./collection.ts";

/** The only way for a transformation to look at other collections: reading is depending. */
export interface Context {
  fetch<T>(from: Collection<T>, filter?: Filter<T>): T[];
  /** The first by key of what `filter` selects. */
  fetchOne<T>(from: Collection<T>, filter: Filter<T>): T | undefined;
}

/** Must be pure: same input and same fetched items, same output. Several items, one, or none. */
export type Transformation<I, O> = (ctx: Context, item: I) => O | readonly O[] | undefined;

export interface DeriveOptions<O> {
  readonly key: (output: O) => string;
  readonly equals?: Equals<O>;
}

export class DeriveNode<I, O> extends Node<O> {
  readonly #input: Node<I>;
  readonly #options: DeriveOptions<O>;
  readonly #transform: Transformation<I, O>;
  readonly #mayFetch: (node: object) => boolean;
  readonly #dirty = new Set<string>();
  readonly #releases = new Map<string, (() => void)[]>();
  readonly #outputs = new Map<string, ReadonlyMap<string, O>>();
  /** Output key → the inputs that make it. The least input key wins, so the outcome does not depend on history. */
  readonly #makers = new Map<string, Set<string>>();

  constructor(name: string, input: Node<I>, options: DeriveOptions<O>, transform: Transformation<I, O>, mayFetch: (node: object) => boolean) {
    super(name, options.equals);
    this.#input = input;
    this.#options = options;
    this.#transform = transform;
    this.#mayFetch = mayFetch;
    input.feed((changes: readonly Change<I>[]) => { for (const c of changes) this.#dirty.add(c.key); });
    for (const key of input.keys()) this.#dirty.add(key);
  }

  get dirty(): boolean { return this.#dirty.size > 0; }

  step(): void {
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    const touched = new Set<string>();
    for (const key of dirty) this.#recompute(key, touched);
    this.commit([...touched].map((key) => [key, this.#winner(key)] as const));
  }

  #recompute(inputKey: string, touched: Set<string>): void {
    for (const release of this.#releases.get(inputKey) ?? []) release();
    this.#releases.delete(inputKey);
    const item = this.#input.get(inputKey);
    const next = item === undefined ? new Map<string, O>() : this.#run(inputKey, item);
    for (const key of this.#outputs.get(inputKey)?.keys() ?? []) {
      touched.add(key);
      if (next.has(key)) continue;
      const makers = this.#makers.get(key);
      if (makers?.delete(inputKey) === true && makers.size === 0) this.#makers.delete(key);
    }
    for (const key of next.keys()) {
      touched.add(key);
      const makers = this.#makers.get(key);
      if (makers === undefined) this.#makers.set(key, new Set([inputKey]));
      else makers.add(inputKey);
    }
    if (next.size === 0) this.#outputs.delete(inputKey);
    else this.#outputs.set(inputKey, next);
  }

  #run(inputKey: string, item: I): Map<string, O> {
    const releases: (() => void)[] = [];
    const invalidate = (): void => void this.#dirty.add(inputKey);
    const fetch = <T>(from: Collection<T>, filter: Filter<T> = {}): T[] => {
      const node = from as Node<T>;
      if (!this.#mayFetch(node)) throw new Error(`defect: ${this.name} fetches ${from.name}, which does not exist before it`);
      if (filter.index !== undefined && filter.index[0].of !== from) throw new Error(`defect: ${this.name} fetches ${from.name} by an index of ${filter.index[0].of.name}`);
      const dependent: Dependent<T> = { where: filter.where, invalidate };
      releases.push(node.depend(filter, dependent));
      const found = filter.key !== undefined ? node.select([filter.key])
        : filter.index !== undefined ? filter.index[0].lookup(filter.index[1]) : node.list();
      return filter.where === undefined ? found : found.filter(filter.where);
    };
    const result = this.#transform({ fetch, fetchOne: (from, filter) => fetch(from, filter)[0] }, item);
    if (releases.length > 0) this.#releases.set(inputKey, releases);
    const out = new Map<string, O>();
    for (const o of result === undefined ? [] : Array.isArray(result) ? (result as readonly O[]) : [result as O]) {
      const key = this.#options.key(o);
      if (!out.has(key)) out.set(key, o);
    }
    return out;
  }

  #winner(key: string): O | undefined {
    let least: string | undefined;
    for (const maker of this.#makers.get(key) ?? []) if (least === undefined || compareKeys(maker, least) < 0) least = maker;
    return least === undefined ? undefined : this.#outputs.get(least)?.get(key);
  }
}
