// Owns the open streams of a connection by their number: a table that forgets a stream the moment it ends.
import type { H2Stream } from "./stream.ts";

/** Cells of a new connection; a power of two, and at most half of them are taken. */
const CELLS = 8;

/**
 * A Map would do, were it not for its memory: it leaves outgrown tables behind, each pointing to the next and to what was in it. Once a connection has lived
 * long enough for V8's old generation, streams that ended long ago, with all that hangs on them, would stay until the whole heap is marked.
 */
export class OpenStreams<C> implements Iterable<H2Stream<C>> {
  /** Open addressing, the next free cell. */
  #cells: (H2Stream<C> | undefined)[] = new Array<undefined>(CELLS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): H2Stream<C> | undefined {
    return this.#cells[this.#find(id)];
  }

  /** Its number is not open yet. */
  add(stream: H2Stream<C>): void {
    if (++this.#size * 2 > this.#cells.length) this.#grow();
    this.#cells[this.#find(stream.id)] = stream;
  }

  delete(id: number): void {
    let hole = this.#find(id);
    if (this.#cells[hole] === undefined) return;
    this.#size--;
    const mask = this.#cells.length - 1;
    // Those that had to go further because of it move up.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const stream = this.#cells[at];
      if (stream === undefined) break;
      const home = homeOf(stream.id, mask);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      this.#cells[hole] = stream;
      hole = at;
    }
    this.#cells[hole] = undefined;
  }

  /** Not while streams come or go. */
  *[Symbol.iterator](): Generator<H2Stream<C>, void> {
    for (const stream of this.#cells) if (stream !== undefined) yield stream;
  }

  /** Where it is, or would be. There is always a free cell. */
  #find(id: number): number {
    const mask = this.#cells.length - 1;
    let at = homeOf(id, mask);
    for (let stream = this.#cells[at]; stream !== undefined && stream.id !== id; stream = this.#cells[at]) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#cells;
    this.#cells = new Array<undefined>(old.length * 2).fill(undefined);
    for (const stream of old) if (stream !== undefined) this.#cells[this.#find(stream.id)] = stream;
    old.fill(undefined);
  }
}

/** Numbers of one side are all odd or all even, and rise. */
const homeOf = (id: number, mask: number): number => (id >>> 1) & mask;
