// Owns lists of field names that were looked over lately: messages repeat themselves, so what was found of one list mostly holds for the next message's, too.
import type { Fields } from "./hpack/decoder.ts";

/** A power of two. Lists of one length share a cell, which holds the last one. */
const CELLS = 32;
/** Longer lists, and longer names, are not remembered: 32 x 64 x 64 octets are held at most. */
const NAMES_MAX = 64;
const NAME_MAX = 64;
/** Where lists change all the time, learning them costs more than they are worth: one in so many that were not met is learned. A power of two. */
const LEARN_EVERY = 8;
/** `recall` of a list that was not met. */
export const NOT_MET = -1;

interface Known {
  readonly names: readonly string[];
  readonly found: number;
  /** Where the one value is that counted too; -1: names alone. */
  readonly at: number;
  readonly value: string;
}

/** One for each question that is asked of names. An answer is given again only for the same names in the same order. */
export class NameLists {
  readonly #lists = new Array<Known | undefined>(CELLS).fill(undefined);
  #missed = 0;

  /** What was found of the names in `fields` from there on. */
  recall(fields: Fields, from = 0): number {
    const known = this.#lists[cellOf(fields, from)];
    if (known === undefined) return NOT_MET;
    const { names, at } = known;
    const count = names.length;
    if (count * 2 !== fields.length - from) return NOT_MET;
    for (let i = 0; i < count; i++) if (fields[from + 2 * i] !== names[i]) return NOT_MET;
    return at < 0 || fields[from + at] === known.value ? known.found : NOT_MET;
  }

  /** `found`, 0 or more, says something of these names only; or also of the one value at this index. Returns `found`. */
  remember(fields: Fields, from: number, found: number, valueAt = -1): number {
    if ((this.#missed++ & (LEARN_EVERY - 1)) !== 0) return found;
    const names: string[] = [];
    for (let i = from; i + 1 < fields.length; i += 2) {
      const name = fields[i] ?? "";
      if (names.length === NAMES_MAX || name.length > NAME_MAX) return found;
      names.push(name);
    }
    this.#lists[cellOf(fields, from)] = { names, found, at: valueAt < 0 ? -1 : valueAt - from, value: fields[valueAt] ?? "" };
    return found;
  }
}

const cellOf = (fields: Fields, from: number): number => ((fields.length - from) >>> 1) & (CELLS - 1);
