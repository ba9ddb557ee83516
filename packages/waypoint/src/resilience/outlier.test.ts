import assert from "node:assert/strict";
import type { OutlierDetection } from "@ambit/core";
import { judgeOutcome, OutlierDetector, type Judgement } from "./outlier.ts";

const SETTINGS: OutlierDetection = {
  consecutive5xx: 3, consecutiveGatewayErrors: 0, splitLocalOrigin: false, consecutiveLocalOrigin: 5, intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 10, minHealthPercent: 0,
};
const answer = (status: number): Judgement => ({ kind: "answer", status });
const LOCAL: Judgement = { kind: "local-error" };
/** Whether the last of these ejects, of ten members. */
const ejects = (more: Partial<OutlierDetection>, judgements: readonly Judgement[]): boolean => {
  const detector = new OutlierDetector({ ...SETTINGS, ...more });
  for (const j of judgements) detector.record("a", j, 10, 0);
  return detector.isEjected("a");
};

describe("outlier detection: what ejects (l7-traffic 4.5)", () => {
  const cases: [string, Partial<OutlierDetection>, Judgement[], boolean][] = [
    ["three 5xx in a row", {}, [answer(500), answer(501), answer(599)], true],
    ["a success in between", {}, [answer(500), answer(500), answer(200), answer(500)], false],
    ["0 disables", { consecutive5xx: 0 }, Array.from({ length: 20 }, () => answer(500)), false],
    ["local errors count as 5xx", {}, [LOCAL, answer(500), LOCAL], true],
    ["unless they are split off", { splitLocalOrigin: true }, [LOCAL, LOCAL, LOCAL, LOCAL], false],
    ["then they have their own count", { splitLocalOrigin: true }, [LOCAL, LOCAL, LOCAL, LOCAL, LOCAL], true],
    ["an answer ends that count", { splitLocalOrigin: true }, [LOCAL, LOCAL, LOCAL, LOCAL, answer(500), LOCAL], false],
    ["gateway errors", { consecutive5xx: 0, consecutiveGatewayErrors: 2 }, [answer(502), answer(504)], true],
    ["500 is no gateway error", { consecutive5xx: 0, consecutiveGatewayErrors: 2 }, [answer(502), answer(500), answer(504)], false],
    ["statuses of one's own", { errorStatuses: [429] }, [answer(429), answer(429), answer(429)], true],
    ["in place of 5xx", { errorStatuses: [429] }, [answer(500), answer(500), answer(500)], false],
    ["no ejection allowed", { maxEjectionPercent: 0 }, [answer(500), answer(500), answer(500)], false],
  ];
  for (const [name, more, judgements, expected] of cases) it(name, () => assert.equal(ejects(more, judgements), expected));
});

describe("outlier detection: how long", () => {
  const fail = (d: OutlierDetector, uid: string, now: number): number | undefined => [1, 2, 3].map(() => d.record(uid, answer(500), 10, now)).at(-1);
  it("base time, twice it the second time, and the multiplier decays in good intervals", () => {
    const d = new OutlierDetector(SETTINGS);
    assert.equal(fail(d, "a", 0), 30_000);
    d.sweep(29_999);
    assert.ok(d.isEjected("a"));
    d.sweep(30_000);
    assert.ok(!d.isEjected("a"));
    assert.equal(fail(d, "a", 40_000), 100_000);
    d.sweep(100_000);
    d.sweep(110_000);
    d.sweep(120_000);
    assert.equal(fail(d, "a", 130_000), 160_000);
  });
  it("never beyond five minutes, unless the base is longer", () => {
    const d = new OutlierDetector({ ...SETTINGS, baseEjectionMs: 200_000 });
    fail(d, "a", 0);
    d.sweep(200_000);
    assert.equal(fail(d, "a", 200_000), 500_000);
    assert.equal(fail(new OutlierDetector({ ...SETTINGS, baseEjectionMs: 400_000 }), "a", 0), 400_000);
  });
  it("at most the share, and always one", () => {
    const d = new OutlierDetector(SETTINGS);
    assert.notEqual(fail(d, "a", 0), undefined);
    assert.equal(fail(d, "b", 0), undefined);
    const wide = new OutlierDetector({ ...SETTINGS, maxEjectionPercent: 20 });
    assert.deepEqual(["a", "b", "c"].map((uid) => fail(wide, uid, 0) !== undefined), [true, true, false]);
  });
  it("endpoints that are gone are forgotten", () => {
    const d = new OutlierDetector(SETTINGS);
    fail(d, "a", 0);
    d.retain(() => false);
    assert.ok(!d.isEjected("a"));
  });
});

describe("outlier detection: what an outcome says", () => {
  const cases: [string, Parameters<typeof judgeOutcome>[0]["result"], Judgement][] = [
    ["a gRPC status counts as its HTTP status", { kind: "answered", status: 200, fields: [], grpcStatus: 14, whole: true }, answer(503)],
    ["a plain answer", { kind: "answered", status: 404, fields: [], grpcStatus: undefined, whole: true }, answer(404)],
    ["no connection", { kind: "connect", why: "refused", timeout: false }, LOCAL],
    ["our own limit says nothing of it", { kind: "overflow", limit: "pending" }, undefined],
    ["nor does a client that left", { kind: "abandoned" }, undefined],
  ];
  for (const [name, result, expected] of cases) it(name, () => assert.deepEqual(judgeOutcome({ result }), expected));
});
