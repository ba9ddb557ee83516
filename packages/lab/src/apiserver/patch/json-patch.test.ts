import assert from "node:assert/strict";
import fc from "fast-check";
import { isObject, type Json } from "../json.ts";
import { applyJsonPatch } from "./json-patch.ts";
import { applyMergePatch } from "./merge-patch.ts";

const anyJson = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;
const anyObject = fc.dictionary(fc.constantFrom("a", "b", "c"), anyJson) as fc.Arbitrary<{ [key: string]: Json }>;

describe("JSON patch", () => {
  const cases: { name: string; doc: Json; ops: unknown; want: Json | RegExp; status?: 400 | 422 }[] = [
    { name: "adds a member", doc: { a: 1 }, ops: [{ op: "add", path: "/b", value: 2 }], want: { a: 1, b: 2 } },
    { name: "inserts an item", doc: { a: [1, 3] }, ops: [{ op: "add", path: "/a/1", value: 2 }], want: { a: [1, 2, 3] } },
    { name: "appends", doc: { a: [1] }, ops: [{ op: "add", path: "/a/-", value: 2 }], want: { a: [1, 2] } },
    { name: "removes", doc: { a: { b: 1, c: 2 } }, ops: [{ op: "remove", path: "/a/b" }], want: { a: { c: 2 } } },
    { name: "replaces", doc: { a: [1, 2] }, ops: [{ op: "replace", path: "/a/0", value: { x: null } }], want: { a: [{ x: null }, 2] } },
    { name: "replaces the whole", doc: { a: 1 }, ops: [{ op: "replace", path: "", value: { b: 1 } }], want: { b: 1 } },
    { name: "moves", doc: { a: { x: 1 } }, ops: [{ op: "move", from: "/a/x", path: "/b" }], want: { a: {}, b: 1 } },
    { name: "copies", doc: { a: [1] }, ops: [{ op: "copy", from: "/a", path: "/b" }], want: { a: [1], b: [1] } },
    { name: "copies do not alias", doc: { a: {} }, ops: [{ op: "copy", from: "/a", path: "/b" }, { op: "add", path: "/b/x", value: 1 }], want: { a: {}, b: { x: 1 } } },
    { name: "escapes", doc: { "a/b": { "~": 1 } }, ops: [{ op: "replace", path: "/a~1b/~0", value: 2 }], want: { "a/b": { "~": 2 } } },
    { name: "tests by structure", doc: { a: { x: 1, y: [2] } }, ops: [{ op: "test", path: "/a", value: { y: [2], x: 1 } }], want: { a: { x: 1, y: [2] } } },
    { name: "a failed test", doc: { a: 1 }, ops: [{ op: "test", path: "/a", value: 2 }], want: /operation 0: test \/a: testing value failed/ },
    { name: "a missing key", doc: {}, ops: [{ op: "remove", path: "/a" }], want: /missing key/ },
    { name: "a missing parent", doc: {}, ops: [{ op: "add", path: "/a/b", value: 1 }], want: /parent is missing/ },
    { name: "an index past the end", doc: { a: [] }, ops: [{ op: "add", path: "/a/1", value: 1 }], want: /past the end/ },
    { name: "a negative index", doc: { a: [1] }, ops: [{ op: "remove", path: "/a/-1" }], want: /not an array index/ },
    { name: "a value moved into itself", doc: { a: {} }, ops: [{ op: "move", from: "/a", path: "/a/b" }], want: /into itself/ },
    { name: "inherited members are not there", doc: {}, ops: [{ op: "copy", from: "/constructor", path: "/a" }], want: /from names nothing/ },
    { name: "the document may not become a scalar", doc: {}, ops: [{ op: "replace", path: "", value: 1 }], want: /not an object/ },
    { name: "not a list", doc: {}, ops: {}, want: /must be an array/, status: 400 },
    { name: "an unknown op", doc: {}, ops: [{ op: "merge", path: "/a" }], want: /op must be one of/ },
    { name: "a pointer without slash", doc: {}, ops: [{ op: "remove", path: "a" }], want: /not a JSON pointer/ },
    { name: "a bad escape", doc: {}, ops: [{ op: "remove", path: "/~2" }], want: /missing key/ },
    { name: "no value is null", doc: {}, ops: [{ op: "add", path: "/a" }], want: { a: null } },
    { name: "replaces what is missing", doc: {}, ops: [{ op: "replace", path: "/a", value: 1 }], want: { a: 1 } },
    { name: "a prototype in a value", doc: {}, ops: [{ op: "add", path: "/a", value: JSON.parse('{"__proto__":{"x":1}}') }], want: /__proto__/, status: 400 },
    { name: "a prototype as a path", doc: {}, ops: [{ op: "add", path: "/__proto__/x", value: 1 }], want: /parent is missing/ },
    { name: "too many operations", doc: {}, ops: Array.from({ length: 10_001 }, () => ({ op: "test", path: "", value: {} })), want: /10000, got 10001/ },
    { name: "copies that double", doc: { a: [1, 1, 1, 1] }, ops: Array.from({ length: 40 }, () => ({ op: "copy", from: "", path: "/a/-" })), want: /copies too much|nested deeper/ },
  ];
  for (const { name, doc, ops, want, status } of cases) {
    it(name, () => {
      const before = JSON.stringify(doc);
      const result = applyJsonPatch(doc, ops);
      assert.equal(JSON.stringify(doc), before, "the input changed");
      if (want instanceof RegExp) {
        assert.ok(!result.ok);
        assert.match(result.message, want);
        assert.equal(result.status, status ?? 422);
      } else assert.deepEqual(result, { ok: true, value: want });
    });
  }

  it("leaves prototypes alone", () => {
    applyJsonPatch({}, [{ op: "add", path: "/__proto__", value: { polluted: 1 } }]);
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  });

  it("never throws, whatever the operations", () => {
    const pointer = fc.array(fc.constantFrom("a", "b", "0", "1", "-", "__proto__", "constructor", "~", "")).map((t) => t.map((x) => `/${x}`).join(""));
    const operation = fc.record({ op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test", "x"), path: pointer, from: pointer, value: anyJson }, { requiredKeys: [] });
    fc.assert(fc.property(anyObject, fc.array(fc.oneof(operation, anyJson)), (doc, ops) => void applyJsonPatch(doc, ops)), { numRuns: 500, seed: 1 });
  });
});

describe("merge patch", () => {
  const cases: [string, Json, unknown, Json][] = [
    ["RFC 7396: replaces", { a: "b" }, { a: "c" }, { a: "c" }],
    ["RFC 7396: adds", { a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    ["RFC 7396: removes", { a: "b", b: "c" }, { a: null }, { b: "c" }],
    ["RFC 7396: lists replace", { a: ["b"] }, { a: "c" }, { a: "c" }],
    ["RFC 7396: nested", { a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    ["RFC 7396: list of objects", { a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    ["RFC 7396: null in new objects goes", {}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
    ["RFC 7396: null in the document stays", { e: null }, { a: 1 }, { e: null, a: 1 }],
  ];
  for (const [name, doc, patch, want] of cases) {
    it(name, () => assert.deepEqual(applyMergePatch(doc, patch), { ok: true, value: want }));
  }

  it("refuses what is not an object", () => {
    for (const patch of [null, 1, "x", [], undefined, JSON.parse('{"__proto__":1}')]) assert.equal(applyMergePatch({}, patch).ok, false);
  });

  it("refuses absurd depth", () => {
    let patch: Json = {};
    for (let i = 0; i < 100_000; i++) patch = { a: patch };
    const result = applyMergePatch({}, patch);
    assert.ok(!result.ok && result.status === 400);
  });

  it("laws: idempotent, the empty patch changes nothing, the last word wins", () => {
    fc.assert(
      fc.property(anyObject, anyObject, (doc, patch) => {
        const once = applyMergePatch(doc, patch);
        if (!once.ok) return;
        assert.deepEqual(applyMergePatch(once.value, patch), once);
        assert.deepEqual(applyMergePatch(once.value, {}), once);
        for (const [key, value] of Object.entries(patch)) {
          if (value === null) assert.ok(!Object.hasOwn(once.value, key));
          else if (!isObject(value)) assert.deepEqual(once.value[key], value);
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});
