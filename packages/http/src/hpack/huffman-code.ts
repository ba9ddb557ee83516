// Owns the Huffman code of RFC 7541 appendix B, rebuilt from its code lengths (the code is canonical).

/** The length of the code of each symbol 0–255 and EOS, as a letter: "a" is 5 bits, "z" is 30. */
const LENGTHS =
  "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijb" +
  "kabababbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsv" +
  "vporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz";

export const EOS = 256;
const SYMBOLS = 257;

export const codeLengths: Uint8Array = Uint8Array.from(LENGTHS, (letter) => letter.charCodeAt(0) - 97 + 5);
export const codes: Uint32Array = assignCodes();

/** Canonical: ordered by length, then by symbol; each code is the one before plus one, shifted to its length. */
function assignCodes(): Uint32Array {
  const out = new Uint32Array(SYMBOLS);
  const order = [...codeLengths.keys()].sort((a, b) => lengthOf(a) - lengthOf(b) || a - b);
  let code = 0;
  let length = lengthOf(order[0] ?? 0);
  for (const symbol of order) {
    code <<= lengthOf(symbol) - length;
    length = lengthOf(symbol);
    out[symbol] = code++;
  }
  return out;
}

function lengthOf(symbol: number): number {
  return codeLengths[symbol] ?? 0;
}
