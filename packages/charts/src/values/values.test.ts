import assert from "node:assert/strict";
import type { Value, ValueMap } from "../template/value.ts";
import { chartValues, layValues } from "./merge.ts";
import { checkValues } from "./schema.ts";
import { setValues } from "./set.ts";

describe("values", () => {
  const SETS: readonly (readonly [text: string, expected: unknown])[] = [
    ["a=b", { a: "b" }],
    ["a.b=1,a.c=true", { a: { b: 1, c: true } }],
    ["a=", { a: "" }],
    ["a=null", { a: null }],
    ["a={x,2}", { a: ["x", 2] }],
    ["a={}", { a: [] }],
    ["a[1].b=x", { a: [null, { b: "x" }] }],
    ["a=1\\,2", { a: "1,2" }],
    ["a.kubernetes\\.io/os=linux", { a: { "kubernetes.io/os": "linux" } }],
    ["a=01", { a: "01" }],
    ["a=1.5", { a: "1.5" }],
    ["a=b=c", { a: "b=c" }],
    ["old.x=2", { old: { x: 2, y: 1 } }],
  ];
  for (const [text, expected] of SETS) it(`--set ${text}`, () => assert.deepEqual(setValues(text.startsWith("old") ? { old: { x: 1, y: 1 } } : {}, text), expected));
  for (const bad of ["", "a", "=b", "a..b=1", "a[x]=1", ".a=1", "a[9999]=1"]) it(`--set ${bad} is refused`, () => assert.throws(() => setValues({}, bad)));
  it("--set-string", () => assert.deepEqual(setValues({}, "a=1,b=true", true), { a: "1", b: "true" }));
  it("a name of every object is a name", () => assert.deepEqual(Object.entries(setValues({}, "__proto__.x=1")), [["__proto__", { x: 1 }]]));

  it("are merged; null takes a default away, and lists are replaced", () => {
    const given = layValues({ a: { b: null, l: [1] } }, { a: { c: 3 } });
    assert.deepEqual(given, { a: { b: null, c: 3, l: [1] } });
    assert.deepEqual(chartValues({ a: { b: 1, d: 4, l: [2, 3] }, e: 5 }, given), { a: { c: 3, d: 4, l: [1] }, e: 5 });
  });
  it("that are too deep are refused", () => {
    let deep: Value = 1;
    for (let i = 0; i < 200; i++) deep = { a: deep };
    assert.throws(() => layValues(deep as ValueMap, deep as ValueMap), /100 deep/);
  });

  const SCHEMA = { type: "object", additionalProperties: false, required: ["n"], properties: { n: { type: "integer", minimum: 1, maximum: 9 }, s: { type: ["string", "null"], pattern: "^a", minLength: 2 }, e: { enum: ["x", "y"] }, l: { type: "array", items: { type: "boolean" } }, m: { type: "object", additionalProperties: { type: "string" } } } };
  const CHECKS: readonly (readonly [value: Value, expected: readonly string[]])[] = [
    [{ n: 1, s: "ab", e: "x", l: [true], m: { a: "b" } }, []],
    [{ n: 1, s: null }, []],
    [{}, ["values: n is missing"]],
    [{ n: 0 }, ["n: 0 is not from 1 to 9"]],
    [{ n: 1.5 }, ["n: must be integer, not number"]],
    [{ n: 1, s: "b" }, ['s: "b" does not match ^a', "s: must not be empty"]],
    [{ n: 1, e: "z" }, ["e: must be one of x, y"]],
    [{ n: 1, l: [1] }, ["l[0]: must be boolean, not number"]],
    [{ n: 1, m: { a: 1 } }, ["m.a: must be string, not number"]],
    [{ n: 1, wrong: 1 }, ["wrong: there is no such value"]],
    [[], ["values: must be object, not array"]],
  ];
  for (const [value, expected] of CHECKS) it(`${JSON.stringify(value)} is ${expected.length === 0 ? "right" : "wrong"}`, () => assert.deepEqual(checkValues(value, SCHEMA), expected));
  it("a schema with words we do not read is refused, not half obeyed", () => assert.throws(() => checkValues({}, { type: "object", oneOf: [] }), /"oneOf"/));
});
