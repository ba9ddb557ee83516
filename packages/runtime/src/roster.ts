// Owns a set whose members come and go thousands of times a second.

/** What sits in a roster: the seat is the roster's to write. -1: in none. */
export interface Seated {
  seat: number;
}

/**
 * As a Set is, without an order, and each member in one roster only. A Set that lives long leaves outgrown tables behind in V8's old generation; each points to
 * the next and to what was in it, so that members which left long ago are kept until the whole heap is marked. Here nothing points to who left.
 */
export class Roster<T extends Seated> implements Iterable<T> {
  #seats: (T | undefined)[] = [];
  #free: number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(member: T): void {
    if (member.seat >= 0) throw new Error("it has a seat already");
    const seat = this.#free.pop() ?? this.#seats.length;
    member.seat = seat;
    this.#seats[seat] = member;
    this.#size++;
  }

  /** False: it was not here. */
  delete(member: T): boolean {
    const { seat } = member;
    if (seat < 0 || this.#seats[seat] !== member) return false;
    member.seat = -1;
    this.#seats[seat] = undefined;
    if (--this.#size > 0) this.#free.push(seat);
    else this.#empty();
    return true;
  }

  /** Who leaves meanwhile is passed over; who comes may be. */
  *[Symbol.iterator](): Generator<T, void> {
    for (let at = 0; at < this.#seats.length; at++) {
      const member = this.#seats[at];
      if (member !== undefined) yield member;
    }
  }

  /** A crowd that has gone leaves no large arrays behind. */
  #empty(): void {
    this.#seats.length = 0;
    this.#free.length = 0;
  }
}
