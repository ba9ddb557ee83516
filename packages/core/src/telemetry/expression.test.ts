import assert from "node:assert/strict";
import fc from "fast-check";
import { ATTRIBUTES, compilePredicate, compileText, expressionProblem, type Attribute, type Attributes } from "./expression.ts";

interface Record_ { readonly values: Readonly<Record<string, Attribute>>; readonly headers: Readonly<Record<string, string>> }
const attributes: Attributes<Record_> = { value: (name) => (r) => r.values[name], map: (name) => (r, key) => (name === "request.headers" ? r.headers[key] : undefined) };
const record: Record_ = {
  values: { "response.code": 503, "request.method": "GET", "request.url_path": "/healthz", "request.host": "shop", "request.duration": 1_500, "connection.mtls": true, "request.size": 0 },
  headers: { "user-agent": "kube-probe/1.35", "x-a": "1" },
};

const holds = (text: string, r = record): boolean => {
  const made = compilePredicate(text, attributes);
  assert.ok(made.ok, made.ok ? "" : made.error);
  return made.value(r);
};

describe("an expression over a request (CEL)", () => {
  for (const text of [
    "response.code >= 400", "response.code >= 400 && response.code < 600", "response.code == 503 || response.code == 429", "response.code in [500, 503]", "request.method != 'POST'", "!(request.method == \"POST\")",
    "request.url_path.startsWith('/health')", "request.url_path.endsWith('z')", "request.url_path.contains(\"lth\")", "request.url_path.matches('^/heal.*$')", "request.url_path.matches('alt')",
    "request.headers['user-agent'].startsWith('kube-probe')", "request.headers['User-Agent'] == r'kube-probe/1.35'", "'x-a' in request.headers", "!('x-b' in request.headers)", "has(request.headers.host) || true",
    "!has(request.headers['x-b'])", "has(response.code)", "request.duration > duration('1s')", "request.duration <= duration(\"1.5s\")", "connection.mtls", "connection.mtls ? response.code > 1 : false",
    "size(request.method) == 3", "string(response.code) == '503'", "int('503') == response.code", "request.host + ':80' == 'shop:80'", "response.code - 3 == 500", "-1 < 0", "request.size == 0u", "1.5 < 2", "'\\'\\n' == \"'\\n\"",
    // The other side decides, whichever comes first.
    "request.headers['x-b'] == 'y' || response.code == 503", "response.code == 503 || request.headers['x-b'] == 'y'", "!(request.headers['x-b'] == 'y' && response.code == 200)",
    "[1, 2][1] == 2", "[1, 'a'] == [1, 'a']", "null == null", "response.code != '503'",
  ]) it(text, () => assert.equal(holds(text), true));

  for (const text of [
    "response.code < 400", "request.headers['x-b'] == 'y'", "request.headers['x-b'] != 'y'", "!(request.headers['x-b'] == 'y')", "response.grpc_status == 0", "response.code", "'true'", "response.code > '4'", "request.method.matches('POST')",
    "request.duration > 1", "response.code == '503'", "[1][7] == 1", "int('x') == 1", "request.host.startsWith(1)", "!request.host", "null < null", "has(request.headers.nothing)", "response.code ? true : true",
  ]) it(`not: ${text}`, () => assert.equal(holds(text), false));

  for (const [text, why] of [
    ["", /at 0: the end came too early/], ["response.code >=", /came too early/], ["response.code > 400 )", /at 20: "\)" was not expected/], ["response.cod > 1", /response\.cod is no attribute/], ["node.metadata['x'] == 'y'", /node\.metadata is no attribute/],
    ["request.headers == 1", /is a map/], ["foo(1)", /function foo\(\) is not available/], ["request.host.lower('x') == 'a'", /function lower\(\)/], ["request.host.matches('(')", /matches\(\)/], ["request.host.matches(request.path)", /as it is/],
    ["[1,2].all(x, x > 0)", /all\(\) needs one argument/], ["duration('soon') > duration('1s')", /duration\(\) needs/], ["1 * 2 == 2", /"\*" is not understood/], ["{'a': 1}", /"\{" is not understood/], ["'a", /"'" is not understood/],
    ["0x10 == 16", /was not expected|is not understood/], ["'\\x41' == 'A'", /escape \\x/], [`${"(".repeat(40)}1${")".repeat(40)}`, /more than 32 deep/], [`${"!".repeat(40)}true`, /more than 32 deep/], ["a".repeat(5_000), /at most 4096/], ["has(1)", /has\(\) asks for an attribute/],
    ["a.b == 1; drop", /is not understood|was not expected/], ["response.code >= 400 &&& true", /is not understood/],
  ] as const) it(`refused: ${text.slice(0, 40)}`, () => assert.match(expressionProblem(text) ?? "understood", why));

  for (const [text, value] of [["request.host", "shop"], ["response.code", "503"], ["connection.mtls", "true"], ["request.headers['x-b']", undefined], ["[1]", undefined], ["null", undefined], ["request.duration", undefined], ["request.headers['x-a'] == '1' ? 'a' : 'b'", "a"]] as const)
    it(`as a text: ${text}`, () => { const made = compileText(text, attributes); assert.deepEqual(made.ok && made.value(record), value); });

  it("knows every attribute by its name", () => { for (const name of ATTRIBUTES) assert.equal(expressionProblem(`${name} == ${name}`), undefined, name); });

  it("is read or refused, and never thrown at, whatever it is", () => {
    const pieces = fc.constantFrom("response.code", "request.headers", "['x']", ".startsWith(", "(", ")", "!", "&&", "||", " in ", "==", "<", "+", "-", "1", "'a'", "?", ":", "[", "]", ",", "has(", "duration('1s')", "true", " ", "\\", "\"", "r'x'", "..");
    fc.assert(fc.property(fc.oneof(fc.string(), fc.array(pieces, { maxLength: 14 }).map((p) => p.join(""))), (text) => {
      const made = compilePredicate(text, attributes);
      assert.equal(typeof (made.ok ? made.value(record) : made.error), made.ok ? "boolean" : "string");
    }), { numRuns: 3_000 });
  });
});
