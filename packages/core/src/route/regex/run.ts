// Owns running a program over a text: all alternatives side by side, one pass, so that time is bounded by pattern × text (Thompson, Pike).
import { has, WORD } from "./char-set.ts";
import type { Instruction } from "./program.ts";

/** Characters: beyond this nothing matches. Paths and header values are far below; it bounds one match. */
export const TEXT_MAX = 8192;

/** Rounds are counted in 32 bits; one run has at most two for each character. */
const ROUNDS_MAX = 2 ** 32 - 4 * TEXT_MAX;

/** Start and end of each group, in turn; -1: not taken. The first two are of the whole. */
type Slots = readonly number[];
interface Thread { readonly at: number; readonly slots: Slots }
export interface Search {
  /** Where to begin looking. */
  readonly from: number;
  /** The whole text, from the first to the last character. */
  readonly whole: boolean;
  /** Steps that may still be done; counted down. */
  readonly fuel: { left: number };
}

export class Machine {
  readonly #code: readonly Instruction[];
  readonly #none: Slots;
  /** In which round an instruction was last added. */
  readonly #seen: Uint32Array;
  #round = 0;

  constructor(code: readonly Instruction[], groups: number) {
    this.#code = code;
    this.#none = new Array<number>((groups + 1) * 2).fill(-1);
    this.#seen = new Uint32Array(code.length);
  }

  /** The leftmost match, of those the one that the pattern prefers. `spent`: out of fuel. */
  run(text: string, { from, whole, fuel }: Search): Slots | "spent" | undefined {
    if (this.#round > ROUNDS_MAX) {
      this.#seen.fill(0);
      this.#round = 0;
    }
    let current: Thread[] = [];
    let found: Slots | undefined;
    for (let i = from; i <= text.length; i++) {
      if (current.length === 0 && (found !== undefined || (whole && i > from))) break;
      this.#newRound(current);
      if (found === undefined && (!whole || i === from)) this.#add(current, 0, this.#none.with(0, i), text, i);
      fuel.left -= current.length + 1;
      if (fuel.left < 0) return "spent";
      const code = i < text.length ? text.charCodeAt(i) : -1;
      const next: Thread[] = [];
      this.#round++;
      for (const thread of current) {
        const instruction = this.#code[thread.at];
        if (instruction?.op === "match") {
          if (whole && i < text.length) continue;
          found = thread.slots.with(1, i);
          break;
        }
        if (code >= 0 && instruction?.op === "set" && has(instruction.set, code)) this.#add(next, thread.at + 1, thread.slots, text, i + 1);
      }
      current = next;
    }
    return found;
  }

  /** Marks what is on the list already, so that a later start is not added twice. */
  #newRound(current: readonly Thread[]): void {
    this.#round++;
    for (const thread of current) this.#seen[thread.at] = this.#round;
  }

  /** Follows everything that reads no character. */
  #add(list: Thread[], first: number, slots: Slots, text: string, i: number): void {
    const stack: Thread[] = [{ at: first, slots }];
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const { at } = top;
      if (this.#seen[at] === this.#round) continue;
      this.#seen[at] = this.#round;
      const instruction = this.#code[at];
      switch (instruction?.op) {
        case "jump": stack.push({ at: instruction.to, slots: top.slots }); break;
        case "split": stack.push({ at: instruction.second, slots: top.slots }, { at: instruction.first, slots: top.slots }); break;
        case "save": stack.push({ at: at + 1, slots: top.slots.with(instruction.slot, i) }); break;
        case "assert": if (holds(instruction.what, text, i)) stack.push({ at: at + 1, slots: top.slots }); break;
        case "set": case "match": list.push(top); break;
        case undefined: break;
      }
    }
  }
}

function holds(what: "begin" | "end" | "word" | "not-word", text: string, i: number): boolean {
  if (what === "begin") return i === 0;
  if (what === "end") return i === text.length;
  const word = (at: number): boolean => at >= 0 && at < text.length && has(WORD, text.charCodeAt(at));
  return (word(i - 1) !== word(i)) === (what === "word");
}
