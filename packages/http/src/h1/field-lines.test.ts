// Field lines are read with the help of what came before; whatever came, the outcome is that of reading them alone.
import assert from "node:assert/strict";
import { readFieldLines } from "./field-lines.ts";

/** Numerical Recipes' generator: enough to shuffle with. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}

function read(text: string): string[] {
  const fields: string[] = [];
  const bytes = Buffer.from(text, "latin1");
  readFieldLines(bytes, 0, bytes.length, fields, 100);
  return fields;
}

// Of the same length, the beginning of another, in capitals; two that fall on one cell of learned names.
const NAMES = ["Host", "accept", "Accept", "ACCEPT-encoding", "x-a", "x-b", "X-A", "x-ab", "cookie", "authorization", "n".repeat(64), "n".repeat(65), "__proto__", "1", "content-length", "ab", "bC"];
const VALUES = ["", "a", "ab", "abc", "b", "a b", "\xe9", "1", "12", "v".repeat(128), "v".repeat(129), "text/html", "text/html; q=1"];
const BLANKS = ["", " ", "\t", "  "];

describe("field lines", () => {
  it("read as they are, in any order, over and over", () => {
    const random = seededRandom(7);
    const pick = (from: readonly string[]): string => from[Math.floor(random() * from.length)] ?? "";
    for (let round = 0; round < 3000; round++) {
      const lines = Array.from({ length: 1 + Math.floor(random() * 8) }, (): [string, string] => [pick(NAMES), pick(VALUES)]);
      const text = lines.map(([name, value]) => `${name}:${pick(BLANKS)}${value}${pick(BLANKS)}\r\n`).join("");
      assert.deepEqual(read(text), lines.flatMap(([name, value]) => [name.toLowerCase(), value]));
    }
  });

  it("what is no line stays none behind a line that is known", () => {
    for (const good of ["accept: a\r\n", "x-q: a\r\n"]) for (let i = 0; i < 2; i++) assert.equal(read(good + good).length, 4);
    for (const bad of ["accept: a\n", "accept: a\rb\r\n", "accept : a\r\n", "accept\r\n", " accept: a\r\n", "accept: a\0\r\n", "acc\0pt: a\r\n", "x-q: \x7f\r\n", ": a\r\n"])
      for (const good of ["", "accept: a\r\n", "x-q: a\r\n"]) assert.throws(() => read(`${good}${bad}\r\n`), { name: "H1Error" }, JSON.stringify(good + bad));
  });

  it("more than allowed are refused", () => {
    assert.throws(() => read("a: b\r\n".repeat(101)), { status: 431 });
    assert.equal(read("a: b\r\n".repeat(100)).length, 200);
  });
});
