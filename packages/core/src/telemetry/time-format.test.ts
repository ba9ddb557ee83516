import assert from "node:assert/strict";
import fc from "fast-check";
import { compileTime } from "./time-format.ts";

const write = (format: string, ms: number): string => { const made = compileTime(format); assert.ok(made.ok, made.ok ? "" : made.error); return made.value(ms); };
const AT = Date.UTC(2026, 10, 2, 3, 4, 5, 67);

describe("the time of an access line", () => {
  for (const [format, expected] of [
    ["%Y/%m/%dT%H:%M:%S%z", "2026/11/02T03:04:05+0000"], ["%s", "1793588645"], ["%s.%3f", "1793588645.067"], ["%3f %6f %9f %f %1f", "067 067000 067000000 067000000 0"], ["%a %b %e %Y", "Mon Nov  2 2026"], ["%A, %d %B %y %I %p", "Monday, 02 November 26 03 AM"],
    ["%F %T %R %D %j %Z %u %w", "2026-11-02 03:04:05 03:04 11/02/26 306 UTC 1 1"], ["100%%", "100%"], ["", ""], ["plain", "plain"],
  ] as const) it(format, () => assert.equal(write(format, AT), expected));
  for (const [format, why] of [["%Q", /"%Q" of a time/], ["%", /"%" of a time/], ["%3S", /"%3S" of a time/], ["%Ez", /"%E" of a time/]] as const) it(`refused: ${format}`, () => { const made = compileTime(format); assert.match(made.ok ? "" : made.error, why); });
  it("is Date's, for any time", () => fc.assert(fc.property(fc.integer({ min: Date.UTC(1900, 0, 1), max: Date.UTC(2400, 11, 31) }), (ms) => {
    const date = new Date(ms);
    assert.equal(write("%FT%T.%3fZ", ms), date.toISOString());
    assert.deepEqual([write("%w", ms), Number(write("%j", ms))], [String(date.getUTCDay()), (Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()) - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000 + 1]);
  }), { numRuns: 2_000 }));
});
