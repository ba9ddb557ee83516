import assert from "node:assert/strict";
import fc from "fast-check";
import { checkSubstitution, compileRegex } from "./regex.ts";

const regex = (pattern: string) => {
  const made = compileRegex(pattern);
  assert.ok(made.ok, made.ok ? "" : made.error);
  return made.value;
};

describe("a regular expression matches the whole value", () => {
  const cases: [string, string, boolean][] = [
    ["/a/[0-9]+", "/a/12", true], ["/a/[0-9]+", "/a/12x", false], ["/a/[0-9]+", "x/a/12", false], ["", "", true], ["", "x", false],
    ["a|ab|abc", "abc", true], ["(a|b)*c", "ababc", true], ["(?i)HeLLo", "hEllO", true], ["(?i:he)LLO", "HEllo", false], ["a{2,3}", "aaaa", false], ["a{2,3}", "aaa", true],
    ["a{2}", "aa", true], ["a{2,}", "aaaaa", true], ["[^/]+", "a/b", false], ["[]a]+", "a]", true], ["[a\\]-]+", "a-]", true], ["\\d\\w\\s", "1_ ", true], [".", "\n", false],
    ["(?s).", "\n", true], ["^/x$", "/x", true], ["[[:alpha:]]+", "aZ", true], ["[[:^alpha:]]+", "aZ", false], ["\\Qa.b\\E", "a.b", true], ["\\Qa.b\\E", "axb", false],
    ["\\bfoo\\b.*", "foo bar", true], ["foo\\B.*", "foo bar", false], ["\\x41", "A", true], ["\\x{41}", "A", true], ["a??b", "ab", true], ["(?P<n>x)y", "xy", true],
    ["(a*)*", "aaaa", true], ["(a*)+b", "b", true], ["a.c", "a€c", true], ["a\\.c", "abc", false], ["{", "{", true], ["a{,2}", "a{,2}", true],
  ];
  for (const [pattern, text, expected] of cases) it(`${pattern} on ${JSON.stringify(text)}: ${expected}`, () => assert.equal(regex(pattern).matches(text), expected));
});

describe("a regular expression is refused", () => {
  for (const [pattern, why] of [
    ["(?=a)", /kind of group/], ["(?<!a)b", /kind of group/], ["(a)\\1", /back references/], ["a**", /repeat of a repeat/], ["*a", /nothing to repeat/], ["(a", /without its/], ["a)", /without its/],
    ["[a", /without its/], ["[b-a]", /range/], ["a{3,2}", /repeat whose end/], ["a{1001}", /more than 1000/], ["((a{30}){30}){30}", /too complex/], ["\\p{Greek}", /not supported/],
    ["(?m)a", /flag/], ["é", /ASCII/], ["a".repeat(1025), /longer/], ["(".repeat(200) + ")".repeat(200), /nested/], ["[[:nope:]]", /no class/], ["\\", /at the end/],
  ] as const)
    it(pattern.slice(0, 30), () => {
      const made = compileRegex(pattern);
      assert.ok(!made.ok);
      assert.match(made.error, why);
    });
});

describe("a regular expression replaces", () => {
  const cases: [string, string, string, string][] = [
    ["^/service/([^/]+)(/.*)$", "\\2/instance/\\1", "/service/foo/v1/api", "/v1/api/instance/foo"], ["one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"],
    ["(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"], ["a*", "-", "baac", "-b--c-"], ["(a)|(b)", "<\\1\\2>", "ab", "<a><b>"], ["b", "\\\\\\0", "abc", "a\\bc"],
  ];
  for (const [pattern, template, text, expected] of cases) it(`${pattern} → ${template} in ${text}`, () => assert.deepEqual(regex(pattern).replaceAll(text, template), { ok: true, value: expected }));
  it("a substitution that names no group is told", () => {
    assert.match(checkSubstitution(regex("(a)"), "\\2") ?? "", /names no group/);
    assert.equal(checkSubstitution(regex("(a)"), "\\1\\\\"), undefined);
  });
});

describe("a regular expression takes bounded time", () => {
  for (const pattern of ["(a+)+$", "(a|aa)+b", "(.*)*x", "(a?){50}a{50}", "([a-z]+)*=", "(x+x+)+y"])
    it(pattern, function () {
      this.timeout(2000);
      regex(pattern).matches("a".repeat(8000));
      regex(pattern).replaceAll("a".repeat(8000), "b");
    });
  it("too much work is an error, not a wait", () => {
    const done = regex("a.*b|a").replaceAll("a".repeat(8192), "c");
    assert.ok(!done.ok);
    assert.match(done.error, /too much work/);
  });
});

describe("a regular expression agrees with the engine of the language", () => {
  const atom = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\w", "(a|b)", "(?:ab)", "\\.", "(a)");
  const piece = fc.tuple(atom, fc.constantFrom("", "*", "+", "?", "{0,2}", "*?", "+?")).map(([a, r]) => a + r);
  const pattern = fc.array(piece, { minLength: 0, maxLength: 5 }).map((p) => p.join(""));
  it("on whole matches and on replacements", () => {
    fc.assert(fc.property(fc.tuple(pattern, pattern).map(([a, b]) => (b === "" ? a : `${a}|${b}`)), fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 8 }), (p, text) => {
      assert.equal(regex(p).matches(text), new RegExp(`^(?:${p})$`, "s").test(text), `${p} on ${text}`);
      const replaced = regex(p).replaceAll(text, "<\\0>");
      assert.deepEqual(replaced, { ok: true, value: text.replaceAll(new RegExp(p, "gs"), "<$&>") }, `${p} in ${text}`);
    }), { numRuns: 3000, seed: 7 });
  });
});
