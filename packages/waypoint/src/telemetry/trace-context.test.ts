import assert from "node:assert/strict";
import { propagate, traceContextOf, type TraceContext } from "./trace-context.ts";

const T = "0af7651916cd43dd8448eb211c80319c";
const S = "b7ad6b7169203331";
const never = (): number => 0.999;
const hex = (bytes: number): string => "ab".repeat(bytes);
const context = (fields: string[], percent = 0): TraceContext => traceContextOf(fields, percent, never, hex);

describe("trace context", () => {
  const cases: [string, string[], Partial<TraceContext>][] = [
    ["none: a new trace, not sampled at 0 %", [], { traceId: "ab".repeat(16), parentId: undefined, sampled: false }],
    ["W3C, sampled", ["traceparent", `00-${T}-${S}-01`], { traceId: T, parentId: S, sampled: true }],
    ["W3C, not sampled", ["traceparent", `00-${T}-${S}-00`], { traceId: T, parentId: S, sampled: false }],
    ["W3C of zeros is none", ["traceparent", `00-${"0".repeat(32)}-${S}-01`], { traceId: "ab".repeat(16), sampled: false }],
    ["W3C malformed is none", ["traceparent", `00-${T}-${S}`], { traceId: "ab".repeat(16) }],
    ["B3 single", ["b3", `${T}-${S}-1`], { traceId: T, parentId: S, sampled: true }],
    ["B3 single with 64 bits", ["b3", `${S}-${S}-0`], { traceId: S.padStart(32, "0"), parentId: S, sampled: false }],
    ["B3 single that only denies", ["b3", "0"], { traceId: "ab".repeat(16), sampled: false }],
    ["B3 single, debug", ["b3", `${T}-${S}-d`], { sampled: true }],
    ["B3 multi", ["x-b3-traceid", T, "x-b3-spanid", S, "x-b3-sampled", "1"], { traceId: T, parentId: S, sampled: true }],
    ["B3 multi without a span is none", ["x-b3-traceid", T], { traceId: "ab".repeat(16) }],
    ["W3C wins over B3", ["b3", `${S}-${S}-0`, "traceparent", `00-${T}-${S}-01`], { traceId: T, sampled: true }],
  ];
  for (const [name, fields, expected] of cases)
    it(name, () => {
      const got = context(fields);
      assert.deepEqual(Object.fromEntries(Object.keys(expected).map((k) => [k, got[k as keyof TraceContext]])), expected);
    });

  it("samples by chance where the caller did not decide", () => {
    assert.equal(traceContextOf([], 50, () => 0.49, hex).sampled, true);
    assert.equal(traceContextOf([], 50, () => 0.5, hex).sampled, false);
    assert.equal(traceContextOf([], 100, () => 0.9999, hex).sampled, true);
  });
});

describe("propagation", () => {
  const ours: TraceContext = { traceId: T, spanId: "1111111111111111", parentId: S, sampled: true };
  const cases: [string, string[], string[]][] = [
    ["W3C when nothing came", ["accept", "*/*"], ["accept", "*/*", "traceparent", `00-${T}-1111111111111111-01`]],
    ["W3C replaced, tracestate kept", ["traceparent", `00-${T}-${S}-01`, "tracestate", "a=b"], ["tracestate", "a=b", "traceparent", `00-${T}-1111111111111111-01`]],
    ["B3 single only", ["b3", `${T}-${S}-1`], ["b3", `${T}-1111111111111111-1-${S}`]],
    ["B3 multi only", ["x-b3-traceid", T, "x-b3-spanid", S, "x-b3-sampled", "1"], ["x-b3-traceid", T, "x-b3-spanid", "1111111111111111", "x-b3-sampled", "1", "x-b3-parentspanid", S]],
  ];
  for (const [name, fields, expected] of cases) it(name, () => {
    const leaving = fields.slice();
    propagate(leaving, ours);
    assert.deepEqual(leaving, expected);
  });
});
