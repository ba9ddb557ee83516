// Holds our reading of expressions against a whole implementation of CEL: generated ones that both know, over records that lack some of what is asked.
import assert from "node:assert/strict";
import { celEnv, parse, plan } from "@bufbuild/cel";
import fc from "fast-check";
import { compilePredicate, type Attribute, type Attributes } from "./expression.ts";

interface Sample { readonly values: ReadonlyMap<string, Attribute>; readonly headers: ReadonlyMap<string, string> }
const attributes: Attributes<Sample> = { value: (name) => (r) => r.values.get(name), map: (name) => (r, key) => (name === "request.headers" ? r.headers.get(key) : undefined) };

const NUMBERS = ["response.code", "request.size", "response.grpc_status"];
const TEXTS = ["request.method", "request.host"];
const HEADERS = ["x-a", "x-b"];
const WORDS = ["", "a", "ab", "GET", "7", "-3", "é"];

const sample: fc.Arbitrary<Sample> = fc.record({
  values: fc.tuple(
    ...NUMBERS.map((n) => fc.option(fc.integer({ min: -3, max: 8 })).map((v) => [n, v] as const)),
    ...TEXTS.map((n) => fc.option(fc.constantFrom(...WORDS)).map((v) => [n, v] as const)),
    fc.option(fc.boolean()).map((v) => ["connection.mtls", v] as const),
  ).map((pairs) => new Map(pairs.flatMap(([n, v]) => (v === null ? [] : [[n, v] as const])))),
  headers: fc.dictionary(fc.constantFrom(...HEADERS), fc.constantFrom(...WORDS)).map((d) => new Map(Object.entries(d))),
});

/** Texts of expressions; sorts are mixed up now and then, which is an error of CEL and not of the text. */
const { truth } = fc.letrec<{ truth: string; number: string; text: string; any: string }>((tie) => {
  const one = (...parts: readonly (string | fc.Arbitrary<string>)[]): fc.Arbitrary<string> => fc.tuple(...parts.map((p) => (typeof p === "string" ? fc.constant(p) : p))).map((p) => p.join(""));
  const quoted = fc.constantFrom(...WORDS).map((w) => `'${w}'`);
  const list = fc.array(tie("any"), { maxLength: 3 }).map((l) => `[${l.join(", ")}]`);
  return {
    any: fc.oneof({ withCrossShrink: true, depthSize: "small" }, tie("number"), tie("text"), tie("truth"), fc.constant("null")),
    number: fc.oneof({ withCrossShrink: true, depthSize: "small" }, fc.integer({ min: 0, max: 8 }).map(String), fc.constantFrom(...NUMBERS), one("-(", tie("number"), ")"), one("(", tie("number"), " + ", tie("number"), ")"), one("(", tie("number"), " - ", tie("number"), ")"),
      one("size(", tie("text"), ")"), one("size(", list, ")"), fc.constantFrom("int('7')", "int('-3')", "int('a')"), one("(", tie("truth"), " ? ", tie("number"), " : ", tie("number"), ")")),
    text: fc.oneof({ withCrossShrink: true, depthSize: "small" }, quoted, fc.constantFrom(...TEXTS), fc.constantFrom(...HEADERS).map((h) => `request.headers['${h}']`), one("(", tie("text"), " + ", tie("text"), ")"), one("string(", tie("number"), ")")),
    truth: fc.oneof({ withCrossShrink: true, depthSize: "small" }, fc.constantFrom("true", "false", "connection.mtls"), one("!(", tie("truth"), ")"), one("(", tie("truth"), " && ", tie("truth"), ")"), one("(", tie("truth"), " || ", tie("truth"), ")"),
      one(tie("number"), fc.constantFrom(" == ", " != ", " < ", " <= ", " > ", " >= "), tie("number")), one(tie("text"), fc.constantFrom(" == ", " != ", " < ", " >= "), tie("text")), one(tie("any"), fc.constantFrom(" == ", " != "), tie("any")),
      one(tie("text"), fc.constantFrom(".startsWith(", ".endsWith(", ".contains("), tie("text"), ")"), one(tie("any"), " in ", list), one(quoted, " in request.headers"), fc.constantFrom(...HEADERS).map((h) => `'${h}' in request.headers`)),
  };
});

/** The record as CEL sees it: whole numbers are int. */
function bindings({ values, headers }: Sample): Record<string, Record<string, unknown>> {
  const out: Record<string, Record<string, unknown>> = { request: { headers: Object.fromEntries(headers) }, response: {}, connection: {} };
  for (const [name, value] of values) {
    const [object = "", field = ""] = name.split(".");
    (out[object] ??= {})[field] = typeof value === "number" ? BigInt(value) : value;
  }
  return out;
}

describe("an expression, beside another implementation of CEL", () => {
  const env = celEnv();
  it("is true where that says so, and nowhere else", () => {
    let [yes, all] = [0, 0];
    fc.assert(fc.property(truth, fc.array(sample, { minLength: 3, maxLength: 3 }), (text, samples) => {
      const ours = compilePredicate(text, attributes);
      // Deeper than we read.
      if (!ours.ok) return assert.match(ours.error, /deep|at most/);
      const theirs = plan(env, parse(text));
      for (const s of samples) {
        const expected = theirs(bindings(s) as Parameters<typeof theirs>[0]) === true;
        all++;
        if (expected) yes++;
        assert.equal(ours.value(s), expected, text);
      }
    }), { numRuns: 2_000 });
    assert.ok(yes > all / 10 && yes < all, `${yes} of ${all} are true`);
  });
});
