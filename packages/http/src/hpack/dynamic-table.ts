// Owns the dynamic table of RFC 7541 §2.3.2: newest entry first, evicted from the oldest end.

/** RFC 7541 §4.1: what an entry counts beyond its two strings. */
export const ENTRY_OVERHEAD = 32;

export const entrySize = (name: string, value: string): number => name.length + value.length + ENTRY_OVERHEAD;

export class DynamicTable {
  /** Entry number n (counted from the first ever inserted) lives at `#fields[2 * (n - #evicted) + #start]`. */
  #fields: string[] = [];
  #start = 0;
  #inserted = 0;
  #evicted = 0;
  #size = 0;
  #capacity: number;
  readonly #onEvict: ((name: string, value: string, sequence: number) => void) | undefined;

  constructor(capacity: number, onEvict?: (name: string, value: string, sequence: number) => void) {
    this.#capacity = capacity;
    this.#onEvict = onEvict;
  }

  get length(): number {
    return this.#inserted - this.#evicted;
  }

  get size(): number {
    return this.#size;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** The sequence number that the next insertion gets. */
  get nextSequence(): number {
    return this.#inserted;
  }

  resize(capacity: number): void {
    this.#capacity = capacity;
    this.#evictTo(capacity);
  }

  /** An entry larger than the table empties it and is not stored (§4.4). Returns whether it is stored. */
  insert(name: string, value: string): boolean {
    const size = entrySize(name, value);
    this.#evictTo(Math.max(0, this.#capacity - size));
    if (size > this.#capacity) return false;
    this.#fields.push(name, value);
    this.#inserted++;
    this.#size += size;
    return true;
  }

  /** `position` 0 is the newest. */
  name(position: number): string | undefined {
    return this.#fields[this.#fields.length - 2 - 2 * position];
  }

  value(position: number): string | undefined {
    return this.#fields[this.#fields.length - 1 - 2 * position];
  }

  has(position: number): boolean {
    return position >= 0 && position < this.length;
  }

  /** Position of the entry with that sequence number. */
  positionOf(sequence: number): number {
    return this.#inserted - 1 - sequence;
  }

  #evictTo(limit: number): void {
    while (this.#size > limit) {
      const name = this.#fields[this.#start] ?? "";
      const value = this.#fields[this.#start + 1] ?? "";
      this.#onEvict?.(name, value, this.#evicted);
      this.#fields[this.#start] = "";
      this.#fields[this.#start + 1] = "";
      this.#start += 2;
      this.#evicted++;
      this.#size -= entrySize(name, value);
    }
    if (this.#start === this.#fields.length) {
      this.#fields = [];
      this.#start = 0;
    } else if (this.#start > 64 && this.#start * 2 > this.#fields.length) {
      this.#fields = this.#fields.slice(this.#start);
      this.#start = 0;
    }
  }
}
