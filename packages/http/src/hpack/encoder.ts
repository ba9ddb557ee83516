// Owns encoding of header blocks (RFC 7541 §6): what is indexed, what never is, Huffman where it is shorter.
import { DynamicTable, entrySize } from "./dynamic-table.ts";
import type { Fields } from "./decoder.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { memory, putText } from "../memory.ts";
import { STATIC_ENTRIES, staticFieldIndex, staticNameIndex } from "./static-table.ts";

/** Octets: the default of RFC 7541 and all we use, however much the peer would keep for us. */
const TABLE_MAX = 4096;
/** An entry above this part of the table would push out everything else. */
const INDEX_PART_MAX = 0.5;
/** A string's Huffman form can take 30 bits an octet, but we choose the shorter form; a length takes at most 6 octets, a field's index too. */
const FIELD_OVERHEAD = 18;

/** Values that differ in every message: an index would only push out useful entries. */
const UNIQUE = new Set([":path", "content-length", "date", "etag", "forwarded", "if-modified-since", "if-none-match", "last-modified", "location",
  "set-cookie", "traceparent", "tracestate", "x-request-id", "age"]);
/** Secrets: marked never-indexed for every hop (RFC 7541 §7.1.3). */
const SECRET = new Set(["authorization", "proxy-authorization", "cookie"]);

/** What is known of a name before any message: its index in the static table (0: none), the values that it has there and their greatest length, and how its values are treated. */
interface KnownName { readonly index: number; readonly values: ReadonlyMap<string, number>; readonly longest: number; readonly unique: boolean; readonly secret: boolean }
const knownName = (name: string): KnownName => {
  const values = staticFieldIndex.get(name) ?? new Map<string, number>();
  return { index: staticNameIndex.get(name) ?? 0, values, longest: Math.max(-1, ...[...values.keys()].map((v) => v.length)), unique: UNIQUE.has(name), secret: SECRET.has(name) };
};
const KNOWN: ReadonlyMap<string, KnownName> = new Map([...staticNameIndex.keys(), ...UNIQUE, ...SECRET].map((name) => [name, knownName(name)]));
const ORDINARY = knownName("");
const NO_FIELDS: Fields = [];

/** A power of two: several times the fields of a message. */
const MET_CELLS = 64;

/**
 * Fields met lately that have an index, found without hashing: a cell holds the last one that fell on it. Messages of one peer mostly repeat themselves,
 * down to the very strings.
 */
class MetFields {
  readonly #names: string[] = new Array<string>(MET_CELLS).fill("");
  readonly #values: string[] = new Array<string>(MET_CELLS).fill("");
  readonly #codes = new Float64Array(MET_CELLS).fill(-1);

  /** Up to STATIC_ENTRIES an index; above, the sequence number of a dynamic entry, which may be gone; -1: not met. */
  codeOf(name: string, value: string): number {
    const cell = cellOf(name, value);
    return this.#names[cell] === name && this.#values[cell] === value ? (this.#codes[cell] ?? -1) : -1;
  }

  remember(name: string, value: string, code: number): void {
    const cell = cellOf(name, value);
    this.#names[cell] = name;
    this.#values[cell] = value;
    this.#codes[cell] = code;
  }
}

const cellOf = (name: string, value: string): number => (name.length * 11 + name.charCodeAt(name.length - 1) + value.length * 5) & (MET_CELLS - 1);

export class HpackEncoder {
  readonly #table: DynamicTable;
  /** name → value → sequence number of the newest such entry; the same for names alone. */
  readonly #byField = new Map<string, Map<string, number>>();
  readonly #byName = new Map<string, number>();
  /** Made with the first message: many connections never have one. */
  #met: MetFields | undefined;
  /** The smallest size since the last block, if the table was resized: must be said before the final one (§4.2). */
  #smallest: number | undefined;
  #scratch = memory(512);
  #at = 0;

  constructor(tableSize = TABLE_MAX) {
    this.#table = new DynamicTable(Math.min(tableSize, TABLE_MAX), (name, value, sequence) => {
      const values = this.#byField.get(name);
      if (values?.get(value) === sequence && values.delete(value) && values.size === 0) this.#byField.delete(name);
      if (this.#byName.get(name) === sequence) this.#byName.delete(name);
    });
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  resize(tableSize: number): void {
    const size = Math.min(tableSize, TABLE_MAX);
    if (size === this.#table.capacity && this.#smallest === undefined) return;
    this.#smallest = Math.min(size, this.#smallest ?? size);
    this.#table.resize(size);
  }

  /**
   * Names must be lower case; characters above U+00FF are refused by the caller. `more` and `last` come behind `fields`. Returns the octets of the block,
   * which is at the start of `block` until the next call.
   */
  write(fields: Fields, more: Fields = NO_FIELDS, last: Fields = NO_FIELDS): number {
    this.#at = 0;
    const met = (this.#met ??= new MetFields());
    if (this.#smallest !== undefined) {
      this.#room(12);
      if (this.#smallest < this.#table.capacity) this.#integer(0x20, 5, this.#smallest);
      this.#integer(0x20, 5, this.#table.capacity);
      this.#smallest = undefined;
    }
    for (let i = 0; i + 1 < fields.length; i += 2) this.#field(fields[i] ?? "", fields[i + 1] ?? "", met);
    for (let i = 0; i + 1 < more.length; i += 2) this.#field(more[i] ?? "", more[i + 1] ?? "", met);
    for (let i = 0; i + 1 < last.length; i += 2) this.#field(last[i] ?? "", last[i + 1] ?? "", met);
    return this.#at;
  }

  get block(): Uint8Array {
    return this.#scratch;
  }

  /** As `write`. The result is valid until the next call. */
  encode(fields: Fields): Uint8Array {
    const octets = this.write(fields);
    return this.#scratch.subarray(0, octets);
  }

  #field(name: string, value: string, met: MetFields): void {
    this.#room(name.length + value.length + FIELD_OVERHEAD);
    const code = met.codeOf(name, value);
    if (code >= 0) {
      if (code <= STATIC_ENTRIES) return this.#integer(0x80, 7, code);
      const position = this.#table.positionOf(code - STATIC_ENTRIES - 1);
      if (this.#table.has(position)) return this.#integer(0x80, 7, STATIC_ENTRIES + 1 + position);
    }
    const known = KNOWN.get(name) ?? ORDINARY;
    const fixed = value.length > known.longest ? undefined : known.values.get(value);
    if (fixed !== undefined) {
      met.remember(name, value, fixed);
      return this.#integer(0x80, 7, fixed);
    }
    if (known.secret || known.unique) return this.#plain(name, value, known);
    const sequence = this.#byField.get(name)?.get(value);
    if (sequence !== undefined) {
      met.remember(name, value, STATIC_ENTRIES + 1 + sequence);
      return this.#integer(0x80, 7, STATIC_ENTRIES + 1 + this.#table.positionOf(sequence));
    }
    if (entrySize(name, value) > this.#table.capacity * INDEX_PART_MAX) return this.#plain(name, value, known);
    const index = this.#nameIndex(name, known);
    this.#integer(0x40, 6, index);
    if (index === 0) this.#shortest(name);
    this.#shortest(value);
    const inserted = this.#table.nextSequence;
    if (!this.#table.insert(name, value)) return;
    const values = this.#byField.get(name);
    if (values === undefined) this.#byField.set(name, new Map([[value, inserted]]));
    else values.set(value, inserted);
    this.#byName.set(name, inserted);
    met.remember(name, value, STATIC_ENTRIES + 1 + inserted);
  }
  /** Not for the table. It will never be met again, so the time for a shorter form is not worth the octets. */
  #plain(name: string, value: string, known: KnownName): void {
    const index = this.#nameIndex(name, known);
    this.#integer(known.secret ? 0x10 : 0, 4, index);
    if (index === 0) this.#text(name);
    this.#text(value);
  }

  #nameIndex(name: string, known: KnownName): number {
    if (known.index > 0) return known.index;
    const sequence = this.#byName.get(name);
    return sequence === undefined ? 0 : STATIC_ENTRIES + 1 + this.#table.positionOf(sequence);
  }

  #integer(pattern: number, prefixBits: number, value: number): void {
    const mask = (1 << prefixBits) - 1;
    if (value < mask) {
      this.#scratch[this.#at++] = pattern | value;
      return;
    }
    this.#scratch[this.#at++] = pattern | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest >>>= 7) this.#scratch[this.#at++] = 0x80 | (rest & 0x7f);
    this.#scratch[this.#at++] = rest;
  }

  #shortest(text: string): void {
    const short = huffmanLength(text);
    if (short >= text.length) return this.#text(text);
    this.#integer(0x80, 7, short);
    this.#at = encodeHuffman(text, this.#scratch, this.#at);
  }

  #text(text: string): void {
    this.#integer(0, 7, text.length);
    this.#at = putText(this.#scratch, this.#at, text);
  }

  #room(octets: number): void {
    if (this.#at + octets <= this.#scratch.length) return;
    const larger = memory(Math.max(this.#scratch.length * 2, this.#at + octets));
    larger.set(this.#scratch.subarray(0, this.#at));
    this.#scratch = larger;
  }
}
