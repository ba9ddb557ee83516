// Owns collections that are fed from outside: the only way in.
import { Node, type Collection, type Equals } from "./collection.ts";

export interface Source<T> extends Collection<T> {
  /** Adds or replaces, under the item's own key. Outside a batch it propagates at once. */
  set(item: T): void;
  delete(key: string): void;
}

export class SourceNode<T> extends Node<T> implements Source<T> {
  readonly #keyOf: (item: T) => string;
  readonly #touched: () => void;
  readonly #staged = new Map<string, T | undefined>();

  constructor(name: string, keyOf: (item: T) => string, equals: Equals<T> | undefined, touched: () => void) {
    super(name, equals);
    this.#keyOf = keyOf;
    this.#touched = touched;
  }

  get dirty(): boolean { return this.#staged.size > 0; }

  set(item: T): void {
    this.#staged.set(this.#keyOf(item), item);
    this.#touched();
  }

  delete(key: string): void {
    this.#staged.set(key, undefined);
    this.#touched();
  }

  step(): void {
    const staged = [...this.#staged];
    this.#staged.clear();
    this.commit(staged);
  }
}
