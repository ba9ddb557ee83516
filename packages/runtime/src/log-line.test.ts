import assert from "node:assert/strict";
import { createLogger } from "./log.ts";

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 6);
const HEAD = { time: "2026-01-02T03:04:05.006Z", level: "info", scope: "a\"b", msg: "m\n" };

/** What one call writes. */
function written(fields: Readonly<Record<string, unknown>> | undefined, of: Readonly<Record<string, unknown>> = {}): string {
  const lines: string[] = [];
  createLogger("a\"b", { write: (line) => lines.push(line), now: () => NOW, fields: of }).info("m\n", fields);
  assert.equal(lines.length, 1);
  return lines[0] ?? "";
}

describe("a log line", () => {
  const odd = Object.assign(Object.create({ toJSON: () => "no" }) as object, { a: 1 });
  const rows: readonly (readonly [string, Readonly<Record<string, unknown>> | undefined, Readonly<Record<string, unknown>>?])[] = [
    ["nothing", undefined], ["no fields", {}], ["only unset ones", { a: undefined }], ["texts, numbers, truths", { a: "x", b: 1.5, c: true, d: undefined, e: "" }],
    ["what JSON escapes", { "k\"\n": "\u0000\ud800\"\\\u2028" }], ["nothing finite", { a: Number.NaN, b: Infinity }], ["lists and objects", { a: [1, { b: "c" }], d: null }],
    ["names of the head", { time: "t", msg: "other" }], ["fields of the logger", { a: 1 }, { a: 0, b: 2 }],
  ];
  for (const [what, fields, of] of rows) it(`says ${what} as one object would`, () => {
    assert.equal(written(fields, of), `${JSON.stringify({ ...HEAD, ...of, ...fields })}\n`);
  });
  it("is not led astray by an inherited toJSON", () => assert.equal(written(odd as Record<string, unknown>), `${JSON.stringify({ ...HEAD, a: 1 })}\n`));
  it("writes big numbers and errors as texts", () => assert.match(written({ a: 12n, e: new Error("why") }), /"a":"12","e":"why"\}\n$/));
});
