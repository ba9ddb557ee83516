import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeRecord, KEEP_MS, planRecord, publicKeySet, type KeptKeys } from "./record.ts";

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const set = (kid: string, more: object = {}): string => JSON.stringify({ keys: [{ kty: "EC", crv: "P-256", kid, x: "AA", y: "AA", ...more }] });
const kept = (key: string, goodAt = NOW, jwks = set(key)): KeptKeys => ({ key, jwks, goodAt });
const read = (value: unknown, now = NOW) => [...decodeRecord(typeof value === "string" ? value : JSON.stringify(value), now).values()];

describe("the record of issuers' keys", () => {
  it("holds public parts only", () => {
    assert.equal(publicKeySet(set("a", { d: "private", x5c: ["long"], note: "?" })), set("a"));
    assert.equal(publicKeySet(JSON.stringify({ keys: [{ kty: "oct", k: "secret" }] })), undefined);
    for (const text of ["", "null", "[]", '{"keys":1}', '{"keys":[1,null,"x"]}', "<html>"]) assert.equal(publicKeySet(text), undefined, text);
  });

  it("is read as strangers' bytes are", () => {
    assert.deepEqual(read([kept("a"), kept("b", NOW - KEEP_MS)]), [kept("a"), kept("b", NOW - KEEP_MS)]);
    for (const [why, value] of [
      ["not JSON", "{"], ["no list", { a: kept("a") }], ["no name", [{ ...kept("a"), key: "" }]], ["a long name", [kept("a".repeat(2_200))]], ["no date", [{ ...kept("a"), goodAt: "now" }]],
      ["not a number", `[{"key":"a","jwks":${JSON.stringify(set("a"))},"goodAt":null}]`], ["too old", [kept("a", NOW - KEEP_MS - 1)]], ["from the future", [kept("a", NOW + HOUR)]],
      ["no key set", [kept("a", NOW, "x")]], ["secrets", [kept("a", NOW, JSON.stringify({ keys: [{ kty: "oct", k: "AA" }] }))]], ["enormous", [kept("a", NOW, set("a".repeat(2_000_000)))]], ["null", [null]],
    ] as const) assert.deepEqual(read(value), [], why);
    // A clock that is ahead a little is believed, but not kept for longer.
    assert.deepEqual(read([kept("a", NOW + 60_000)]), [kept("a", NOW)]);
    assert.deepEqual(read([kept("a"), kept("a", NOW, set("other"))]), [kept("a")]);
  });

  it("is never more than it says, whatever is in it", () => fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
    for (const k of read(text)) assert.ok(NOW - k.goodAt <= KEEP_MS && publicKeySet(k.jwks) === k.jwks);
  })));

  const plan = (stored: readonly KeptKeys[], ours: readonly KeptKeys[], wanted = [...stored, ...ours].map((k) => k.key), now = NOW) => {
    const p = planRecord({ stored: JSON.stringify(stored), ours, wanted: new Set(wanted), now });
    return { ...p, keys: read(p.text, now) };
  };
  it("is written when keys come, change or go, and for their date only every six hours", () => {
    assert.equal(plan([], []).changed, false);
    assert.deepEqual([plan([], [kept("a")]).changed, plan([], [kept("a")]).keys], [true, [kept("a")]]);
    assert.equal(plan([kept("a", NOW - 5 * HOUR)], [kept("a")]).changed, false);
    assert.equal(plan([kept("a", NOW - 6 * HOUR)], [kept("a")]).changed, true);
    assert.equal(plan([kept("a", NOW - HOUR)], [kept("a", NOW, set("new"))]).changed, true);
    assert.deepEqual([plan([kept("a")], [], []).changed, plan([kept("a")], [], []).keys], [true, []]);
    // What cannot be read is written over.
    assert.equal(planRecord({ stored: JSON.stringify([kept("a"), { junk: 1 }]), ours: [], wanted: new Set(["a"]), now: NOW }).changed, true);
  });
  it("keeps the later of two replicas' keys, and what only the other has", () => {
    assert.deepEqual(plan([kept("a", NOW, set("later"))], [kept("a", NOW - HOUR)]).keys, [kept("a", NOW, set("later"))]);
    assert.deepEqual(plan([kept("b")], [kept("a")]).keys, [kept("a"), kept("b")]);
  });
  it("has an end: who makes a large set leaves himself out", () => {
    const large = (name: string) => kept(name, NOW, set(name, { n: "x".repeat(100_000) }));
    const p = plan([], [...["l1", "l2", "l3", "l4", "l5", "l6", "l7"].map(large), kept("small")]);
    assert.ok(p.keys.some((k) => k.key === "small"));
    assert.deepEqual(p.left, ["l6", "l7"]);
    assert.ok(JSON.stringify(p.text).length <= 512 * 1024, `${p.text.length}`);
  });
});
