import assert from "node:assert/strict";
import { originAllowed, preflightFields, preflightOf, withCors } from "./cors.ts";
import type { Cors } from "./route.ts";

const cors = (more: Partial<Cors>): Cors => ({ origins: [{ kind: "exact", value: "https://a.com" }], methods: [], headers: [], exposeHeaders: [], maxAgeS: undefined, credentials: false, unmatchedPreflight: "answer", ...more });
const ASKED = { origin: "https://a.com", method: "PUT", headers: "x-a, x-b" };
const ORIGIN = ["access-control-allow-origin", "https://a.com", "vary", "origin"];
const CREDENTIALS = ["access-control-allow-credentials", "true"];

describe("CORS: a preflight is", () => {
  const both = ["origin", "https://a.com", "access-control-request-method", "PUT"];
  const cases: [string, string, string[], boolean][] = [["OPTIONS with both fields", "OPTIONS", both, true], ["not without a method", "OPTIONS", both.slice(0, 2), false], ["not without an origin", "OPTIONS", both.slice(2), false], ["not a GET", "GET", both, false]];
  for (const [name, method, fields, expected] of cases) it(name, () => assert.equal(preflightOf(method, fields) !== undefined, expected));
});

describe("CORS: origins", () => {
  const wildcard = cors({ origins: [{ kind: "regex", value: "https://.*[.]bar[.]com" }] });
  const cases: [Cors, string, boolean][] = [
    [cors({}), "https://a.com", true], [cors({}), "https://a.com:8080", false], [wildcard, "https://x.y.bar.com", true], [wildcard, "https://bar.com", false], [wildcard, "https://x.bar.com.evil.com", false],
    [cors({ origins: [{ kind: "exact", value: "*" }] }), "https://any", true], [cors({ origins: [{ kind: "prefix", value: "https://a" }] }), "https://ab", true],
  ];
  for (const [rule, origin, expected] of cases) it(`${JSON.stringify(rule.origins)} ${origin}`, () => assert.equal(originAllowed(rule, origin), expected));
});

describe("CORS: what a preflight is told", () => {
  const cases: [string, Partial<Cors>, string[]][] = [
    ["the origin, never more", {}, ORIGIN], ["* without credentials", { origins: [{ kind: "exact", value: "*" }] }, ["access-control-allow-origin", "*"]], ["the origin with credentials", { origins: [{ kind: "exact", value: "*" }], credentials: true }, [...ORIGIN, ...CREDENTIALS]],
    ["methods", { methods: ["GET", "PUT"] }, [...ORIGIN, "access-control-allow-methods", "GET,PUT"]], ["methods *", { methods: ["*"] }, [...ORIGIN, "access-control-allow-methods", "*"]],
    ["methods * with credentials: the one that was asked for", { methods: ["*"], credentials: true }, [...ORIGIN, ...CREDENTIALS, "access-control-allow-methods", "PUT"]],
    ["headers * with credentials: those that were asked for", { headers: ["*"], credentials: true }, [...ORIGIN, ...CREDENTIALS, "access-control-allow-headers", "x-a, x-b"]], ["headers *", { headers: ["*"] }, [...ORIGIN, "access-control-allow-headers", "*"]],
    ["headers", { headers: ["x-a"] }, [...ORIGIN, "access-control-allow-headers", "x-a"]], ["the age", { maxAgeS: 5 }, [...ORIGIN, "access-control-max-age", "5"]],
  ];
  for (const [name, more, expected] of cases) it(name, () => assert.deepEqual(preflightFields(cors(more), ASKED), expected));
});

describe("CORS: other answers", () => {
  it("our word stands in place of the application's", () => assert.deepEqual(withCors(["access-control-allow-origin", "*", "x-a", "1", "access-control-allow-credentials", "true"], cors({ exposeHeaders: ["x-a"] }), "https://a.com"), ["x-a", "1", ...ORIGIN, "access-control-expose-headers", "x-a"]));
  it("exposing * with credentials names what there is", () => assert.deepEqual(withCors(["x-a", "1", "x-a", "2", "x-b", "3"], cors({ exposeHeaders: ["*"], credentials: true }), "https://a.com").slice(-2), ["access-control-expose-headers", "x-a,x-b"]));
});
