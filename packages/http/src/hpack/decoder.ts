// Owns decoding of one header block at a time (RFC 7541 §6); the dynamic table lives as long as the connection.
import { DynamicTable, ENTRY_OVERHEAD } from "./dynamic-table.ts";
import { decodeHuffman, TOO_LONG } from "./huffman.ts";
import { STATIC_ENTRIES, staticNames, staticValues } from "./static-table.ts";
import { memory } from "../memory.ts";
import { findName, hashStep, nameAt } from "../known-names.ts";
import { HTAB, NAME, SP, text, VALUE } from "../octets.ts";

/** Names and values in turn: `[name, value, name, value, …]`, latin-1. */
export type Fields = readonly string[];

/** Integers in a block count octets or entries; 2^28 is beyond every bound we have and safe in 32 bits. */
const INTEGER_MAX = 1 << 28;
/** The block does not follow RFC 7541: the connection cannot go on (COMPRESSION_ERROR). */
export class HpackError extends Error {
  override readonly name = "HpackError";
}

export interface HpackDecoderOptions {
  /** What we announced as SETTINGS_HEADER_TABLE_SIZE, octets. */
  readonly tableSize: number;
  /** Cap of a decoded block as RFC 9113 §6.5.2 counts it (32 octets a field on top). */
  readonly blockMax: number;
}

export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #tableMax: number;
  readonly #blockMax: number;
  /** All fields of the last block have a lower-case token for a name, or are of the static table, and a value that is proper field content: they need not be looked at again. */
  clean = true;
  /** The table has had an entry that is not. */
  #tainted = false;
  #scratch = memory(256);
  #bytes: Uint8Array = EMPTY;
  #at = 0;
  #end = 0;
  /** Where the last string is. */
  #from: Uint8Array = EMPTY;
  #start = 0;

  constructor(options: HpackDecoderOptions) {
    this.#tableMax = options.tableSize;
    this.#table = new DynamicTable(options.tableSize);
    this.#blockMax = options.blockMax;
  }

  /**
   * Decodes `bytes[from, to)`. Returns `undefined` when the fields together exceed `blockMax`; the table is right even then, so that the connection can
   * go on. Throws HpackError.
   */
  decode(bytes: Uint8Array, from = 0, to = bytes.length): string[] | undefined {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    this.clean = !this.#tainted;
    const fields: string[] = [];
    let size = 0;
    let updates = 0;
    while (this.#at < to) {
      const first = bytes[this.#at] ?? 0;
      let name: string;
      let value: string;
      if (first >= 0x80) {
        const index = this.#integer(7);
        name = this.#nameAt(index);
        value = this.#valueAt(index);
      } else if (first >= 0x20 && first < 0x40) {
        if (fields.length > 0 || size > 0 || ++updates > 2) throw new HpackError("table size update inside a block");
        this.#resize(this.#integer(5));
        continue;
      } else {
        const index = this.#integer(first >= 0x40 ? 6 : 4);
        name = index === 0 ? this.#name() : this.#nameAt(index);
        value = this.#value();
        if (first >= 0x40) {
          this.#table.insert(name, value);
          if (!this.clean) this.#tainted = true;
        }
      }
      size += name.length + value.length + ENTRY_OVERHEAD;
      if (size <= this.#blockMax) fields.push(name, value);
    }
    this.#bytes = this.#from = EMPTY;
    return size <= this.#blockMax ? fields : undefined;
  }

  #resize(capacity: number): void {
    if (capacity > this.#tableMax) throw new HpackError(`table size ${capacity} exceeds the announced ${this.#tableMax}`);
    this.#table.resize(capacity);
  }

  #nameAt(index: number): string {
    const name = index <= STATIC_ENTRIES ? staticNames[index] : this.#table.has(index - STATIC_ENTRIES - 1) ? this.#table.name(index - STATIC_ENTRIES - 1) : undefined;
    if (name === undefined || index === 0) throw new HpackError(`no table entry ${index}`);
    return name;
  }

  #valueAt(index: number): string {
    return (index <= STATIC_ENTRIES ? staticValues[index] : this.#table.value(index - STATIC_ENTRIES - 1)) ?? "";
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new HpackError("block ends inside a field");
    return this.#bytes[this.#at++] ?? 0;
  }

  /** RFC 7541 §5.1. */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > INTEGER_MAX) break;
      if (byte < 0x80) return value;
    }
    throw new HpackError("integer too large");
  }

  #name(): string {
    const octets = this.#string();
    const b = this.#from;
    let hash = 0;
    let at = this.#start;
    const end = at + octets;
    for (; at < end; at++) {
      const c = b[at] ?? 0;
      if (c === 0 || NAME[c] !== c) break;
      hash = hashStep(hash, c);
    }
    if (at < end || octets === 0) {
      this.clean = false; // pseudo-fields come by index; one that does not is looked at the long way
      return text(b, this.#start, end);
    }
    const known = findName(hash, b, this.#start, end);
    return known < 0 ? text(b, this.#start, end) : nameAt(known);
  }

  #value(): string {
    const octets = this.#string();
    if (octets === 0) return "";
    const b = this.#from;
    const from = this.#start;
    const end = from + octets;
    let at = from;
    while (at < end && VALUE[b[at] ?? 0] === 1) at++;
    const first = b[from];
    const last = b[end - 1];
    if (at < end || first === SP || first === HTAB || last === SP || last === HTAB) this.clean = false;
    return text(b, from, end);
  }

  /** RFC 7541 §5.2. Returns the octets of the string, which is at `#from[#start]` then. */
  #string(): number {
    const huffman = ((this.#bytes[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const from = this.#at;
    if (length > this.#end - from) throw new HpackError("string runs beyond its block");
    this.#at = from + length;
    if (!huffman) {
      this.#from = this.#bytes;
      this.#start = from;
      return length;
    }
    const most = Math.floor((length * 8) / 5); // the shortest code has 5 bits
    if (this.#scratch.length < most) this.#scratch = memory(most);
    const decoded = decodeHuffman(this.#bytes, from, from + length, this.#scratch, most);
    if (decoded < 0) throw new HpackError(decoded === TOO_LONG ? "defect: Huffman bound" : "bad Huffman code or padding");
    this.#from = this.#scratch;
    this.#start = 0;
    return decoded;
  }
}

const EMPTY = new Uint8Array(0);
