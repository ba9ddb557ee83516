// Owns hashing for consistent balancing: a 32-bit hash of text, and the two tables that map a hash to a member.

/** MurmurHash3 (32 bits) of the UTF-16 code units: spreads well, needs no allocation, is no secret. */
export function hashText(text: string, seed = 0): number {
  let h = seed | 0;
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    h ^= k;
    h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64;
  }
  h ^= text.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Member index of a hash. */
export type HashTable = (hash: number) => number;

/** Points on the ring at most: bounds what one destination costs (8 bytes each), as Envoy's 8 Mi does. */
const RING_MAX = 1 << 20;

/** Each member has points in proportion to its weight, in all at least `minimumSize`; a hash belongs to the next point. */
export function buildRing(names: readonly string[], weights: readonly number[], minimumSize: number): HashTable {
  const total = weights.reduce((a, b) => a + b, 0);
  const lightest = Math.min(...weights.filter((w) => w > 0));
  // Enough that the lightest has one whole point.
  const size = Math.min(RING_MAX, Math.max(minimumSize, Math.ceil(total / lightest)));
  const points: { at: number; member: number }[] = [];
  for (const [member, name] of names.entries()) {
    const own = Math.round((size * (weights[member] ?? 0)) / total);
    for (let i = 0; i < own; i++) points.push({ at: hashText(`${name}_${i}`), member });
  }
  points.sort((a, b) => a.at - b.at || a.member - b.member);
  const at = Uint32Array.from(points, (p) => p.at);
  const members = Uint32Array.from(points, (p) => p.member);
  return (hash) => {
    let [low, high] = [0, at.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((at[middle] ?? 0) < hash) low = middle + 1;
      else high = middle;
    }
    return members[low === at.length ? 0 : low] ?? 0;
  };
}

/** Maglev (Eisenbud et al., NSDI 2016 §3.4), members taking turns as their weight says; `size` is prime. */
export function buildMaglev(names: readonly string[], weights: readonly number[], size: number): HashTable {
  const table = new Int32Array(size).fill(-1);
  const heaviest = Math.max(...weights);
  const state = names.map((name, i) => ({ offset: hashText(name) % size, skip: (hashText(name, 1) % (size - 1)) + 1, next: 0, weight: (weights[i] ?? 0) / heaviest, credit: 0 }));
  for (let filled = 0; filled < size;) {
    for (const [member, s] of state.entries()) {
      s.credit += s.weight;
      if (s.credit < 1 || filled === size) continue;
      s.credit -= 1;
      let slot = (s.offset + s.next * s.skip) % size;
      while (table[slot] !== -1) slot = (s.offset + ++s.next * s.skip) % size;
      table[slot] = member;
      s.next++;
      filled++;
    }
  }
  return (hash) => table[hash % size] ?? 0;
}

/** Tables are costly to build and live as long as the members stay the same. */
export class HashTables {
  readonly #tables = new Map<string, { readonly members: string; readonly table: HashTable }>();

  /** `key` names the destination; another set of members replaces its table. */
  get(key: string, members: string, build: () => HashTable): HashTable {
    const known = this.#tables.get(key);
    if (known?.members === members) return known.table;
    if (known === undefined && this.#tables.size >= TABLES_MAX) this.#tables.clear();
    const table = build();
    this.#tables.set(key, { members, table });
    return table;
  }
}
/** Destinations with tables; beyond this they are built anew, which is slow and right. */
const TABLES_MAX = 256;
