import assert from "node:assert/strict";
import { spansIn } from "./otlp.ts";

const field = (number: number, bytes: readonly number[]): number[] => [(number << 3) | 2, bytes.length, ...bytes];
const text = (value: string): number[] => [...Buffer.from(value)];
const fixed = (number: number, value: bigint): number[] => { const b = Buffer.alloc(8); b.writeBigUInt64LE(value); return [(number << 3) | 1, ...b]; };

describe("the sample's collector", () => {
  const span = [
    ...field(1, [0x0a, 0xf7]), ...field(2, [0xb7]), ...field(5, text("catalog")), ...fixed(7, 1_000_000n), ...fixed(8, 3_500_000n),
    ...field(9, [...field(1, text("http.status_code")), ...field(2, [(3 << 3) | 0, 200, 1])]), ...field(9, [...field(1, text("route")), ...field(2, field(1, text("r")))]),
  ];
  const request = Uint8Array.from(field(1, field(2, field(2, span))));

  it("reads spans with their attributes", () => assert.deepEqual(spansIn(request), [{ traceId: "0af7", spanId: "b7", parentId: "", name: "catalog", ms: 2.5, attributes: { "http.status_code": 200, route: "r" } }]));

  it("throws on anything cut off, and ends on any octets", () => {
    for (let n = 1; n < request.length; n++) assert.throws(() => spansIn(request.subarray(0, n)), /cut off|wire type|without end/);
    let seed = 7;
    for (let i = 0; i < 5_000; i++) {
      const bytes = Uint8Array.from(request, (b) => { seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff; return seed % 11 === 0 ? seed & 255 : b; });
      try { spansIn(bytes); } catch (e) { assert.ok(e instanceof Error); }
    }
  });
});
