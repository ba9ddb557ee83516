import assert from "node:assert/strict";
import fc from "fast-check";
import type { HeaderMatch, PathMatch, RequestMatch, TextMatch } from "./match.ts";
import { matchRequest, type MatchFacts } from "./match-request.ts";
import { RouteTable } from "./route-table.ts";

const text: fc.Arbitrary<TextMatch> = fc.oneof(
  fc.record({ kind: fc.constantFrom("exact" as const, "exact" as const, "prefix" as const), value: fc.constantFrom("", "a", "ab", "GET") }), fc.constant({ kind: "present" as const }), fc.constant({ kind: "regex" as const, value: "a.*" }),
);
const name = fc.constantFrom("x-a", "x-b", "host", ":authority", ":method", ":path");
const header: fc.Arbitrary<HeaderMatch> = fc.record({ name, value: text, invert: fc.boolean() });
const path: fc.Arbitrary<PathMatch> = fc.record({ kind: fc.constantFrom("exact", "path-prefix", "prefix", "regex"), value: fc.constantFrom("/", "/a", "/a/", "/A", "/ab"), ignoreCase: fc.boolean() });
const match: fc.Arbitrary<RequestMatch> = fc.record({
  path: fc.option(path, { nil: undefined }), method: fc.option(text, { nil: undefined }), grpc: fc.option(fc.record({ kind: fc.constant("exact" as const), service: fc.constantFrom(undefined, "a"), method: fc.constant(undefined) }), { nil: undefined, freq: 9 }),
  headers: fc.array(header, { maxLength: 3 }), query: fc.constantFrom([], [{ name: "q", value: { kind: "exact" as const, value: "1" } }]), sourceNamespace: fc.constantFrom(undefined, undefined, "team"), sourceLabels: fc.constantFrom({}, {}, { app: "x" }),
  claims: fc.constantFrom([], [], [{ path: ["g"], value: { kind: "present" as const }, invert: false }]),
});
const facts: fc.Arbitrary<MatchFacts> = fc.record({
  path: fc.constantFrom("/", "/a", "/a/", "/A", "/ab", "/a/b", "*"), query: fc.constantFrom(undefined, "q=1"), method: fc.constantFrom("GET", "a", "ab"), authority: fc.constantFrom("a", "ab"), scheme: fc.constant("http"), grpc: fc.boolean(),
  fields: fc.array(fc.tuple(fc.constantFrom("x-a", "x-b", "x-c"), fc.constantFrom("", "a", "ab", "b")), { maxLength: 3 }).map((f) => f.flat()),
  source: fc.constantFrom(undefined, { namespace: "team", labels: { app: "x" } }), claims: fc.constantFrom([], [{ g: "x" }]),
});

describe("a table of routes", () => {
  it("finds what asking each match in turn finds, for one request after another", () => {
    let found = 0;
    fc.assert(fc.property(fc.array(match, { maxLength: 6 }), fc.array(facts, { minLength: 1, maxLength: 3 }), (matches, requests) => {
      const table = new RouteTable(matches);
      for (const request of requests) {
        const expected = matches.findIndex((m) => matchRequest(m, request));
        if (expected > 0) found++;
        assert.equal(table.find(request), expected);
      }
    }), { numRuns: 4_000, seed: 7 });
    assert.ok(found > 200, `${found} beyond the first`);
  });
});
