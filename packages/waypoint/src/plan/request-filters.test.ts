// What a route does to a request and its answer: filters, faults, timeouts, retries, mirrors, sessions.
import assert from "node:assert/strict";
import { changeFields, fieldValue, type Cors, type HeaderChange, type HttpRoute, type WaypointConfig } from "@ambit/core";
import { createSessionSeal } from "../auth/session-seal.ts";
import type { CheckFacts, RequestFacts } from "../facts.ts";
import { backend, config, noChance, policy, request, route, routed, world } from "./plan.fixture.ts";
import type { RequestPlan } from "./request-plan.ts";
import { planRequest } from "./request.ts";
import { effectiveTimeouts, grpcTimeoutMs } from "./timeouts.ts";

const view = world();
const plan = (c: WaypointConfig, more: Partial<RequestFacts> = {}, random: () => number = noChance): RequestPlan => planRequest(c, view, request(view, more), random);
type Forward = Extract<RequestPlan, { kind: "forward" }>;
type Reply = Extract<RequestPlan, { kind: "reply" }>;
const forward = (c: WaypointConfig, more: Partial<RequestFacts> = {}, random: () => number = noChance): Forward => { const p = plan(c, more, random); assert.ok(p.kind === "forward", JSON.stringify(p)); return p; };
const reply = (c: WaypointConfig, more: Partial<RequestFacts> = {}, random: () => number = noChance): Reply => { const p = plan(c, more, random); assert.ok(p.kind === "reply", JSON.stringify(p)); return p; };
const change = (more: Partial<HeaderChange>): HeaderChange => ({ set: [], add: [], remove: [], ...more });
const one = (more: Parameters<typeof route>[1]): WaypointConfig => routed([route({}, more)]);
const all = { numerator: 1, denominator: 1 };

describe("planRequest: header changes", () => {
  const request1 = change({ set: [["x-a", "rule"]], add: [["x-b", "rule"]] });
  const request2 = change({ set: [["x-c", "backend"]], add: [["x-b", "backend"]] });
  const p = forward(one({ filters: { request: request1, response: change({ set: [["x-r", "1"]] }) }, action: { kind: "forward", backends: [backend("v1", 1, { request: request2, response: change({ add: [["x-r", "2"]] }) })] } }), { fields: ["x-b", "client"] });
  it("of the rule, then of the backend (MeshHTTPRouteBackendRequestHeaderModifier)", () => assert.deepEqual(["x-a", "x-b", "x-c"].map((n) => fieldValue(p.head.fields, n)), ["rule", "client,rule,backend", "backend"]));
  it("of the answer likewise", () => assert.equal(fieldValue(p.answer.reduce<readonly string[]>((f, c) => changeFields(f, c), []), "x-r"), "1,2"));
  it("host says the authority", () => assert.equal(forward(one({ filters: { request: change({ set: [["host", "other"]] }) } })).head.authority, "other"));
  it("a redirect's answer is changed too", () => assert.equal(fieldValue(reply(one({ action: { kind: "redirect", redirect: { scheme: undefined, hostname: "x", port: undefined, path: undefined, status: 303 } }, filters: { response: change({ set: [["x-r", "1"]] }) } })).reply.fields, "x-r"), "1"));
});

describe("planRequest: answers of a rule", () => {
  const cases: [string, HttpRoute["action"], number, string | undefined, string][] = [
    ["redirect (MeshHTTPRouteRedirectHostAndStatus)", { kind: "redirect", redirect: { scheme: undefined, hostname: "example.org", port: undefined, path: undefined, status: 301 } }, 301, "http://example.org/a?b", ""],
    ["redirect 308 keeps the path (MeshHTTPRoute308Redirect)", { kind: "redirect", redirect: { scheme: "https", hostname: undefined, port: undefined, path: undefined, status: 308 } }, 308, "https://web/a?b", ""],
    ["directResponse", { kind: "respond", status: 418, body: "teapot" }, 418, undefined, "teapot"],
  ];
  for (const [name, action, status, location, body] of cases)
    it(name, () => {
      const r = reply(one({ action }), { target: "/a?b" }).reply;
      assert.deepEqual([r.status, fieldValue(r.fields, "location"), r.body, r.details], [status, location, body, "direct_response"]);
    });
});

describe("planRequest: a redirect of a backend (HTTPRouteBackendRequestRedirect)", () => {
  const redirectTo = { scheme: undefined, hostname: undefined, port: undefined, path: { kind: "prefix" as const, value: "/redirected-prefix" }, status: 302 };
  const moved = { ...backend("v2", 1, { response: change({ set: [["x-why", "moved"]] }) }), redirectTo };
  const c = routed([route({ path: { kind: "path-prefix", value: "/prefix", ignoreCase: false } }, { action: { kind: "forward", backends: [backend("v1", 1), moved] } })]);
  it("is the answer to its share of requests", () => {
    const r = reply(c, { target: "/prefix/original?q" }, () => 0.9).reply;
    assert.deepEqual([r.status, fieldValue(r.fields, "location"), fieldValue(r.fields, "x-why")], [302, "http://web/redirected-prefix/original?q", "moved"]);
  });
  it("and of nobody else", () => assert.equal(forward(c, { target: "/prefix/original" }, () => 0.1).head.target, "/prefix/original"));
});

describe("planRequest: ExternalAuth of a rule", () => {
  const externalAuth: NonNullable<HttpRoute["externalAuth"]> = {
    name: "ExternalAuth of HTTPRoute shop/r rule 0", protocol: "http", service: "security/auth", port: 8000, timeoutMs: 10_000, failOpen: false, statusOnError: 403, pathPrefix: "", includeRequestHeaders: [],
    includeAdditionalHeaders: [], includeRequestBody: undefined, headersToUpstreamOnAllow: ["*"], headersToDownstreamOnDeny: [], headersToDownstreamOnAllow: [],
  };
  const says = (verdict: CheckFacts["verdict"], more: Partial<RequestFacts> = {}): Partial<RequestFacts> => ({ ...more, checks: new Map([[externalAuth.name, { provider: externalAuth.name, verdict }]]) });
  const allow: CheckFacts["verdict"] = { kind: "allow", set: [["x-user", "ann"]], append: [], remove: ["cookie"], toDownstream: [["x-quota", "1"]], query: { set: [["q", "2"]], remove: [] } };
  const c = one({ externalAuth, filters: { request: change({ add: [["x-user", "rule"]] }) } });
  it("is asked before anything is done, by the route's own word", () => {
    for (const asked of [c, one({ externalAuth, action: { kind: "redirect", redirect: { scheme: undefined, hostname: "x", port: undefined, path: undefined, status: 302 } } })])
      assert.deepEqual(plan(asked), { kind: "need", need: { kind: "check", provider: externalAuth.name, policy: externalAuth.name, of: externalAuth } });
    assert.equal(plan(routed([route({}), route({}, { externalAuth })])).kind, "forward", "not for another rule");
  });
  it("changes what it allows, before the rule's filters do", () => {
    const p = forward(c, says(allow, { target: "/a?q=1", fields: ["cookie", "secret", "x-user", "forged"] }));
    assert.deepEqual([p.head.target, fieldValue(p.head.fields, "x-user"), fieldValue(p.head.fields, "cookie"), p.answer[0]?.set], ["/a?q=2", "ann,rule", undefined, [["x-quota", "1"]]]);
    assert.ok(p.because.some((b) => b.step === "external authorization" && b.saw === externalAuth.name && b.chose === "allow"));
  });
  for (const [name, verdict, status, details] of [
    ["answers in its words when it denies", { kind: "deny", status: 401, headers: [["www-authenticate", "Basic"]], body: "no" }, 401, "ext_authz_denied"],
    ["that fails lets nothing pass", { kind: "failed", why: "away", bodyTooLarge: false }, 403, "ext_authz_error{away}"], ["that cannot be told the body lets nothing pass", { kind: "failed", why: "long", bodyTooLarge: true }, 413, "request_payload_too_large"],
  ] as const satisfies readonly (readonly [string, CheckFacts["verdict"], number, string])[])
    it(name, () => { const r = reply(c, says(verdict)); assert.deepEqual([r.reply.status, r.reply.flag, r.reply.details, r.origin?.name], [status, "UAEX", details, "routes"]); });
  it("comes after policies: what they deny is not asked about; a preflight that CORS answers is neither", () => {
    const cors: Cors = { origins: [{ kind: "present" }], methods: ["PUT"], headers: [], exposeHeaders: [], maxAgeS: undefined, credentials: false, unmatchedPreflight: "answer" };
    assert.equal(reply(one({ externalAuth, filters: { cors } }), { method: "OPTIONS", fields: ["origin", "https://a.com", "access-control-request-method", "PUT"] }).reply.details, "cors_preflight");
    assert.match(reply({ ...c, policies: [policy({ rules: [] })] }).reply.details, /rbac_access_denied/);
  });
});

describe("planRequest: faults (l7-traffic 2)", () => {
  const half = { numerator: 50, denominator: 100 };
  const delay = { ms: 100, fraction: half };
  it("delay, one draw", () => assert.equal(forward(one({ fault: { delay, abort: undefined } }), {}, () => 0.49).delayMs, 100));
  it("or none", () => assert.equal(forward(one({ fault: { delay, abort: undefined } }), {}, () => 0.5).delayMs, 0));
  it("abort, after the delay", () => {
    const r = reply(one({ fault: { delay, abort: { fraction: all, answer: { httpStatus: 429 } } } }), {}, () => 0);
    assert.deepEqual([r.delayMs, r.reply.status, r.reply.flag, r.reply.details], [100, 429, "FI", "fault_filter_abort"]);
  });
  it("abort of gRPC", () => assert.equal(reply(one({ fault: { delay: undefined, abort: { fraction: all, answer: { grpcStatus: 8 } } } })).reply.grpcStatus, 8));
  it("a share of 0 never", () => assert.equal(forward(one({ fault: { delay: { ms: 5, fraction: { numerator: 0, denominator: 100 } }, abort: undefined } })).delayMs, 0));
});

describe("planRequest: CORS", () => {
  const cors: Cors = { origins: [{ kind: "exact", value: "https://a.com" }], methods: ["PUT"], headers: [], exposeHeaders: [], maxAgeS: undefined, credentials: false, unmatchedPreflight: "answer" };
  const preflight = (origin: string): Partial<RequestFacts> => ({ method: "OPTIONS", fields: ["origin", origin, "access-control-request-method", "PUT"] });
  it("a preflight is answered", () => assert.deepEqual(reply(one({ filters: { cors } }), preflight("https://a.com")).reply.fields, ["access-control-allow-origin", "https://a.com", "vary", "origin", "access-control-allow-methods", "PUT"]));
  it("one from elsewhere without leave", () => assert.deepEqual(reply(one({ filters: { cors } }), preflight("https://b.com")).reply.fields, []));
  it("or it is sent on (VirtualService)", () => assert.equal(forward(one({ filters: { cors: { ...cors, unmatchedPreflight: "forward" } } }), preflight("https://b.com")).cors, undefined));
  it("of a backend, once it is chosen", () => {
    const c = one({ action: { kind: "forward", backends: [backend("v1", 1, { cors })] } });
    assert.equal(fieldValue(reply(c, preflight("https://a.com")).reply.fields, "access-control-allow-origin"), "https://a.com");
    assert.deepEqual(forward(c, { fields: ["origin", "https://a.com"] }).cors, { rule: cors, origin: "https://a.com" });
  });
  it("other requests are served", () => assert.deepEqual(forward(one({ filters: { cors } }), { fields: ["origin", "https://a.com"] }).cors, { rule: cors, origin: "https://a.com" }));
  it("from elsewhere without leave", () => assert.equal(forward(one({ filters: { cors } }), { fields: ["origin", "https://b.com"] }).cors, undefined));
});

describe("planRequest: mirrors", () => {
  const mirror = (numerator: number) => ({ backend: { service: "shop/v2", port: 80, subset: undefined }, fraction: { numerator, denominator: 100 } });
  const mirrored = one({ filters: { mirrors: [mirror(100), mirror(50), mirror(0)], request: change({ set: [["x-a", "1"]] }) } });
  it("each by its own draw, with the head as changed and a host that says so", () => {
    const p = forward(mirrored, { authority: "web:8080" }, () => 0.4);
    assert.deepEqual(p.mirrors.map((m) => [m.backend.service, m.head.authority, fieldValue(m.head.fields, "x-a")]), [["shop/v2", "web-shadow:8080", "1"], ["shop/v2", "web-shadow:8080", "1"]]);
  });
  it("not where chance says no", () => assert.equal(forward(mirrored, {}, () => 0.6).mirrors.length, 1));
  it("an upgrade is not mirrored and not tried again", () => {
    const p = forward(mirrored, { upgrade: "websocket" }, () => 0);
    assert.deepEqual([p.mirrors.length, p.retry.retries], [0, 0]);
  });
});

describe("planRequest: upgrades", () => {
  for (const [protocol, allowed] of [["websocket", true], ["SPDY/3.1", true], ["h2c", false], ["HTTP/2.0", false], ["TLS/1.2", false]] as const)
    it(`${protocol} ${allowed ? "passes" : "is refused"}`, () => assert.equal(plan(config(), { upgrade: protocol }).kind === "forward", allowed));
});

describe("planRequest: an upgrade can be asked for", () => {
  const websocket = { headers: [{ name: "upgrade", value: { kind: "exact" as const, value: "websocket" }, invert: false }] };
  it("by a route, and does not leave as a field: the next hop makes its own", () => {
    const p = forward(routed([route(websocket, { action: { kind: "forward", backends: [backend("v2")] } }), route({})]), { upgrade: "websocket", fields: ["connection", "upgrade", "upgrade", "websocket"] });
    assert.deepEqual([p.to.kind === "service" && p.to.backend.service, fieldValue(p.head.fields, "upgrade"), fieldValue(p.head.fields, "connection")], ["shop/v2", undefined, undefined]);
  });
});

describe("timeouts", () => {
  const cases: [string, Parameters<typeof effectiveTimeouts>[0], string | undefined, ReturnType<typeof effectiveTimeouts>][] = [
    ["none", { requestMs: undefined, attemptMs: undefined }, undefined, { requestMs: undefined, attemptMs: undefined, deadline: false }], ["0 is none", { requestMs: 0, attemptMs: 0 }, undefined, { requestMs: undefined, attemptMs: undefined, deadline: false }],
    ["a try is never longer than the whole", { requestMs: 100, attemptMs: 500 }, undefined, { requestMs: 100, attemptMs: 100, deadline: false }], ["grpc-timeout alone", { requestMs: undefined, attemptMs: undefined }, "2S", { requestMs: 2000, attemptMs: undefined, deadline: true }],
    ["the shorter one: the client's", { requestMs: 1000, attemptMs: undefined }, "100m", { requestMs: 100, attemptMs: undefined, deadline: true }], ["the shorter one: the route's", { requestMs: 1000, attemptMs: undefined }, "1H", { requestMs: 1000, attemptMs: undefined, deadline: false }],
  ];
  for (const [name, route, asked, expected] of cases) it(name, () => assert.deepEqual(effectiveTimeouts(route, { grpc: true, fields: asked === undefined ? [] : ["grpc-timeout", asked] }), expected));
  it("grpc-timeout is of gRPC only", () => assert.equal(effectiveTimeouts({ requestMs: undefined, attemptMs: undefined }, { grpc: false, fields: ["grpc-timeout", "1S"] }).requestMs, undefined));
  const texts: [string, number | undefined][] = [["1H", 3_600_000], ["2M", 120_000], ["3S", 3000], ["4m", 4], ["5u", 1], ["6n", 1], ["999999999S", undefined], ["1", undefined], ["1s", undefined], ["-1S", undefined], ["", undefined]];
  for (const [text, ms] of texts) it(`grpc-timeout ${text}`, () => assert.equal(grpcTimeoutMs(text), ms));
  it("the application is told, and a gRPC server its shorter deadline", () => {
    const { fields } = forward(one({ timeouts: { requestMs: 1000, attemptMs: 300 } }), { grpc: true, fields: ["grpc-timeout", "1H"] }).head;
    assert.deepEqual([fieldValue(fields, "x-envoy-expected-rq-timeout-ms"), fieldValue(fields, "grpc-timeout")], ["300", "1000m"]);
  });
});

describe("planRequest: a session keeps its backend before weights are drawn (GEP-1619)", () => {
  const seal = createSessionSeal(new Uint8Array(32));
  const session = { kind: "header" as const, name: "x-s", absoluteTimeoutMs: undefined, path: "/" };
  const c = (weight: number): WaypointConfig => one({ session, action: { kind: "forward", backends: [backend("v1", 1), backend("v2", weight)] } });
  const chosen = (weight: number, value: string): string => { const p = planRequest(c(weight), view, request(view, { fields: ["x-s", value] }), () => 0, seal); assert.ok(p.kind === "forward" && p.to.kind === "service"); return p.to.backend.service; };
  it("its own", () => assert.equal(chosen(1, seal.seal("shop/v2\nv2-1\n")), "shop/v2"));
  it("not one that weighs nothing", () => assert.equal(chosen(0, seal.seal("shop/v2\nv2-1\n")), "shop/v1"));
  it("not a forged one", () => assert.equal(chosen(1, "shop/v2"), "shop/v1"));
});

describe("planRequest: what the application is told of the client", () => {
  const own = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "waypoint" };
  it("its identity only where that is asked for, and never what it says of itself", () => {
    assert.equal(fieldValue(forward(config(), { fields: ["x-forwarded-client-cert", "forged"] }).head.fields, "x-forwarded-client-cert"), undefined);
    assert.equal(fieldValue(forward(config({ ownIdentity: own }), { fields: ["x-forwarded-client-cert", "forged"] }).head.fields, "x-forwarded-client-cert"), "By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=spiffe://cluster.local/ns/team/sa/client");
  });
});
