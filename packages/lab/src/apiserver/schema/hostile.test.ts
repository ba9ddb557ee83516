// Schemas and objects that nobody sane writes: an error that names the place, or an answer, but never a crash.
import assert from "node:assert/strict";
import fc from "fast-check";
import { isObject, type Json } from "../json.ts";
import { compileSchema, SchemaError, type CompiledSchema, type Schema } from "./structural.ts";

const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>;

const leaf: fc.Arbitrary<Schema> = fc.constantFrom<Schema[]>({ type: "string" }, { type: "integer" }, { "x-kubernetes-int-or-string": true });

/** Schemas that are mostly right, with wrong values strewn in. */
const { schema } = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof({ maxDepth: 3, withCrossShrink: true }, leaf, fc.record(
    {
      type: fc.constantFrom<unknown>("object", "object", "array", "string", "integer", "number", "boolean", "text", 1),
      properties: fc.oneof({ weight: 5, arbitrary: fc.dictionary(fc.constantFrom("a", "b", "__proto__", "constructor"), tie("schema"), { maxKeys: 3 }) }, json),
      items: tie("schema"),
      additionalProperties: fc.oneof(tie("schema"), fc.boolean()),
      required: fc.oneof(fc.array(fc.constantFrom("a", "b")), json),
      enum: fc.oneof(fc.array(json, { maxLength: 3 }), json),
      default: json,
      nullable: fc.constantFrom<unknown>(true, false, "yes"),
      pattern: fc.constantFrom<unknown>("^a+$", "(", "(?i)x", 5),
      format: fc.constantFrom<unknown>("date-time", "int32", "nonsense", 7),
      minimum: fc.oneof(fc.double(), json),
      maxLength: fc.oneof(fc.nat(5), json),
      anyOf: fc.array(tie("schema"), { maxLength: 2 }),
      oneOf: fc.oneof(fc.array(tie("schema"), { maxLength: 2 }), json),
      not: tie("schema"),
      "x-kubernetes-list-type": fc.constantFrom("map", "set", "atomic", "tree"),
      "x-kubernetes-list-map-keys": fc.array(fc.constantFrom("a", "b"), { maxLength: 2 }),
      "x-kubernetes-int-or-string": fc.boolean(),
      "x-kubernetes-preserve-unknown-fields": fc.boolean(),
      "x-kubernetes-embedded-resource": fc.boolean(),
    },
    { requiredKeys: ["type"] },
  ).map((value) => value as Schema)),
}));

function tryCompile(candidate: unknown): CompiledSchema | null {
  try {
    return compileSchema(candidate as Schema);
  } catch (error) {
    assert.ok(error instanceof SchemaError, String(error));
    assert.match(error.field, /^openAPIV3Schema/);
    return null;
  }
}

describe("hostile schemas and objects", () => {
  it("anything compiles or is refused by name", () => {
    fc.assert(fc.property(fc.oneof(json, schema), (candidate) => void tryCompile(candidate)), { numRuns: 2000, seed: 11 });
  });

  it("what compiles prunes, defaults and validates anything, twice alike", () => {
    let ran = 0;
    fc.assert(
      fc.property(schema, json, json, (candidate, value, old) => {
        const root: Schema = { type: "object", properties: { spec: candidate } };
        const compiled = tryCompile(root);
        if (compiled === null) return;
        ran++;
        const { value: pruned } = compiled.prune({ spec: value });
        assert.deepEqual(compiled.prune(pruned), { value: pruned, dropped: [] });
        const defaulted = compiled.applyDefaults(pruned);
        assert.deepEqual(compiled.applyDefaults(defaulted), defaulted);
        compiled.validate(defaulted);
        compiled.validate(defaulted, { spec: old });
        assert.deepEqual(compiled.validate(defaulted, defaulted), []);
      }),
      { numRuns: 3000, seed: 13 },
    );
    assert.ok(ran > 300, `only ${ran} schemas were usable`);
  });

  it("rules made of scraps compile or are refused, and run to an end", () => {
    const scrap = fc.constantFrom("self", "oldSelf", ".a", ".?a", "[0]", "(", ")", "has(self.a)", "&&", "||", "==", "+", "1", "'x'", "size(self)", ".all(x, x > 0)", "? 1 : 2", "optional.none()", ".orValue(1)", "\"", "r'''", "url('a')", "[?", "self.map(x, x)", "duration('1s')", "\u0000");
    fc.assert(
      fc.property(fc.array(scrap, { minLength: 1, maxLength: 8 }), json, (scraps, value) => {
        const rule = { rule: scraps.join(" "), messageExpression: scraps.slice(0, 3).join("") };
        const root = { type: "object", properties: { spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-validations": [rule] } } };
        const compiled = tryCompile(root);
        if (compiled === null || !isObject(value)) return;
        compiled.validate({ spec: value }, { spec: { a: 1 } });
      }),
      { numRuns: 3000, seed: 17 },
    );
  });

  it("a schema of absurd depth is refused", () => {
    let deep: Schema = { type: "string" };
    for (let i = 0; i < 5_000; i++) deep = { type: "object", properties: { a: deep } };
    assert.throws(() => compileSchema(deep), SchemaError);
  });

  it("a million wrong items give a bounded answer", () => {
    const compiled = compileSchema({ type: "object", properties: { spec: { type: "array", items: { type: "string" } } } });
    const errors = compiled.validate({ spec: Array.from({ length: 1_000_000 }, () => 1) });
    assert.equal(errors.length, 200);
  });
});
