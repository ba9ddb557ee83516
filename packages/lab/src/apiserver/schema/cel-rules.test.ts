import assert from "node:assert/strict";
import type { JsonObject } from "../json.ts";
import { compileSchema, SchemaError, type Schema } from "./structural.ts";

const object = (properties: Schema, more: Schema = {}): Schema => ({ type: "object", properties, ...more });
const text: Schema = { type: "string" };
const integer: Schema = { type: "integer" };

function withRule(schema: Schema, rule: string, more: Schema = {}): Schema {
  return object({ spec: { ...schema, "x-kubernetes-validations": [{ rule, ...more }] } });
}

function messages(schema: Schema, spec: JsonObject[string], old?: JsonObject[string]): string[] {
  const errors = compileSchema(schema).validate({ spec }, old === undefined ? undefined : { spec: old });
  return errors.map((error) => `${error.field}: ${error.message}`);
}

describe("CEL rules", () => {
  const spec = object({
    a: integer,
    b: integer,
    name: text,
    namespace: text,
    "dash-ed": text,
    list: { type: "array", items: text },
    numbers: { type: "array", items: integer },
    labels: { type: "object", additionalProperties: text },
    time: { type: "string", format: "date-time" },
    wait: { type: "string", format: "duration" },
    inner: object({ deep: text }),
    port: { "x-kubernetes-int-or-string": true },
    ratio: { type: "number" },
  });
  const holds: [string, JsonObject][] = [
    ["self.a <= self.b", { a: 1, b: 1 }],
    ["has(self.name) ? self.name.startsWith('x') : true", {}],
    ["self.__namespace__ == 'n'", { namespace: "n" }],
    ["self.dash__dash__ed == 'n' || self.dash__dash__ed != 'n' || true", { "dash-ed": "n" }],
    ["self.list.all(x, x.matches('^[a-z]+$')) && size(self.list) == 2", { list: ["a", "b"] }],
    ["self.list.exists_one(x, x == 'a') && self.list.filter(x, x != 'a').size() == 1", { list: ["a", "b"] }],
    ["self.list.map(x, x + '!') == ['a!', 'b!']", { list: ["a", "b"] }],
    ["self.numbers.sum() == 6 && self.numbers.min() == 1 && self.numbers.max() == 3", { numbers: [1, 2, 3] }],
    ["self.numbers.isSorted() && self.numbers.indexOf(2) == 1 && self.numbers.lastIndexOf(9) == -1", { numbers: [1, 2, 3] }],
    ["self.labels.all(k, k.contains('/') && self.labels[k] == 'v')", { labels: { "a/b": "v" } }],
    ["'a' in self.labels && !('b' in self.labels)", { labels: { a: "" } }],
    ["self.time < timestamp('2030-01-01T00:00:00Z')", { time: "2024-01-01T00:00:00Z" }],
    ["self.wait >= duration('1s')", { wait: "1m30s" }],
    ["self.?inner.deep.orValue('d') == 'd'", {}],
    ["self.?inner.?deep.hasValue() && self.?inner.deep.value() == 'x'", { inner: { deep: "x" } }],
    ["optional.none().orValue(1) == 1 && optional.of(2).hasValue()", {}],
    ["self.name.find('[0-9]+') == '12' && self.name.findAll('[0-9]') == ['1', '2']", { name: "ab12" }],
    ["isURL(self.name) && url(self.name).getScheme() == 'https' && url(self.name).getHost() == 'x:1'", { name: "https://x:1/p" }],
    ["!isURL(self.name)", { name: "not a url" }],
    ["isIP(self.name) && !isCIDR(self.name)", { name: "10.0.0.1" }],
    ["self.name.replace('a', 'b') == 'b' && self.name.upperAscii() == 'A' && 'x,y'.split(',').size() == 2", { name: "a" }],
    ["'%s-%d'.format([self.name, 3]) == 'a-3'", { name: "a" }],
    ["type(self.port) == int ? self.port > 0 : self.port.endsWith('%')", { port: "5%" }],
    ["self.ratio > 0.5", { ratio: 1 }],
    ["self.name == \"it's .? fine\"", { name: "it's .? fine" }],
    ["(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) <= 1", { a: 1 }],
    ["int(self.name) == 5 && string(self.a) == '1' && double(self.a) == 1.0", { name: "5", a: 1 }],
  ];
  for (const [rule, value] of holds) it(`holds: ${rule}`, () => assert.deepEqual(messages(withRule(spec, rule), value), []));

  it("names the place, the type and the message", () => {
    const want = ['spec: Invalid value: a must not be above b'];
    assert.deepEqual(messages(withRule(spec, "self.a <= self.b", { message: "a must not be above b" }), { a: 2, b: 1 }), want);
    assert.deepEqual(messages(withRule(integer, "self > 0"), 0), ['spec: Invalid value: 0: failed rule: self > 0']);
  });

  it("makes messages, and falls back", () => {
    const made = { messageExpression: "'a is ' + string(self.a)", message: "fallback" };
    assert.deepEqual(messages(withRule(spec, "self.a == 0", made), { a: 2 }), ['spec: Invalid value: a is 2']);
    const broken = { messageExpression: "self.nothing", message: "fallback" };
    assert.deepEqual(messages(withRule(spec, "self.a == 0", broken), { a: 2 }), ['spec: Invalid value: fallback']);
  });

  it("reasons and field paths", () => {
    const rule = { message: "no", reason: "FieldValueForbidden", fieldPath: ".name" };
    const errors = compileSchema(withRule(spec, "!has(self.name)", rule)).validate({ spec: { name: "x" } });
    assert.deepEqual(errors, [{ field: "spec.name", type: "FieldValueForbidden", message: "Forbidden: no" }]);
  });

  it("rules on transitions run on updates only", () => {
    const fixed = object({ spec: object({ a: { ...integer, "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "immutable" }] } }) });
    assert.deepEqual(messages(fixed, { a: 1 }), []);
    assert.deepEqual(messages(fixed, { a: 2 }, { a: 1 }), ['spec.a: Invalid value: 2: immutable']);
    assert.deepEqual(messages(fixed, { a: 1 }, {}), []);
    const optional = withRule(integer, "oldSelf.hasValue() || self == 1", { optionalOldSelf: true });
    assert.deepEqual(messages(optional, 1), []);
    assert.equal(messages(optional, 2).length, 1);
  });

  it("items of map lists find their old selves", () => {
    const items = object({ k: text, v: { ...integer, "x-kubernetes-validations": [{ rule: "self >= oldSelf", message: "may not shrink" }] } });
    const list = object({ spec: { type: "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], items } });
    const old = [{ k: "a", v: 1 }, { k: "b", v: 5 }];
    assert.deepEqual(messages(list, [{ k: "b", v: 4 }, { k: "a", v: 1 }], old), ['spec[0].v: Invalid value: 4: may not shrink']);
  });

  it("does not hold unchanged values against the user", () => {
    const schema = withRule(spec, "self.a <= self.b", { message: "m" });
    assert.deepEqual(messages(schema, { a: 2, b: 1 }, { a: 2, b: 1 }), []);
    assert.equal(messages(schema, { a: 3, b: 1 }, { a: 2, b: 1 }).length, 1);
  });

  it("a rule that fails while running is an error", () => {
    const [message] = messages(withRule(spec, "self.name == 'x'"), {});
    assert.match(message ?? "", /field not found: name evaluating rule/);
  });

  it("a rule that would run for hours is stopped", () => {
    const numbers = Array.from({ length: 3_000 }, (_, i) => i);
    const [message] = messages(withRule(spec, "self.numbers.all(a, self.numbers.all(b, self.numbers.all(c, a + b + c >= 0)))"), { numbers });
    assert.match(message ?? "", /more than 1000000 steps/);
  }).timeout(20_000);

  const refused: [string, string, Schema?][] = [
    ["syntax", "self.a +"],
    ["an unknown function", "self.a.explode()"],
    ["an unknown variable", "other.a == 1"],
    ["an unsupported optional form", "self.labels[?'a'].hasValue()"],
    ["quantity, which is not there", "quantity(self.name).isGreaterThan(quantity('1'))"],
    ["an unknown reason", "true", { reason: "Because" }],
    ["an empty rule", " "],
    ["optionalOldSelf without oldSelf", "true", { optionalOldSelf: true }],
    ["a broken message expression", "true", { messageExpression: "1 +" }],
    ["a broken field path", "true", { fieldPath: "a b" }],
  ];
  for (const [name, rule, more] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => compileSchema(withRule(spec, rule, more)), (error) => error instanceof SchemaError && error.message.includes("x-kubernetes-validations[0]"));
    });
  }
});
