import assert from "node:assert/strict";
import type { Ip, RouteAction } from "@ambit/core";
import type { RequestFacts } from "../facts.ts";
import { backend, config, connection, noChance, operation, policy, request, route, routed, world } from "./plan.fixture.ts";
import type { RequestPlan } from "./request-plan.ts";
import { planRequest } from "./request.ts";

const view = world();
const plan = (c = config(), more: Partial<RequestFacts> = {}, random = noChance): RequestPlan => planRequest(c, view, request(view, more), random);
/** The outcome in one line. */
const outcome = (p: RequestPlan): string => {
  switch (p.kind) {
    case "need": return `need ${p.need.kind}`;
    case "reply": return `${p.reply.status} ${p.reply.flag} ${p.reply.details}`;
    case "forward": return `${p.to.kind === "service" ? `${p.to.backend.service}:${p.to.backend.port}` : "the pod"} ${p.head.authority} ${p.head.target}`;
  }
};
const header = (p: RequestPlan, name: string): string | undefined => {
  const fields = p.kind === "forward" ? p.head.fields : p.kind === "reply" ? p.reply.fields : [];
  const at = fields.findIndex((f, i) => i % 2 === 0 && f === name);
  return at < 0 ? undefined : fields[at + 1];
};
const path = (kind: "exact" | "path-prefix" | "prefix" | "regex", value: string) => ({ path: { kind, value, ignoreCase: false } });
const to = (name: string): RouteAction => ({ kind: "forward", backends: [backend(name)] });

describe("planRequest: where a request goes", () => {
  const matching = routed([
    route(path("path-prefix", "/v2"), { action: to("v2") }), route({ headers: [{ name: "version", value: { kind: "exact", value: "two" }, invert: false }] }, { action: to("v2") }), route(path("path-prefix", "/"), { action: to("v1") }),
  ]);
  const cases: [string, RequestPlan, string][] = [
    ["no configuration: the service itself (MeshBasic)", plan(), "shop/web:80 web /"],
    ["a route without match (MeshHTTPRouteSimpleSameNamespace)", plan(routed([route({})])), "shop/v1:80 web /"],
    ["/v2/ (MeshHTTPRouteMatching)", plan(matching, { target: "/v2/" }), "shop/v2:80 web /v2/"],
    ["/v2example", plan(matching, { target: "/v2example" }), "shop/v1:80 web /v2example"],
    ["header version: two", plan(matching, { fields: ["version", "two"] }), "shop/v2:80 web /"],
    ["routes exist and none matches: 404, never the service", plan(routed([route(path("exact", "/x"))])), "404 NR route_not_found"],
    ["VirtualService leaves the rest to the service", plan(config({ services: new Map([["shop/web", { producer: new Map([[80, { kind: "http", routes: [route(path("exact", "/x"))], fallThrough: true }]]), consumers: new Map() }]]) })), "shop/web:80 web /"],
    ["another port has no routes (MeshPorts)", plan(routed([route({})]), { connection: connection(view, { address: { ip: "10.96.0.1" as Ip, port: 8080 } }) }), "shop/web:8080 web /"],
    ["pod traffic meets no routes (MeshFrontend)", plan(routed([route({})]), { connection: connection(view, { destination: { kind: "workload", workload: view.workloadAt("", "10.0.0.1" as Ip)! } }) }), "the pod web /"],
    ["Host does not choose, the VIP does (MeshFrontendHostname)", plan(routed([route({})]), { authority: "v2" }), "shop/v1:80 v2 /"],
    ["all weights 0: 503", plan(routed([route({}, { action: { kind: "forward", backends: [backend("v1", 0)] } })])), "503 UH no_weight"],
    ["no backends: 500", plan(routed([route({}, { action: { kind: "forward", backends: [] } })])), "500 NC cluster_not_found{the_rule_has_no_backends}"],
    ["an unknown backend: 500", plan(routed([route({}, { action: { kind: "forward", backends: [{ kind: "invalid", weight: 1, why: "x", filters: backend("v1").filters }] } })])), "500 NC cluster_not_found{x}"],
    ["a rule that cannot be carried out: 500", plan(routed([route({}, { action: { kind: "fail", status: 500, why: "ExtensionRef" } })])), "500 - rule_failed{ExtensionRef}"],
    ["a path with %00: 400", plan(config(), { target: "/a%00" }), "400 IH invalid_request{the_path_has_a_NUL}"],
    ["a method in small letters: 400", plan(config(), { method: "get" }), "400 IH invalid_request{the_method_is_not_in_capitals}"],
    ["CONNECT: 403", plan(config(), { method: "CONNECT" }), "403 - connect_not_allowed"],
    ["S5: two values of what may come once", plan(config(), { fields: ["authorization", "a", "x", "y", "authorization", "b"] }), "400 IH invalid_request{more_than_one_authorization}"],
    ["S2: the fragment is gone before anybody looks", plan(config(), { target: "/user/profile#x" }), "shop/web:80 web /user/profile"],
    ["normalised before it goes on", plan(config(), { target: "/a/../b%2E?c=/../d#e" }), "shop/web:80 web /b.?c=/../d"],
  ];
  for (const [name, p, expected] of cases) it(name, () => assert.equal(outcome(p), expected));
});

describe("planRequest: levels", () => {
  const levels = config({ services: new Map([["shop/web", { producer: new Map([[80, { kind: "http", routes: [route({}, { action: to("v1") })], fallThrough: false }]]), consumers: new Map([["team", new Map([[80, { kind: "http" as const, routes: [route(path("exact", "/only"), { action: to("v2") })], fallThrough: false }]])]]) }]]) });
  it("a namespace with routes of its own uses only those (MeshConsumerRoute)", () => assert.equal(outcome(plan(levels, { target: "/only" })), "shop/v2:80 web /only"));
  it("they do not fall back to the producer's", () => assert.equal(outcome(plan(levels)), "404 NR route_not_found"));
  it("other clients use the producer's", () => assert.equal(outcome(plan(levels, { connection: connection(view, { sourceWorkload: view.workloadAt("", "10.0.0.1" as Ip) }) })), "shop/v1:80 web /"));
});

describe("planRequest: policies", () => {
  const deny = policy({ action: "deny", name: "no-admin", rules: [{ from: [], when: [], to: [operation({ paths: { any: [{ kind: "prefix", value: "/admin" }], not: [] } })] }] });
  const cases: [string, string, string][] = [
    ["/admin", "/admin", "403 - rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[0]]"],
    ["an escaped detour to it", "/x/..%2e/%61dmin", "shop/web:80 web /x/.../admin"],
    ["dots", "/x/%2e%2e/%61dmin", "403 - rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[0]]"],
    ["back slashes", "/x\\..\\admin", "403 - rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[0]]"],
    ["the query is not compared", "/?/admin", "shop/web:80 web /?/admin"],
  ];
  for (const [name, target, expected] of cases) it(name, () => assert.equal(outcome(plan(config({ policies: [deny] }), { target })), expected));
  it("denied before 404", () => assert.match(outcome(plan(routed([], { policies: [policy({ rules: [] })] }))), /^403 - rbac_access_denied_matched_policy\[none\]/));
});

describe("planRequest: what leaves", () => {
  it("hop-by-hop fields, fields that Connection names and forgeable ones are gone; te: trailers stays", () => {
    const p = plan(config(), { fields: ["connection", "x-a, keep-alive", "x-a", "1", "te", "gzip, trailers", "x-forwarded-client-cert", "forged", "x-envoy-retry-on", "5xx", "x-b", "2"] });
    assert.ok(p.kind === "forward");
    assert.deepEqual(p.head.fields, ["x-b", "2", "te", "trailers", "x-forwarded-proto", "http"]);
  });
  it("a rewrite notes the path that was asked for", () => {
    const p = plan(routed([route(path("path-prefix", "/a"), { filters: { rewrite: { hostname: "other", path: { kind: "prefix", value: "/b" } } } })]), { target: "/a/x?q=1" });
    assert.equal(outcome(p), "shop/v1:80 other /b/x?q=1");
    assert.equal(header(p, "x-envoy-original-path"), "/a/x?q=1");
  });
});
