// Owns sets of characters: a table for the first 256, and one answer for all beyond.

export interface CharSet { readonly table: Uint8Array; readonly beyond: boolean }
interface Range { readonly low: number; readonly high: number }

export const has = (set: CharSet, code: number): boolean => (code < 256 ? set.table[code] === 1 : set.beyond);

export function anyOf(items: readonly (CharSet | Range)[]): CharSet {
  const table = new Uint8Array(256);
  let beyond = false;
  for (const item of items) {
    if ("low" in item) table.fill(1, item.low, item.high + 1);
    else {
      for (let i = 0; i < 256; i++) if (item.table[i] === 1) table[i] = 1;
      beyond ||= item.beyond;
    }
  }
  return { table, beyond };
}

export const single = (code: number): CharSet => anyOf([{ low: code, high: code }]);
export const inverse = (set: CharSet): CharSet => ({ table: set.table.map((x) => 1 - x), beyond: !set.beyond });

/** ASCII letters in both cases. */
export function foldCase(set: CharSet): CharSet {
  const table = set.table.slice();
  for (let i = 65; i <= 90; i++) if (table[i] === 1 || table[i + 32] === 1) table[i] = table[i + 32] = 1;
  return { table, beyond: set.beyond };
}

const of = (ranges: string): CharSet => anyOf((ranges.match(/../g) ?? []).map((r) => ({ low: r.charCodeAt(0), high: r.charCodeAt(1) })));
const DIGIT = of("09");
export const WORD = of("09AZaz__");
const SPACE = of("\t\n\f\r  ");
const POSIX: Readonly<Record<string, CharSet>> = {
  alnum: of("09AZaz"), alpha: of("AZaz"), ascii: of("\0\x7f"), blank: of("\t\t  "), cntrl: of("\0\x1f\x7f\x7f"), digit: DIGIT, graph: of("!~"),
  lower: of("az"), print: of(" ~"), punct: of("!/:@[`{~"), space: of("\t\r  "), upper: of("AZ"), word: WORD, xdigit: of("09AFaf"),
};

/** `\d \D \s \S \w \W`. */
export function classNamed(letter: string): CharSet | undefined {
  switch (letter) {
    case "d": return DIGIT;
    case "D": return inverse(DIGIT);
    case "s": return SPACE;
    case "S": return inverse(SPACE);
    case "w": return WORD;
    case "W": return inverse(WORD);
    default: return undefined;
  }
}

export const posixClass = (name: string): CharSet | undefined => (Object.hasOwn(POSIX, name) ? POSIX[name] : undefined);
