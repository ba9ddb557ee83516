// Owns one graph of collections and its propagation: a batch settles in creation order, then listeners hear of it.
import { IndexNode, Node, type Collection, type Equals, type Index } from "./collection.ts";
import { DeriveNode, type DeriveOptions, type Transformation } from "./derive.ts";
import { GroupNode, type Group } from "./group.ts";
import { JoinNode } from "./join.ts";
import { SourceNode, type Source } from "./source.ts";

/** What the graph needs of a node, whatever its items are. */
interface Settling { readonly dirty: boolean; step(): void; notify(): void }

export interface SourceOptions<T> {
  readonly key: (item: T) => string;
  readonly equals?: Equals<T>;
}

/**
 * A collection may only be built on, and fetch from, collections made before it: creation order is a topological order, so
 * one pass settles everything and nobody ever sees a half-applied batch.
 */
export class Graph {
  readonly #nodes: Settling[] = [];
  readonly #order = new Map<object, number>();
  #depth = 0;
  #settling = false;
  #again = false;

  source<T>(name: string, options: SourceOptions<T>): Source<T> {
    return this.#add(new SourceNode<T>(name, options.key, options.equals, () => { if (this.#depth === 0) this.#settle(); }));
  }

  derive<I, O>(name: string, input: Collection<I>, options: DeriveOptions<O>, transform: Transformation<I, O>): Collection<O> {
    const at = this.#nodes.length;
    return this.#add(new DeriveNode(name, this.#own(input), options, transform, (node) => (this.#order.get(node) ?? Infinity) < at));
  }

  /** Items of the first collection hide those of later ones under the same key. */
  join<T>(name: string, parts: readonly Collection<T>[], equals?: Equals<T>): Collection<T> {
    return this.#add(new JoinNode(name, parts.map((p) => this.#own(p)), equals));
  }

  index<T>(name: string, of: Collection<T>, valuesOf: (item: T) => readonly string[]): Index<T> {
    const node = this.#own(of);
    const index = new IndexNode(name, node, valuesOf);
    node.addIndex(index);
    return index;
  }

  group<T>(name: string, of: Collection<T>, valuesOf: (item: T) => readonly string[]): Collection<Group<T>> {
    const index = this.index(`${name} members`, of, valuesOf);
    return this.#add(new GroupNode(name, this.#own(of), valuesOf, (value) => index.lookup(value)));
  }

  /** Many changes to sources, one propagation. Batches may nest; the outermost propagates. */
  batch(change: () => void): void {
    this.#depth++;
    try {
      change();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#settle();
    }
  }

  #add<N extends Settling>(node: N): N {
    this.#order.set(node, this.#nodes.length);
    this.#nodes.push(node);
    if (this.#depth === 0) this.#settle();
    return node;
  }

  #own<T>(collection: Collection<T>): Node<T> {
    if (!(collection instanceof Node) || !this.#order.has(collection)) throw new Error(`defect: collection ${collection.name} belongs to another graph`);
    return collection as Node<T>;
  }

  #settle(): void {
    // A listener that changes a source gets its own settling after this one.
    if (this.#settling) { this.#again = true; return; }
    this.#settling = true;
    try {
      do {
        this.#again = false;
        for (const node of this.#nodes) if (node.dirty) node.step();
        for (const node of this.#nodes) node.notify();
      } while (this.#again);
    } finally {
      this.#settling = false;
    }
  }
}
