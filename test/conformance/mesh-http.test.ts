// The mesh cases of the Gateway API's conformance suite for HTTPRoute, under their own names (v1.6 and HEAD), as our own tests.
import assert from "node:assert/strict";
import { routeFilterCases } from "./route-filters.fixture.ts";
import { backend, CONSUMER, httpRoute, IN_A_ROW, MESH, MeshBed, podOf, serverOf, toService, type Answer, type Ask } from "./bed.fixture.ts";

interface Expected { readonly name?: string; readonly url?: string; readonly ask?: Ask; readonly server?: string; readonly status?: number; readonly path?: string; readonly headers?: Readonly<Record<string, string | undefined>>; readonly answer?: Readonly<Record<string, string | undefined>>; readonly location?: Readonly<Partial<Record<"protocol" | "hostname" | "port" | "pathname", string>>> }

describe("Gateway API conformance: mesh, HTTPRoute", function () {
  this.timeout(180_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let bed: MeshBed;
  before(async () => { bed = await MeshBed.start(); });
  after(() => bed?.stop());

  const hold = async (cases: readonly Expected[]): Promise<void> => {
    await Promise.all(cases.map((c) => bed.eventually(async () => { for (const answer of await bed.ask(c.url ?? "http://echo/", { ...c.ask, count: IN_A_ROW })) check(answer, c); })));
  };

  it("MeshBasic", () => hold([{ url: "http://echo/", status: 200 }]));

  it("MeshHTTPRouteSimpleSameNamespace", () => bed.with([httpRoute("mesh-split", { parentRefs: [toService("echo", 80)], rules: [{ backendRefs: [backend("echo-v1")] }] })],
    () => hold([{ server: "echo-v1" }])));

  it("MeshTrafficSplit", () => bed.with([httpRoute("mesh-traffic-split", {
    parentRefs: [toService("echo")],
    rules: [{ matches: [{ path: { type: "Exact", value: "/v1" } }], backendRefs: [backend("echo-v1")] }, { matches: [{ path: { type: "Exact", value: "/v2" } }], backendRefs: [backend("echo-v2")] }],
  })], () => hold([{ url: "http://echo/v1", server: "echo-v1" }, { url: "http://echo/v2", server: "echo-v2" }, { url: "http://echo/v3", status: 404 }])));

  it("MeshHTTPRouteMatching", () => bed.with([httpRoute("mesh-matching", {
    parentRefs: [toService("echo")],
    rules: [
      { matches: [{ path: { type: "PathPrefix", value: "/" } }, { headers: [{ name: "version", value: "one" }] }], backendRefs: [backend("echo-v1")] },
      { matches: [{ path: { type: "PathPrefix", value: "/v2" } }, { headers: [{ name: "version", value: "two" }] }], backendRefs: [backend("echo-v2")] },
    ],
  })], () => hold([
    { url: "http://echo/", server: "echo-v1" }, { url: "http://echo/example", server: "echo-v1" }, { ask: { headers: { version: "one" } }, server: "echo-v1" },
    { url: "http://echo/v2", server: "echo-v2" }, { url: "http://echo/v2/example", server: "echo-v2" }, { url: "http://echo/v2/", server: "echo-v2" },
    { url: "http://echo/v2example", server: "echo-v1" }, { url: "http://echo/foo/v2/example", server: "echo-v1" }, { ask: { headers: { version: "two" } }, server: "echo-v2" },
  ])));

  it("MeshHTTPRouteQueryParamMatching", () => bed.with([httpRoute("mesh-query", {
    parentRefs: [toService("echo")],
    rules: [
      { matches: [{ queryParams: [{ name: "animal", value: "whale" }] }], backendRefs: [backend("echo-v1")] },
      { matches: [{ queryParams: [{ name: "animal", value: "dolphin" }] }], backendRefs: [backend("echo-v2")] },
      { matches: [{ path: { type: "PathPrefix", value: "/path1" }, queryParams: [{ name: "color", value: "blue" }] }], backendRefs: [backend("echo-v1")] },
      { matches: [{ headers: [{ name: "version", value: "one" }], queryParams: [{ name: "color", value: "yellow" }] }], backendRefs: [backend("echo-v2")] },
      { matches: [{ path: { type: "PathPrefix", value: "/path5" } }], backendRefs: [backend("echo-v1")] },
      { matches: [{ path: { type: "PathPrefix", value: "/" }, queryParams: [{ name: "animal", value: "hydra" }] }], backendRefs: [backend("echo-v2")] },
    ],
  })], () => hold([
    { url: "http://echo/?animal=whale", server: "echo-v1" }, { url: "http://echo/?animal=dolphin", server: "echo-v2" },
    { url: "http://echo/?animal=whale&otherparam=irrelevant", server: "echo-v1" }, { url: "http://echo/?animal=dolphin&color=yellow", server: "echo-v2" },
    { url: "http://echo/", status: 404 }, { url: "http://echo/?color=blue", status: 404 }, { url: "http://echo/?animal=dog", status: 404 }, { url: "http://echo/?animal=whaledolphin", status: 404 },
    { url: "http://echo/path1?color=blue", server: "echo-v1" }, { url: "http://echo/path1?color=red", status: 404 },
    { url: "http://echo/?color=yellow", ask: { headers: { version: "one" } }, server: "echo-v2" }, { url: "http://echo/?color=yellow", ask: { headers: { version: "two" } }, status: 404 },
    { url: "http://echo/path5?animal=hydra", server: "echo-v1" }, { url: "http://echo/other?animal=hydra", server: "echo-v2" },
  ])));

  const modifiers = (filter: (f: object) => object): object[] => [
    { matches: [{ path: { type: "PathPrefix", value: "/set" } }], ...filter({ set: [{ name: "X-Header-Set", value: "set-overwrites-values" }] }) },
    { matches: [{ path: { type: "PathPrefix", value: "/add" } }], ...filter({ add: [{ name: "X-Header-Add", value: "add-appends-values" }] }) },
    { matches: [{ path: { type: "PathPrefix", value: "/remove" } }], ...filter({ remove: ["X-Header-Remove"] }) },
    { matches: [{ path: { type: "PathPrefix", value: "/multiple" } }], ...filter({
      set: [{ name: "X-Header-Set-1", value: "header-set-1" }, { name: "X-Header-Set-2", value: "header-set-2" }],
      add: [{ name: "X-Header-Add-1", value: "header-add-1" }, { name: "X-Header-Add-2", value: "header-add-2" }], remove: ["X-Header-Remove-1", "X-Header-Remove-2"],
    }) },
    { matches: [{ path: { type: "PathPrefix", value: "/case-insensitivity" } }], ...filter({ set: [{ name: "X-Header-Set", value: "header-set" }], add: [{ name: "X-Header-Add", value: "header-add" }], remove: ["x-header-remove"] }) },
  ];
  const modified: readonly Expected[] = [
    { url: "http://echo/set", ask: { headers: { "Some-Other-Header": "val" } }, server: "echo-v1", headers: { "some-other-header": "val", "x-header-set": "set-overwrites-values" } },
    { url: "http://echo/set", ask: { headers: { "X-Header-Set": "some-other-value" } }, headers: { "x-header-set": "set-overwrites-values" } },
    { url: "http://echo/add", headers: { "x-header-add": "add-appends-values" } },
    { url: "http://echo/add", ask: { headers: { "X-Header-Add": "some-other-value" } }, headers: { "x-header-add": "some-other-value,add-appends-values" } },
    { url: "http://echo/remove", ask: { headers: { "X-Header-Remove": "val" } }, headers: { "x-header-remove": undefined } },
    { url: "http://echo/multiple", ask: { headers: { "X-Header-Set-2": "set-val-2", "X-Header-Add-2": "add-val-2", "X-Header-Remove-2": "remove-val-2", "Another-Header": "another-header-val" } },
      headers: { "x-header-set-1": "header-set-1", "x-header-set-2": "header-set-2", "x-header-add-1": "header-add-1", "x-header-add-2": "add-val-2,header-add-2", "x-header-remove-1": undefined, "x-header-remove-2": undefined, "another-header": "another-header-val" } },
    { url: "http://echo/case-insensitivity", ask: { headers: { "x-header-set": "original-val-set", "x-header-add": "original-val-add", "X-Header-Remove": "original-val-remove" } },
      headers: { "x-header-set": "header-set", "x-header-add": "original-val-add,header-add", "x-header-remove": undefined } },
  ];

  it("MeshHTTPRouteRequestHeaderModifier", () => bed.with([httpRoute("mesh-header-modifier", {
    parentRefs: [toService("echo")], rules: modifiers((f) => ({ filters: [{ type: "RequestHeaderModifier", requestHeaderModifier: f }], backendRefs: [backend("echo-v1")] })),
  })], () => hold(modified)));

  it("MeshHTTPRouteBackendRequestHeaderModifier", () => bed.with([httpRoute("mesh-backend-header-modifier", {
    parentRefs: [toService("echo")], rules: modifiers((f) => ({ backendRefs: [backend("echo-v1", { filters: [{ type: "RequestHeaderModifier", requestHeaderModifier: f }] })] })),
  })], () => hold(modified)));

  it("MeshHTTPRouteRewritePath", () => bed.with([httpRoute("mesh-rewrite-path", {
    parentRefs: [toService("echo")],
    rules: [
      { matches: [{ path: { type: "PathPrefix", value: "/prefix/one" } }], filters: [{ type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/one" } } }], backendRefs: [backend("echo-v1")] },
      { matches: [{ path: { type: "PathPrefix", value: "/strip-prefix" } }], filters: [{ type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/" } } }], backendRefs: [backend("echo-v1")] },
      { matches: [{ path: { type: "PathPrefix", value: "/full/one" } }], filters: [{ type: "URLRewrite", urlRewrite: { path: { type: "ReplaceFullPath", replaceFullPath: "/one" } } }], backendRefs: [backend("echo-v1")] },
      { matches: [{ path: { type: "PathPrefix", value: "/full/rewrite-path-and-modify-headers" } }], filters: [
        { type: "URLRewrite", urlRewrite: { path: { type: "ReplaceFullPath", replaceFullPath: "/test" } } },
        { type: "RequestHeaderModifier", requestHeaderModifier: { set: [{ name: "X-Header-Set", value: "set-overwrites-values" }], add: [{ name: "X-Header-Add", value: "header-val-1" }], remove: ["X-Header-Remove"] } }],
        backendRefs: [backend("echo-v1")] },
      { matches: [{ path: { type: "PathPrefix", value: "/prefix/rewrite-path-and-modify-headers" } }], filters: [
        { type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/prefix" } } },
        { type: "RequestHeaderModifier", requestHeaderModifier: { add: [{ name: "X-Header-Add", value: "header-val-1" }], remove: ["X-Header-Remove"] } }],
        backendRefs: [backend("echo-v1")] },
    ],
  })], () => hold([
    { url: "http://echo/prefix/one/two", path: "/one/two" }, { url: "http://echo/strip-prefix/three", path: "/three" }, { url: "http://echo/strip-prefix", path: "/" },
    { url: "http://echo/full/one/two", path: "/one" },
    { url: "http://echo/full/rewrite-path-and-modify-headers/test", ask: { headers: { "X-Header-Remove": "r", "X-Header-Set": "old" } }, path: "/test", headers: { "x-header-set": "set-overwrites-values", "x-header-add": "header-val-1", "x-header-remove": undefined } },
    { url: "http://echo/prefix/rewrite-path-and-modify-headers/one", path: "/prefix/one", headers: { "x-header-add": "header-val-1" } },
  ])));

  const redirect = (path: string, requestRedirect: object): object => ({ matches: [{ path: { type: "PathPrefix", value: path } }], filters: [{ type: "RequestRedirect", requestRedirect }] });
  const redirects = (name: string, rules: readonly object[], cases: readonly Expected[]): Promise<void> => bed.with([httpRoute(name, { parentRefs: [toService("echo")], rules })], () => hold(cases));

  it("MeshHTTPRouteRedirectHostAndStatus", () => redirects("mesh-redirect-host", [redirect("/hostname-redirect", { hostname: "example.org" }), redirect("/host-and-status", { hostname: "example.org", statusCode: 301 })], [
    { url: "http://echo/hostname-redirect", status: 302, location: { hostname: "example.org", pathname: "/hostname-redirect" } },
    { url: "http://echo/host-and-status", status: 301, location: { hostname: "example.org" } },
  ]));

  it("MeshHTTPRouteRedirectPath", () => redirects("mesh-redirect-path", [
    redirect("/original-prefix", { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/replacement-prefix" } }), redirect("/full", { path: { type: "ReplaceFullPath", replaceFullPath: "/full-path-replacement" } }),
    redirect("/path-and-host", { hostname: "example.org", path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/replacement-prefix" } }), redirect("/path-and-status", { statusCode: 301, path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/replacement-prefix" } }),
    redirect("/full-path-and-host", { hostname: "example.org", path: { type: "ReplaceFullPath", replaceFullPath: "/replacement-full" } }),
  ], [
    { url: "http://echo/original-prefix/lemon", status: 302, location: { pathname: "/replacement-prefix/lemon" } }, { url: "http://echo/full/path/original", status: 302, location: { pathname: "/full-path-replacement" } },
    { url: "http://echo/path-and-host/x", status: 302, location: { hostname: "example.org", pathname: "/replacement-prefix/x" } }, { url: "http://echo/path-and-status/x", status: 301, location: { pathname: "/replacement-prefix/x" } },
    { url: "http://echo/full-path-and-host/x", status: 302, location: { hostname: "example.org", pathname: "/replacement-full" } },
  ]));

  it("MeshHTTPRouteRedirectPort", () => redirects("mesh-redirect-port", [redirect("/port", { port: 8083 }), redirect("/port-and-host", { port: 8083, hostname: "example.org" }), redirect("/port-and-status", { port: 8083, statusCode: 301 })], [
    { url: "http://echo/port", status: 302, location: { port: "8083", hostname: "echo" } }, { url: "http://echo/port-and-host", status: 302, location: { port: "8083", hostname: "example.org" } }, { url: "http://echo/port-and-status", status: 301, location: { port: "8083" } },
  ]));

  it("MeshHTTPRouteSchemeRedirect", () => redirects("mesh-redirect-scheme", [redirect("/scheme", { scheme: "https" }), redirect("/scheme-and-host", { scheme: "https", hostname: "example.org" }), redirect("/scheme-and-status", { scheme: "https", statusCode: 301 })], [
    { url: "http://echo/scheme", status: 302, location: { protocol: "https:", hostname: "echo", port: "" } }, { url: "http://echo/scheme-and-host", status: 302, location: { protocol: "https:", hostname: "example.org" } },
    { url: "http://echo/scheme-and-status", status: 301, location: { protocol: "https:" } },
  ]));

  for (const status of [303, 307, 308])
    it(`MeshHTTPRoute${status}Redirect`, () => redirects(`mesh-${status}`, [redirect("/hostname-redirect", { hostname: "example.org", statusCode: status })], [
      { url: "http://echo/hostname-redirect/x", status, location: { hostname: "example.org", pathname: "/hostname-redirect/x" } },
    ]));

  it("MeshHTTPRouteNamedRule", () => bed.with([httpRoute("mesh-named-rule", {
    parentRefs: [toService("echo")],
    rules: [{ name: "named", matches: [{ path: { type: "PathPrefix", value: "/named" } }], backendRefs: [backend("echo-v1")] }, { matches: [{ path: { type: "PathPrefix", value: "/unnamed" } }], backendRefs: [backend("echo-v2")] }],
  })], () => hold([{ url: "http://echo/named", server: "echo-v1" }, { url: "http://echo/unnamed", server: "echo-v2" }])));

  it("MeshHTTPRouteWeight", () => bed.with([httpRoute("mesh-weight", { parentRefs: [toService("echo")], rules: [{ backendRefs: [backend("echo-v1", { weight: 70 }), backend("echo-v2", { weight: 30 }), backend("echo", { weight: 0 })] }] })], async () => {
    await hold([{ status: 200 }]);
    await bed.eventually(async () => {
      const shares = sharesOf(await bed.ask("http://echo/", { count: 500 }));
      assert.ok(Math.abs((shares.get("echo-v1") ?? 0) - 0.7) <= 0.05, `echo-v1 got ${shares.get("echo-v1")}`);
      assert.ok(Math.abs((shares.get("echo-v2") ?? 0) - 0.3) <= 0.05, `echo-v2 got ${shares.get("echo-v2")}`);
    });
  }));

  const responseHeader = (name: string, parentRefs: readonly object[], more: object = {}, ns = MESH): object => httpRoute(name, {
    parentRefs, rules: [{ filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: "X-Header-Set", value: "set" }] } }], ...more }],
  }, ns);

  it("MeshFrontend", async () => {
    const pod = await bed.podIp("echo-v2");
    await bed.with([responseHeader("mesh-frontend", [toService("echo-v2")], { backendRefs: [backend("echo-v2")] })], () => hold([
      { url: "http://echo-v2/", answer: { "x-header-set": "set" } }, { url: `http://${pod}:8080/`, server: "echo-v2", answer: { "x-header-set": undefined } },
    ]));
  });

  it("MeshFrontendHostname", () => bed.with([responseHeader("mesh-frontend-hostname", [toService("echo-v2")], { backendRefs: [backend("echo-v2")] })], () => hold([
    { url: "http://echo-v2/", ask: { headers: { Host: "echo-v1" } }, server: "echo-v2", answer: { "x-header-set": "set" } },
    { url: "http://echo-v1/", ask: { headers: { Host: "echo-v2" } }, server: "echo-v1", answer: { "x-header-set": undefined } },
  ])));

  it("MeshPorts", () => bed.with([
    responseHeader("mesh-ports", [toService("echo-v1", 80)], { backendRefs: [backend("echo-v1")] }), responseHeader("mesh-no-ports", [toService("echo-v2")], { backendRefs: [backend("echo-v2")] }),
  ], () => hold([
    { url: "http://echo-v1/", answer: { "x-header-set": "set" } }, { url: "http://echo-v1:8080/", server: "echo-v1", answer: { "x-header-set": undefined } },
    { url: "http://echo-v2/", answer: { "x-header-set": "set" } }, { url: "http://echo-v2:8080/", answer: { "x-header-set": "set" } },
  ])));

  it("MeshConsumerRoute", () => bed.with([responseHeader("mesh-consumer", [toService("echo-v1", undefined, MESH)], { backendRefs: [{ name: "echo-v1", namespace: MESH, port: 80 }] }, CONSUMER)], () => hold([
    { url: `http://echo-v1.${MESH}/`, ask: { from: { namespace: CONSUMER, pod: podOf("echo-v1") } }, server: "echo-v1", answer: { "x-header-set": "set" } },
    { url: "http://echo-v1/", ask: { from: { namespace: MESH, pod: podOf("echo-v2") } }, server: "echo-v1", answer: { "x-header-set": undefined } },
  ])));

  routeFilterCases(() => bed);
});

function check(got: Answer, want: Expected): void {
  const said = JSON.stringify(got).slice(0, 400);
  assert.equal(got.error, undefined, `${want.url ?? ""}: ${said}`);
  assert.equal(got.status, want.status ?? 200, `${want.url ?? ""}: ${said}`);
  if (want.server !== undefined) assert.equal(serverOf(got), want.server, `${want.url ?? ""}: ${said}`);
  if (want.path !== undefined) assert.equal(got.seen?.path, want.path, said);
  for (const [name, value] of Object.entries(want.headers ?? {})) assert.equal(got.seen?.headers[name]?.replace(/, /g, ","), value, `${name}: ${said}`);
  for (const [name, value] of Object.entries(want.answer ?? {})) assert.equal(got.headers[name], value, `${want.url ?? ""} ${name}: ${said}`);
  if (want.location === undefined) return;
  const location = new URL(got.headers["location"] ?? "none:", "http://echo/");
  for (const [part, value] of Object.entries(want.location)) assert.equal(location[part as "port"], value, `Location ${got.headers["location"] ?? "missing"}`);
}

function sharesOf(answers: readonly Answer[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const a of answers) counts.set(serverOf(a) ?? a.error ?? String(a.status), (counts.get(serverOf(a) ?? a.error ?? String(a.status)) ?? 0) + 1);
  return new Map([...counts].map(([name, n]) => [name, n / answers.length]));
}
