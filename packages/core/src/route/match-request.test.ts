import assert from "node:assert/strict";
import type { HeaderMatch, PathMatch, RequestMatch, TextMatch } from "./match.ts";
import { claimTexts, cookieValue, failingDemand, firstParameter, matchRequest, type MatchFacts } from "./match-request.ts";

const ANY: RequestMatch = { path: undefined, method: undefined, grpc: undefined, headers: [], query: [], sourceNamespace: undefined, sourceLabels: {}, claims: [] };
const FACTS: MatchFacts = { path: "/", query: undefined, method: "GET", authority: "web:80", scheme: "http", fields: [], grpc: false, source: { namespace: "team", labels: { app: "client" } }, claims: [] };
const path = (kind: PathMatch["kind"], value: string, ignoreCase = false): Partial<RequestMatch> => ({ path: { kind, value, ignoreCase } });
const exact = (value: string): TextMatch => ({ kind: "exact", value });
const regex = (value: string): TextMatch => ({ kind: "regex", value });
const PRESENT: TextMatch = { kind: "present" };
const header = (name: string, value: TextMatch, invert = false): HeaderMatch => ({ name, value, invert });
const grpc = (service?: string, method?: string, kind: "exact" | "regex" = "exact"): Partial<RequestMatch> => ({ grpc: { kind, service, method } });
const call = (p: string): Partial<MatchFacts> => ({ grpc: true, path: p });

describe("a match asks", () => {
  const cases: [string, Partial<RequestMatch>, Partial<MatchFacts>, boolean][] = [
    ["nothing", {}, {}, true],
    // Gateway API 5, path rules.
    ["Exact /two: /two", path("exact", "/two"), { path: "/two" }, true], ["Exact /two: /two/", path("exact", "/two"), { path: "/two/" }, false], ["Exact /two: /Two", path("exact", "/two"), { path: "/Two" }, false],
    ["PathPrefix /abc: /abc", path("path-prefix", "/abc"), { path: "/abc" }, true], ["PathPrefix /abc: /abc/", path("path-prefix", "/abc"), { path: "/abc/" }, true],
    ["PathPrefix /abc: /abc/d", path("path-prefix", "/abc"), { path: "/abc/d" }, true], ["PathPrefix /abc: /abcd", path("path-prefix", "/abc"), { path: "/abcd" }, false],
    ["PathPrefix /abc/ is /abc", path("path-prefix", "/abc/"), { path: "/abc" }, true], ["PathPrefix /: all", path("path-prefix", "/"), { path: "/x" }, true], ["PathPrefix / of *", path("path-prefix", "/"), { path: "*" }, false],
    ["regex is of the whole path", path("regex", "/a[0-9]"), { path: "/a12" }, false], ["regex", path("regex", "/a[0-9]+"), { path: "/a12" }, true],
    // VirtualService.
    ["raw prefix /abc: /abcd", path("prefix", "/abc"), { path: "/abcd" }, true], ["ignoreUriCase", path("prefix", "/ABC", true), { path: "/abcd" }, true], ["ignoreUriCase, exact", path("exact", "/ABC", true), { path: "/abc" }, true],
    ["method", { method: exact("POST") }, {}, false], ["method by regex", { method: regex("GET|HEAD") }, {}, true],
    ["header", { headers: [header("version", exact("two"))] }, { fields: ["version", "two"] }, true], ["header, case of the value", { headers: [header("version", exact("two"))] }, { fields: ["version", "Two"] }, false],
    ["header that is not there", { headers: [header("version", exact(""))] }, {}, false], ["header lines are one value", { headers: [header("v", exact("a,b"))] }, { fields: ["v", "a", "v", "b"] }, true],
    ["header present", { headers: [header("v", PRESENT)] }, { fields: ["v", ""] }, true], ["header regex", { headers: [header("v", regex("[ab]+"))] }, { fields: ["v", "abc"] }, false],
    ["of one name twice only the first counts", { headers: [header("v", exact("a")), header("v", exact("b"))] }, { fields: ["v", "a"] }, true],
    ["Host as a header", { headers: [header("host", exact("web:80"))] }, {}, true], [":authority, :scheme", { headers: [header(":authority", exact("web:80")), header(":scheme", exact("http"))] }, {}, true],
    ["withoutHeaders: absent counts as empty", { headers: [header("v", exact("a"), true)] }, {}, true], ["withoutHeaders: other value", { headers: [header("v", exact("a"), true)] }, { fields: ["v", "b"] }, true],
    ["withoutHeaders: that value", { headers: [header("v", exact("a"), true)] }, { fields: ["v", "a"] }, false], ["withoutHeaders: empty regex and absent", { headers: [header("v", regex(""), true)] }, {}, false],
    ["withoutHeaders: presence", { headers: [header("v", PRESENT, true)] }, { fields: ["v", ""] }, false], ["withoutHeaders: absence", { headers: [header("v", PRESENT, true)] }, {}, true],
    // MeshHTTPRouteQueryParamMatching.
    ["query", { query: [{ name: "animal", value: exact("whale") }] }, { query: "x=1&animal=whale" }, true], ["query: another value", { query: [{ name: "animal", value: exact("whale") }] }, { query: "animal=whaledolphin" }, false],
    ["query: the first value", { query: [{ name: "animal", value: exact("dolphin") }] }, { query: "animal=whale&animal=dolphin" }, false], ["query: no query", { query: [{ name: "animal", value: PRESENT }] }, {}, false],
    ["query: names have case", { query: [{ name: "animal", value: PRESENT }] }, { query: "Animal=1" }, false], ["query: escaped", { query: [{ name: "a b", value: exact("c&d") }] }, { query: "a%20b=c%26d" }, true],
    ["gRPC: every call", grpc(), call("/p.S/M"), true], ["gRPC: not gRPC", grpc(), { path: "/p.S/M" }, false], ["gRPC: service", grpc("p.S"), call("/p.S/M"), true], ["gRPC: method", grpc(undefined, "M"), call("/p.S/N"), false],
    ["gRPC: both", grpc("p.S", "M"), call("/p.S/M"), true], ["gRPC: no such shape", grpc("p.S", "M"), call("/p.S/M/x"), false], ["gRPC: regex of the whole name", grpc("p[.]S", undefined, "regex"), call("/xp.S/M"), false],
    ["gRPC: regex", grpc("p[.].*", "M.", "regex"), call("/p.S/MM"), true],
    ["source namespace", { sourceNamespace: "team" }, {}, true], ["source namespace of another", { sourceNamespace: "shop" }, {}, false], ["source labels", { sourceLabels: { app: "client" } }, {}, true],
    ["source labels of another", { sourceLabels: { app: "client", version: "v1" } }, {}, false], ["source unknown", { sourceLabels: { app: "client" } }, { source: undefined }, false],
    ["a label that every object has", { sourceLabels: { constructor: "x" } }, {}, false],
    ["claim", { claims: [{ path: ["groups"], value: exact("admin"), invert: false }] }, { claims: [{ groups: ["user", "admin"] }] }, true], ["claim, nested", { claims: [{ path: ["a", "b"], value: exact("c"), invert: false }] }, { claims: [{ a: { b: "c" } }] }, true],
    ["claim without token", { claims: [{ path: ["groups"], value: exact("admin"), invert: false }] }, {}, false], ["not a claim", { claims: [{ path: ["groups"], value: exact("admin"), invert: true }] }, {}, true],
    ["claims of the first token only", { claims: [{ path: ["a"], value: exact("b"), invert: false }] }, { claims: [{}, { a: "b" }] }, false],
    ["everything at once", { ...path("exact", "/a"), method: exact("GET"), headers: [header("v", exact("1"))], query: [{ name: "q", value: exact("2") }] }, { path: "/a", fields: ["v", "1"], query: "q=2" }, true],
    ["everything but one", { ...path("exact", "/a"), method: exact("GET"), headers: [header("v", exact("1"))], query: [{ name: "q", value: exact("2") }] }, { path: "/a", fields: ["v", "1"], query: "q=3" }, false],
  ];
  for (const [name, match, facts, expected] of cases) it(name, () => assert.equal(matchRequest({ ...ANY, ...match }, { ...FACTS, ...facts }), expected));
  it("and says what fails", () => assert.equal(failingDemand({ ...ANY, headers: [header("v", exact("1"))] }, FACTS), 'header v exact "1"'));
});

describe("values are found", () => {
  const cases: [string, unknown, unknown][] = [
    ["the first cookie of a name", cookieValue(["cookie", "a=1; b=2; a=3"], "a"), "1"], ["over lines (HTTP/2)", cookieValue(["cookie", "a=1", "cookie", "b=2"], "b"), "2"], ["without quotes", cookieValue(["cookie", 'a="x=y"'], "a"), "x=y"],
    ["no cookie", cookieValue(["cookie", "ab=1"], "a"), undefined], ["a parameter without value", firstParameter("a&b=1", "a"), ""], ["what cannot be decoded stays", firstParameter("a=%zz", "a"), "%zz"],
    ["numbers are no text", claimTexts({ a: 1 }, ["a"]), []], ["of a list only texts", claimTexts({ a: ["x", 1, "y"] }, ["a"]), ["x", "y"]], ["inherited names are none", claimTexts({}, ["constructor", "name"]), []],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.deepEqual(actual, expected));
});
