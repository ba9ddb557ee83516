import assert from "node:assert/strict";
import fc from "fast-check";
import type { RequestMatch } from "./match.ts";
import { compareGrpcRoutes, compareHttpRoutes, compareTcpRoutes } from "./precedence.ts";
import type { HttpRoute, RouteOrigin, TcpRoute } from "./route.ts";

type Ranked = Pick<HttpRoute, "match" | "origin">;
const ANY: RequestMatch = { path: undefined, method: undefined, grpc: undefined, headers: [], query: [], sourceNamespace: undefined, sourceLabels: {}, claims: [] };
const ORIGIN: RouteOrigin = { kind: "HTTPRoute", namespace: "ns", name: "r", rule: 0, ruleName: undefined, match: 0, createdAt: 0 };
const r = (match: Partial<RequestMatch>, origin: Partial<RouteOrigin> = {}): Ranked => ({ match: { ...ANY, ...match }, origin: { ...ORIGIN, ...origin } });
const path = (kind: "exact" | "path-prefix" | "regex", value: string): Partial<RequestMatch> => ({ path: { kind, value, ignoreCase: false } });
const headers = (...names: string[]): RequestMatch["headers"] => names.map((name) => ({ name, value: { kind: "present" }, invert: false }));
const query = (...names: string[]): RequestMatch["query"] => names.map((name) => ({ name, value: { kind: "present" } }));
const GET: Partial<RequestMatch> = { method: { kind: "exact", value: "GET" } };

describe("HTTPRoute precedence (Gateway API 5): the first of each pair wins", () => {
  const cases: [string, Ranked, Ranked][] = [
    ["exact before a longer prefix", r(path("exact", "/a")), r(path("path-prefix", "/a/b/c"))], ["exact before regex", r(path("exact", "/a")), r(path("regex", "/a/b.*"))],
    ["regex before a longer prefix (ours)", r(path("regex", "/a")), r(path("path-prefix", "/a/b/c"))], ["the longer regex", r(path("regex", "/a.*")), r(path("regex", "/a"))],
    ["the longer prefix", r(path("path-prefix", "/v2")), r(path("path-prefix", "/"))], ["no path is the prefix /", r(path("path-prefix", "/v2")), r({})],
    ["the longer prefix before a method", r(path("path-prefix", "/v2")), r(GET)], ["a method before headers", r(GET), r({ headers: headers("a", "b") })],
    ["more headers", r({ headers: headers("a", "b") }), r({ headers: headers("a") })], ["a name twice is one", r({ headers: headers("a", "b") }), r({ headers: headers("a", "a", "a") })],
    ["headers before parameters", r({ headers: headers("a") }), r({ query: query("a", "b") })], ["more parameters", r({ query: query("a", "b") }), r({ query: query("a") })],
    ["the older route", r({}, { createdAt: 1, name: "z" }), r({}, { createdAt: 2, name: "a" })], ["the name", r({}, { name: "a" }), r({}, { name: "b" })], ["the namespace before the name", r({}, { namespace: "a", name: "z" }), r({}, { namespace: "b", name: "a" })],
    ["the order of rules", r({}, { rule: 0, match: 5 }), r({}, { rule: 1, match: 0 })], ["the order of matches", r({}, { match: 0 }), r({}, { match: 1 })],
    ["age does not beat what is more specific", r(path("exact", "/a"), { createdAt: 9 }), r({}, { createdAt: 1 })],
  ];
  for (const [name, first, second] of cases)
    it(name, () => {
      assert.ok(compareHttpRoutes(first, second) < 0);
      assert.ok(compareHttpRoutes(second, first) > 0);
    });
});

describe("GRPCRoute precedence: the first of each pair wins", () => {
  const g = (service?: string, method?: string, kind: "exact" | "regex" = "exact", more: Partial<RequestMatch> = {}) => r({ grpc: { kind, service, method }, ...more });
  const cases: [string, Ranked, Ranked][] = [
    ["more characters of the service", g("p.Service"), g("p.S", "LongMethodName")], ["then of the method", g("p.S", "Method"), g("p.S", "M")], ["a method before none", g("p.S", "M"), g("p.S")],
    ["then exact", g("p.S", "M"), g("p.S", "M", "regex")], ["then headers", g("p.S", "M", "exact", { headers: headers("a") }), g("p.S", "M")], ["no match is the last", g("p"), r({})],
  ];
  for (const [name, first, second] of cases) it(name, () => assert.ok(compareGrpcRoutes(first, second) < 0 && compareGrpcRoutes(second, first) > 0));
});

describe("TLSRoute precedence: the first of each pair wins", () => {
  const t = (hosts: string[], createdAt = 0): Pick<TcpRoute, "sniHosts" | "origin"> => ({ sniHosts: hosts, origin: { ...ORIGIN, kind: "TLSRoute", createdAt } });
  const cases: [string, ReturnType<typeof t>, ReturnType<typeof t>][] = [
    ["an exact name", t(["a.io"]), t(["*.example.com"])], ["the longer name", t(["a.example.com"]), t(["a.io"])], ["the longer wildcard", t(["*.b.example.com"]), t(["*.example.com"])], ["any name before none", t(["*.io"]), t([])], ["the older", t([], 1), t([], 2)],
  ];
  for (const [name, first, second] of cases) it(name, () => assert.ok(compareTcpRoutes(first, second) < 0 && compareTcpRoutes(second, first) > 0));
});

describe("precedence is a total order", () => {
  const anyPath = fc.option(fc.record({ kind: fc.constantFrom("exact", "path-prefix", "prefix", "regex"), value: fc.constantFrom("/", "/a", "/ab", "/a/b"), ignoreCase: fc.boolean() }), { nil: undefined });
  const names = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 3 });
  const anyRoute: fc.Arbitrary<Ranked> = fc.record({
    match: fc.record({
      path: anyPath, method: fc.option(fc.constant({ kind: "exact" as const, value: "GET" }), { nil: undefined }), grpc: fc.option(fc.record({ kind: fc.constantFrom("exact", "regex"), service: fc.constantFrom(undefined, "a", "ab"), method: fc.constantFrom(undefined, "m", "mn") }), { nil: undefined }),
      headers: names.map((n) => headers(...n)), query: names.map((n) => query(...n)), sourceNamespace: fc.constant(undefined), sourceLabels: fc.constant({}), claims: fc.constant([]),
    }) as fc.Arbitrary<RequestMatch>,
    origin: fc.record({ kind: fc.constantFrom("HTTPRoute", "GRPCRoute"), namespace: fc.constantFrom("n", "m"), name: fc.constantFrom("a", "b"), rule: fc.nat(2), ruleName: fc.constant(undefined), match: fc.nat(2), createdAt: fc.nat(2) }) as fc.Arbitrary<RouteOrigin>,
  });
  const place = ({ origin: o }: Ranked): string => `${o.kind}${o.namespace}/${o.name}/${o.rule}/${o.match}/${o.createdAt}`;
  for (const [name, compare] of [["HTTP", compareHttpRoutes], ["gRPC", compareGrpcRoutes]] as const)
    it(`${name}: antisymmetric, transitive, and equal only for one place`, () => {
      fc.assert(fc.property(anyRoute, anyRoute, anyRoute, (a, b, c) => {
        assert.equal(Math.sign(compare(a, b)), -Math.sign(compare(b, a)) + 0);
        if (compare(a, b) <= 0 && compare(b, c) <= 0) assert.ok(compare(a, c) <= 0);
        if (compare(a, b) === 0) assert.equal(place(a), place(b));
      }), { numRuns: 5000, seed: 11 });
    });
});
