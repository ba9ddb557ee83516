// Owns how many tunnels of peers each traffic thread carries, in memory that all threads see, and who takes the next one.

/**
 * The kernel deals connections out by a hash of their addresses. With thousands that is even; tunnels are few (one for each peer's identity, node and thread)
 * and carry much, so two of them on one thread and none on the other would be half a machine unused.
 */
export class TunnelTally {
  readonly #counts: Int32Array;
  readonly #own: number;

  /** `memory` from `tallyMemory`; `own` is the index of the thread that asks. */
  constructor(memory: SharedArrayBuffer, own: number) {
    this.#counts = new Int32Array(memory);
    this.#own = own;
  }

  /** Of this thread now. */
  get own(): number {
    return Atomics.load(this.#counts, this.#own);
  }

  /** Which thread shall have the next one: ours unless another carries fewer. */
  get least(): number {
    let least = this.#own;
    for (let i = 0; i < this.#counts.length; i++) if (Atomics.load(this.#counts, i) < Atomics.load(this.#counts, least)) least = i;
    return least;
  }

  /** `thread` has one more. */
  begin(thread: number): void {
    Atomics.add(this.#counts, thread, 1);
  }

  /** One of ours ended, or was never begun. */
  end(): void {
    Atomics.sub(this.#counts, this.#own, 1);
  }
}

export const tallyMemory = (threads: number): SharedArrayBuffer => new SharedArrayBuffer(threads * Int32Array.BYTES_PER_ELEMENT);
