import assert from "node:assert/strict";
import { authorityOf, changeFields, fieldLines, fieldValue } from "./fields.ts";
import { compareHostnames, bareHost, hostnameMatches, splitAuthority } from "./hostname.ts";
import { grpcStatusOf, httpStatusOf } from "./grpc-status.ts";
import type { HeaderChange, WeightedBackend } from "./route.ts";
import { chooseBackend, drawShare } from "./share.ts";

const change = (more: Partial<HeaderChange>): HeaderChange => ({ set: [], add: [], remove: [], ...more });

describe("header changes (MeshHTTPRouteRequestHeaderModifier)", () => {
  const cases: [string, string[], Partial<HeaderChange>, string[]][] = [
    ["set overwrites every line", ["a", "1", "b", "2", "a", "3"], { set: [["a", "x"]] }, ["b", "2", "a", "x"]], ["add appends to what is there", ["a", "1"], { add: [["a", "2"]] }, ["a", "1,2"]], ["add makes what is not there", [], { add: [["a", "2"]] }, ["a", "2"]],
    ["remove takes every line", ["a", "1", "b", "2", "a", "3"], { remove: ["a"] }, ["b", "2"]], ["all of them", ["a", "1", "b", "2", "c", "3"], { set: [["a", "x"]], add: [["b", "y"]], remove: ["c"] }, ["b", "2,y", "a", "x"]],
    ["cookies are never joined", ["set-cookie", "a=1"], { add: [["set-cookie", "b=2"]] }, ["set-cookie", "a=1", "set-cookie", "b=2"]], ["pseudo-fields and host are no fields", ["a", "1"], { set: [[":path", "/x"], ["host", "y"]], add: [[":scheme", "z"]], remove: [":method"] }, ["a", "1"]],
  ];
  for (const [name, fields, more, expected] of cases) it(name, () => assert.deepEqual(changeFields(fields, change(more)), expected));
  it("host says the authority", () => assert.equal(authorityOf(change({ set: [["Host".toLowerCase(), "x"]] })), "x"));
  it("lines are joined by their kind", () => {
    assert.equal(fieldValue(["a", "1", "a", "2"], "a"), "1,2");
    assert.equal(fieldValue(["cookie", "a=1", "cookie", "b=2"], "cookie"), "a=1; b=2");
    assert.deepEqual(fieldLines(["a", "1", "a", "2"], "a"), ["1", "2"]);
  });
});

describe("hostnames", () => {
  const cases: [string, unknown, unknown][] = [
    ["exact, any case", hostnameMatches("a.io", "A.io"), true], ["wildcard, any depth", hostnameMatches("*.a.io", "x.y.a.io"), true], ["not the bare name", hostnameMatches("*.a.io", "a.io"), false], ["not a longer word", hostnameMatches("*.a.io", "xa.io"), false], ["any", hostnameMatches("*", "x"), true],
    ["port", splitAuthority("a:80"), { host: "a", port: 80 }], ["no port", splitAuthority("a"), { host: "a", port: undefined }], ["IPv6", splitAuthority("[::1]:80"), { host: "[::1]", port: 80 }], ["IPv6 alone", splitAuthority("[::1]"), { host: "[::1]", port: undefined }],
    ["a name that ends in a colon", splitAuthority("a:b"), { host: "a:b", port: undefined }], ["S4: port and final dot", bareHost("httpbin.com.:80"), "httpbin.com"], ["exact names first", ["*.a.io", "a.io", "b.a.io"].sort(compareHostnames), ["b.a.io", "a.io", "*.a.io"]],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.deepEqual(actual, expected));
});

describe("gRPC statuses (l7-traffic 7)", () => {
  it("of HTTP", () => assert.deepEqual([400, 401, 403, 404, 429, 502, 503, 504, 500, 418].map(grpcStatusOf), [13, 16, 7, 12, 14, 14, 14, 14, 2, 2]));
  it("to HTTP", () => assert.deepEqual(Array.from({ length: 18 }, (_, i) => httpStatusOf(i)), [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500]));
});

describe("draws", () => {
  const no = (): number => { throw new Error("nothing is open"); };
  const cases: [string, boolean, boolean][] = [
    ["none", drawShare({ numerator: 0, denominator: 100 }, no), false], ["all", drawShare({ numerator: 100, denominator: 100 }, no), true], ["of nothing", drawShare({ numerator: 1, denominator: 0 }, no), false],
    ["within", drawShare({ numerator: 25, denominator: 50 }, () => 0.499), true], ["without", drawShare({ numerator: 25, denominator: 50 }, () => 0.5), false],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.equal(actual, expected));

  const NONE = { request: undefined, response: undefined, rewrite: undefined, mirrors: [], cors: undefined };
  const good = (service: string, weight: number): WeightedBackend => ({ kind: "service", weight, filters: NONE, backend: { service, port: 80, subset: undefined } });
  const bad = (weight: number): WeightedBackend => ({ kind: "invalid", weight, filters: NONE, why: "x" });
  const shares = (backends: WeightedBackend[]): Record<string, number> => {
    const seen: Record<string, number> = {};
    for (let i = 0; i < 1000; i++) { const b = chooseBackend(backends, () => (i + 0.5) / 1000); const name = b === undefined ? "none" : b.kind === "invalid" ? "invalid" : b.backend.service; seen[name] = (seen[name] ?? 0) + 1; }
    return seen;
  };
  it("70/30/0 (MeshHTTPRouteWeight)", () => assert.deepEqual(shares([good("v1", 70), good("v2", 30), good("v3", 0)]), { v1: 700, v2: 300 }));
  it("one that cannot be resolved keeps its share (kuma#18258 3)", () => assert.deepEqual(shares([good("v1", 1), bad(1), good("v2", 2)]), { v1: 250, invalid: 250, v2: 500 }));
  it("all 0: nobody (kuma#18258 2)", () => assert.deepEqual(shares([good("v1", 0), good("v2", 0)]), { none: 1000 }));
  it("a single one of weight 0: nobody", () => assert.equal(chooseBackend([good("v1", 0)], no), undefined));
  it("a single one needs no chance", () => assert.notEqual(chooseBackend([good("v1", 5)], no), undefined));
});
