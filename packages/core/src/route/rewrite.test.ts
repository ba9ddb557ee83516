import assert from "node:assert/strict";
import type { PathMatch } from "./match.ts";
import { locationOf, rewritePath, type RedirectFacts } from "./rewrite.ts";
import type { PathRewrite, Redirect } from "./route.ts";

const m = (kind: PathMatch["kind"], value: string): PathMatch => ({ kind, value, ignoreCase: false });
const rewritten = (rewrite: PathRewrite, matched: PathMatch | undefined, path: string): string => { const done = rewritePath(rewrite, matched, path); return done.ok ? done.value : `error: ${done.error}`; };

describe("ReplacePrefixMatch (Gateway API 5)", () => {
  const cases: [string, string, string, string][] = [
    ["/foo", "/xyz", "/foo/bar", "/xyz/bar"], ["/foo", "/xyz/", "/foo/bar", "/xyz/bar"], ["/foo/", "/xyz", "/foo/bar", "/xyz/bar"], ["/foo/", "/xyz/", "/foo/bar", "/xyz/bar"],
    ["/foo", "/xyz", "/foo", "/xyz"], ["/foo", "/xyz", "/foo/", "/xyz/"], ["/foo", "", "/foo/bar", "/bar"], ["/foo", "", "/foo/", "/"], ["/foo", "", "/foo", "/"], ["/foo", "/", "/foo/bar", "/bar"], ["/foo", "/", "/foo/", "/"], ["/foo", "/", "/foo", "/"],
    ["/", "/xyz", "/bar", "/xyz/bar"], ["/prefix/one", "/one", "/prefix/one/two", "/one/two"], ["/strip-prefix", "/", "/strip-prefix/three", "/three"],
  ];
  for (const [prefix, value, path, expected] of cases) it(`${prefix} → ${JSON.stringify(value)}: ${path}`, () => assert.equal(rewritten({ kind: "prefix", value }, m("path-prefix", prefix), path), expected));
  it("without a path match the prefix is /", () => assert.equal(rewritten({ kind: "prefix", value: "/xyz" }, undefined, "/bar"), "/xyz/bar"));
});

describe("rewrites of VirtualService (l7-traffic 2)", () => {
  const cases: [string, PathRewrite, PathMatch, string, string][] = [
    ["a raw prefix", { kind: "prefix", value: "/v2" }, m("prefix", "/v1"), "/v1x", "/v2x"], ["that never loses its slash", { kind: "prefix", value: "" }, m("prefix", "/v1/"), "/v1/x", "/x"],
    ["an exact path is replaced whole", { kind: "prefix", value: "/v2" }, m("exact", "/v1/x"), "/v1/x", "/v2"], ["so is what a regex matched", { kind: "prefix", value: "/v2" }, m("regex", "/.*"), "/v1/x", "/v2"],
    ["regex with groups", { kind: "regex", pattern: "/v1/(.*)/(.*)", substitution: "/v2/\\2/\\1" }, m("prefix", "/"), "/v1/a/b", "/v2/b/a"], ["full", { kind: "full", value: "/one" }, m("prefix", "/"), "/a/b", "/one"],
    ["a pattern that cannot be read", { kind: "regex", pattern: "(", substitution: "" }, m("prefix", "/"), "/", "error: a `(` without its `)` at position 2"],
  ];
  for (const [name, rewrite, matched, path, expected] of cases) it(name, () => assert.equal(rewritten(rewrite, matched, path), expected));
});

describe("the Location of a redirect", () => {
  const FACTS: RedirectFacts = { scheme: "http", authority: "echo", port: 80, path: "/a", query: undefined };
  const redirect = (more: Partial<Redirect>): Redirect => ({ scheme: undefined, hostname: undefined, port: undefined, path: undefined, status: 302, ...more });
  const cases: [string, Partial<Redirect>, Partial<RedirectFacts>, "gateway" | "virtual-service", string][] = [
    ["hostname (MeshHTTPRouteRedirectHostAndStatus)", { hostname: "example.org" }, {}, "gateway", "http://example.org/a"],
    ["port (MeshHTTPRouteRedirectPort)", { port: 8083 }, {}, "gateway", "http://echo:8083/a"], ["port and host", { port: 8083, hostname: "example.org" }, {}, "gateway", "http://example.org:8083/a"],
    ["scheme: its port, which is left out (MeshHTTPRouteSchemeRedirect)", { scheme: "https" }, {}, "gateway", "https://echo/a"], ["scheme from another port", { scheme: "https" }, { authority: "echo:8080", port: 8080 }, "gateway", "https://echo/a"],
    ["no port, no scheme: the one that was dialled", { hostname: "example.org" }, { port: 8080 }, "gateway", "http://example.org:8080/a"], [":80 of http is left out", { port: 80 }, {}, "gateway", "http://echo/a"],
    [":443 of https is left out", { port: 443, scheme: "https" }, {}, "gateway", "https://echo/a"], [":80 of https is not", { port: 80, scheme: "https" }, {}, "gateway", "https://echo:80/a"],
    ["full path (MeshHTTPRouteRedirectPath)", { path: { kind: "full", value: "/b" } }, {}, "gateway", "http://echo/b"], ["prefix, the rest is kept", { path: { kind: "prefix", value: "/b" } }, { path: "/a/c" }, "gateway", "http://echo/b/c"],
    ["the query is kept", { path: { kind: "full", value: "/b" } }, { query: "c=d" }, "gateway", "http://echo/b?c=d"],
    ["VirtualService with a new host names no port", { hostname: "example.org" }, { authority: "echo:8080", port: 8080 }, "virtual-service", "http://example.org/a"],
    ["and with the old one keeps it", { path: { kind: "full", value: "/b" } }, { authority: "echo:8080", port: 8080 }, "virtual-service", "http://echo:8080/b"],
    ["derivePort FROM_PROTOCOL_DEFAULT", { port: "derive-from-scheme" }, { authority: "echo:8080", port: 8080 }, "virtual-service", "http://echo/a"], ["an IPv6 authority", {}, { authority: "[::1]:80" }, "virtual-service", "http://[::1]/a"],
  ];
  for (const [name, more, facts, kind, expected] of cases) it(name, () => assert.deepEqual(locationOf(redirect(more), m("path-prefix", "/a"), { ...FACTS, ...facts }, kind), { ok: true, value: expected }));
});
