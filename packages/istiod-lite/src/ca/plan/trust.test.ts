import assert from "node:assert/strict";
import { announced, LATE_MS, planTrust, type RootRecord, type TrustFacts } from "./trust.ts";

const NOW = 1_000_000;
const signer = (anchor: string, notAfter = NOW * 10) => ({ anchor, notAfter });
const record = (knownFrom: number, inUseUntil: number): RootRecord => ({ knownFrom, inUseUntil });
const facts = (o: Partial<Omit<TrustFacts, "records">> & { records?: Record<string, RootRecord> }): TrustFacts => ({
  now: NOW, desired: signer("new"), desiredRoots: ["new"], previous: signer("old"), ...o, records: new Map(Object.entries(o.records ?? {})),
});

describe("planTrust", () => {
  const cases: [string, TrustFacts, { sign: string; roots: string }][] = [
    ["the first authority signs at once", facts({ previous: undefined }), { sign: "desired", roots: "new" }],
    ["a root that is not announced yet does not sign", facts({ records: { old: record(0, NOW + 5) } }), { sign: "previous", roots: "new old" }],
    ["nor one that somebody may not know yet", facts({ records: { new: record(NOW + 1, 0), old: record(0, NOW + 5) } }), { sign: "previous", roots: "new old" }],
    ["it signs when everybody knows it, and the old root stays while certificates under it are valid", facts({ records: { new: record(NOW, 0), old: record(0, NOW + 5) } }), { sign: "desired", roots: "new old" }],
    ["the old root goes when the last certificate under it has ended", facts({ records: { new: record(0, NOW + 9), old: record(0, NOW) } }), { sign: "desired", roots: "new" }],
    ["an intermediate under a known root signs at once", facts({ desired: signer("old"), desiredRoots: ["old"], records: { old: record(0, NOW + 5) } }), { sign: "desired", roots: "old" }],
    ["a root withdrawn by its owner stays while it is in use, also without its key", facts({ previous: undefined, records: { new: record(0, 1), gone: record(0, NOW + 1) } }), { sign: "desired", roots: "new gone" }],
    ["an expired authority gives way at once", facts({ previous: signer("old", NOW), records: { new: record(NOW + 9, 0), old: record(0, NOW + 5) } }), { sign: "desired", roots: "new old" }],
    ["roots the owner adds are told at once", facts({ desired: signer("old"), desiredRoots: ["old", "next"], records: { old: record(0, NOW + 5) } }), { sign: "desired", roots: "old next" }],
  ];
  for (const [name, f, expected] of cases)
    it(name, () => {
      const plan = planTrust(f);
      assert.deepEqual({ sign: plan.sign, roots: plan.roots.join(" ") }, expected);
    });
  it("says what it waits for", () => {
    const { because } = planTrust(facts({ records: { new: record(Date.UTC(2030, 0), 0), old: record(0, Date.UTC(2031, 0)) } }));
    assert.deepEqual(because, ["root new does not sign yet: certificates from before it was announced are valid until 2030-01-01T00:00:00.000Z"]);
  });
  it("an announced root is known when everything given out before has ended", () => {
    assert.deepEqual(announced(new Map(), NOW), record(NOW, 0));
    assert.deepEqual(announced(new Map([["a", record(0, NOW + 7)], ["b", record(0, 3)]]), NOW), record(NOW + 7 + LATE_MS, 0));
  });
});
