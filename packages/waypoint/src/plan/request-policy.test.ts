// What decides whether a request may go on: tokens, providers, policies of every target; and the same of connections.
import assert from "node:assert/strict";
import { fieldValue, parseCidr, type AuthorizationProvider, type Cidr, type Ip, type RequestAuthentication, type RequestPolicy, type WaypointConfig } from "@ambit/core";
import type { CheckFacts, RequestFacts, TokenFacts } from "../facts.ts";
import { remoteIp } from "./authorization.ts";
import { explainRequest } from "./explain.ts";
import { backend, config, connection, jwtRule, noChance, operation, policy, request, route, routed, world } from "./plan.fixture.ts";
import type { RequestPlan } from "./request-plan.ts";
import { planRequest } from "./request.ts";
import { choosePortProtocol, planTcp } from "./tcp.ts";
import { findTokens } from "./tokens.ts";

const view = world();
const plan = (c: WaypointConfig, more: Partial<RequestFacts> = {}): RequestPlan => planRequest(c, view, request(view, more), noChance);
const outcome = (p: RequestPlan): string => (p.kind === "need" ? `need ${p.need.kind}` : p.kind === "reply" ? `${p.reply.status} ${p.reply.flag} ${p.reply.details}` : `${p.to.kind === "service" ? p.to.backend.service : "pod"} ${p.head.target}`);
const fields = (p: RequestPlan): readonly string[] => (p.kind === "forward" ? p.head.fields : p.kind === "reply" ? p.reply.fields : []);
const authentication = (more: Partial<RequestAuthentication> = {}): RequestAuthentication => ({ namespace: "shop", name: "jwt", targets: [{ kind: "waypoint" }], rules: [jwtRule({})], refused: undefined, ...more });
const verified = (more: Partial<TokenFacts> = {}): TokenFacts => ({ issuer: "https://issuer", subject: "me", claims: { iss: "https://issuer", sub: "me" }, payload: "cGF5bG9hZA", rule: 0, location: { kind: "header", name: "authorization" }, ...more });
const valid = (...tokens: TokenFacts[]): RequestFacts["token"] => ({ kind: "valid", tokens });
const atPath = (path: string): RequestPolicy["rules"] => [{ from: [], to: [operation({ paths: { any: [{ kind: "exact", value: path }], not: [] } })], when: [] }];

describe("planRequest: tokens (l7-authz 4)", () => {
  const c = config({ authentications: [authentication()] });
  const preflight = ["origin", "https://a", "access-control-request-method", "PUT"];
  const cases: [string, RequestPlan, string][] = [
    ["tokens are asked for first", plan(c), "need token"], ["none at all is fine", plan(c, { token: { kind: "none" } }), "shop/web /"], ["an invalid one is 401", plan(c, { token: { kind: "invalid", reason: "Jwt is expired" } }), "401 - jwt_authn_access_denied{Jwt_is_expired}"],
    ["a valid one", plan(c, { token: valid(verified()) }), "shop/web /"], ["a preflight passes without", plan(c, { method: "OPTIONS", fields: preflight }), "shop/web /"], ["an OPTIONS that is none does not", plan(c, { method: "OPTIONS", fields: preflight.slice(0, 2) }), "need token"],
    ["rules that could not be understood refuse all (ADR 0005)", plan(config({ authentications: [authentication({ refused: "x" })] })), "401 - jwt_authn_access_denied{Jwt_verification_fails}"],
    ["those of another service do not count", plan(config({ authentications: [authentication({ targets: [{ kind: "service", service: "shop/other" }] })] })), "shop/web /"],
  ];
  for (const [name, p, expected] of cases) it(name, () => assert.equal(outcome(p), expected));
  it("a 401 says how to do better", () => assert.equal(fieldValue(fields(plan(c, { token: { kind: "invalid", reason: "Jwt is expired" } })), "www-authenticate"), 'Bearer realm="http://web/", error="invalid_token"'));

  const output = authentication({ rules: [jwtRule({ outputPayloadToHeader: "X-Payload", outputClaimToHeaders: [{ header: "X-Sub", claim: "sub" }, { header: "x-n", claim: "n.a" }, { header: "x-list", claim: "list" }, { header: "x-bad", claim: "bad" }] })] });
  const out = config({ authentications: [output] });
  const claims = { sub: "me", n: { a: 7 }, list: ["a"], bad: "a\r\nb" };
  it("claims go to headers, what the client wrote there does not", () => {
    const p = plan(out, { token: valid(verified({ claims })), fields: ["authorization", "Bearer t", "x-sub", "forged", "x-list", "forged"] });
    assert.deepEqual(fields(p).slice(0, 6), ["x-payload", "cGF5bG9hZA", "x-sub", "me", "x-n", "7"]);
    assert.equal(fieldValue(fields(p), "authorization"), undefined, "the token is not forwarded");
    assert.deepEqual(["x-list", "x-bad"].map((n) => fieldValue(fields(p), n)), [undefined, undefined]);
  });
  it("without a token neither", () => assert.equal(fieldValue(fields(plan(out, { token: { kind: "none" }, fields: ["x-sub", "forged"] })), "x-sub"), undefined));
  it("policies judge our header, not the client's", () => {
    const deny = policy({ action: "deny", rules: [{ from: [], to: [], when: [{ key: { kind: "header", name: "x-sub" }, strings: { any: [{ kind: "exact", value: "me" }], not: [] }, blocks: { any: [], not: [] }, ports: { any: [], not: [] }, accounts: { any: [], not: [] } }] }] });
    assert.match(outcome(plan({ ...out, policies: [deny] }, { token: valid(verified({ claims })), fields: ["x-sub", "you"] })), /^403/);
  });
  it("the token goes on where the rule says so", () => assert.equal(fieldValue(fields(plan(config({ authentications: [authentication({ rules: [jwtRule({ forwardOriginalToken: true })] })] }), { token: valid(verified()), fields: ["authorization", "Bearer t"] })), "authorization"), "Bearer t"));
  const places: [string, TokenFacts["location"], string, string[], string, string | undefined][] = [
    ["a parameter", { kind: "query", name: "t" }, "/?a=1&t=x&b=2", [], "/?a=1&b=2", undefined], ["the only parameter", { kind: "query", name: "t" }, "/?t=x", [], "/", undefined], ["a cookie of several", { kind: "cookie", name: "t" }, "/", ["cookie", "a=1; t=x; b=2"], "/", "a=1; b=2"], ["the only cookie", { kind: "cookie", name: "t" }, "/", ["cookie", "t=x"], "/", undefined],
  ];
  for (const [name, location, target, sent, expected, cookie] of places)
    it(`${name} is taken out`, () => {
      const p = plan(c, { target, fields: sent, token: valid(verified({ location })) });
      assert.deepEqual([outcome(p), fieldValue(fields(p), "cookie")], [`shop/web ${expected}`, cookie]);
    });
  it("routing by claims", () => {
    const claimed = routed([route({ claims: [{ path: ["groups"], value: { kind: "exact", value: "beta" }, invert: false }] }, { action: { kind: "forward", backends: [backend("v2")] } }), route({})], { authentications: [authentication()] });
    assert.equal(outcome(plan(claimed, { token: valid(verified({ claims: { groups: ["beta"] } })) })), "shop/v2 /");
    assert.equal(outcome(plan(claimed, { token: { kind: "none" } })), "shop/v1 /");
  });
  it("rules on a route hold only there", () => {
    const routes = routed([route({ path: { kind: "exact", value: "/a", ignoreCase: false } }), route({}, { origin: { ...route({}).origin, name: "open", rule: 1 } })], { authentications: [authentication({ targets: [{ kind: "route", route: { kind: "HTTPRoute", namespace: "shop", name: "routes", ruleName: undefined } }] })] });
    assert.deepEqual([outcome(plan(routes, { target: "/a" })), outcome(plan(routes, { target: "/b" }))], ["need token", "shop/v1 /b"]);
    const last = { ...routes, authentications: [authentication({ targets: [{ kind: "route", route: { kind: "HTTPRoute", namespace: "shop", name: "open", ruleName: undefined } }] })] };
    assert.deepEqual([outcome(plan(last, { target: "/a" })), outcome(plan(last, { target: "/b" }))], ["shop/v1 /a", "need token"]);
  });
});

describe("findTokens", () => {
  const all = jwtRule({ fromHeaders: [{ name: "X-T", prefix: "T " }], fromParams: ["p"], fromCookies: ["c"] });
  const cases: [string, ReturnType<typeof jwtRule>, string[], string | undefined, string[]][] = [
    ["Authorization: Bearer", jwtRule({}), ["authorization", "Bearer x"], undefined, ["x"]], ["another scheme is no token", jwtRule({}), ["authorization", "Basic x"], undefined, []], ["access_token", jwtRule({}), [], "access_token=y", ["y"]],
    ["a header with its prefix", all, ["x-t", "T x"], undefined, ["x"]], ["without it", all, ["x-t", "x"], undefined, []], ["parameter and cookie", all, ["cookie", "c=z"], "p=y", ["y", "z"]], ["no usual place where others are named", all, ["authorization", "Bearer x"], "access_token=y", []], ["an empty one is none", jwtRule({}), ["authorization", "Bearer "], undefined, []],
  ];
  for (const [name, rule, sent, query, expected] of cases) it(name, () => assert.deepEqual(findTokens([rule], sent, query).map((t) => t.token), expected));
});

const provider = (more: Partial<AuthorizationProvider> = {}): AuthorizationProvider => ({
  name: "opa", protocol: "http", service: "auth/opa", port: 1, timeoutMs: 1, failOpen: false, statusOnError: 403, pathPrefix: "", includeRequestHeaders: [], includeAdditionalHeaders: [], includeRequestBody: undefined, headersToUpstreamOnAllow: [], headersToDownstreamOnDeny: [], headersToDownstreamOnAllow: [], ...more,
});

describe("planRequest: external checks (l7-authz 5)", () => {
  const custom = policy({ action: "custom", provider: "opa", name: "ask", rules: atPath("/a") });
  const c = (more: Partial<AuthorizationProvider> = {}, policies = [custom]): WaypointConfig => config({ policies, authorizationProviders: new Map([["opa", provider(more)], ["opa-2", provider({ name: "opa-2" })]]) });
  const says = (verdict: CheckFacts["verdict"]): Partial<RequestFacts> => ({ target: "/a", checks: new Map([["opa", { provider: "opa", verdict }]]) });
  const allow: CheckFacts["verdict"] = { kind: "allow", set: [["x-user", "7"]], append: [], remove: ["x-secret"], toDownstream: [["x-quota", "1"]], query: { set: [["q", "a b"]], remove: ["r"] } };
  const failed = (bodyTooLarge: boolean): CheckFacts["verdict"] => ({ kind: "failed", why: "refused", bodyTooLarge });
  const cases: [string, RequestPlan, string][] = [
    ["asked where a policy matches", plan(c(), { target: "/a" }), "need check"], ["not elsewhere", plan(c(), { target: "/b" }), "shop/web /b"], ["allowed", plan(c(), says(allow)), "shop/web /a?q=a%20b"], ["denied in its words", plan(c(), says({ kind: "deny", status: 401, headers: [], body: "no" })), "401 UAEX ext_authz_denied"],
    ["failed: closed", plan(c(), says(failed(false))), "403 UAEX ext_authz_error{refused}"], ["failed: with its own status", plan(c({ statusOnError: 503 }), says(failed(false))), "503 UAEX ext_authz_error{refused}"], ["failed: open", plan(c({ failOpen: true }), says(failed(false))), "shop/web /a"],
    ["a body too long is 413 even then", plan(c({ failOpen: true }), says(failed(true))), "413 UAEX request_payload_too_large"], ["allowed, and then denied", plan(c({}, [custom, policy({ action: "deny", name: "no" })]), says(allow)), "403 - rbac_access_denied_matched_policy[ns[shop]-policy[no]-rule[0]]"],
    ["a provider that nobody configured denies what the policy matches", plan(config({ policies: [custom] }), { target: "/a" }), "403 - rbac_access_denied_matched_policy[ns[shop]-policy[ask]-rule[0]-deny-due-to-bad-CUSTOM-action]"], ["and nothing else", plan(config({ policies: [custom] }), { target: "/b" }), "shop/web /b"],
    ["names of providers are whole: opa is not opa-2", plan(c({}, [policy({ action: "custom", provider: "opa-2", rules: atPath("/a") })]), says(allow)), "need check"], ["dry run does not ask", plan(c({}, [policy({ action: "custom", provider: "opa", dryRun: true })])), "shop/web /"],
  ];
  for (const [name, p, expected] of cases) it(name, () => assert.equal(outcome(p), expected));
  it("its changes reach the application and the client", () => {
    const p = plan(c(), { ...says(allow), target: "/a?r=1", fields: ["x-user", "forged", "x-secret", "s"] });
    assert.deepEqual(["x-user", "x-secret"].map((n) => fieldValue(fields(p), n)), ["7", undefined]);
    assert.deepEqual(p.kind === "forward" && p.answer, [{ set: [["x-quota", "1"]], add: [], remove: [] }]);
  });
});

describe("planRequest: what a policy is attached to (l7-authz 1.3)", () => {
  const deny = (targets: RequestPolicy["targets"]): RequestPolicy => policy({ action: "deny", name: "d", targets });
  const pod = connection(view, { destination: { kind: "workload", workload: view.workloadAt("", "10.0.0.1" as Ip)! } });
  const onRoute = (name: string, ruleName?: string): RequestPolicy["targets"] => [{ kind: "route", route: { kind: "HTTPRoute", namespace: "shop", name, ruleName } }];
  const named = [route({}, { origin: { ...route({}).origin, ruleName: "main" } })];
  const cases: [string, RequestPolicy["targets"], Partial<RequestFacts>, boolean][] = [
    ["the waypoint", [{ kind: "waypoint" }], {}, true], ["the service", [{ kind: "service", service: "shop/web" }], {}, true], ["another service", [{ kind: "service", service: "shop/v1" }], {}, false], ["one of several", [{ kind: "service", service: "shop/v1" }, { kind: "waypoint" }], {}, true],
    ["pod traffic: the waypoint", [{ kind: "waypoint" }], { connection: pod }, true], ["pod traffic: not the service", [{ kind: "service", service: "shop/web" }], { connection: pod }, false], ["the route", onRoute("routes"), {}, true], ["its named rule", onRoute("routes", "main"), {}, true], ["another rule", onRoute("routes", "other"), {}, false], ["another route", onRoute("other"), {}, false],
  ];
  for (const [name, targets, more, denies] of cases) it(name, () => assert.equal(outcome(plan(routed(named, { policies: [deny(targets)] }), more)).startsWith("403"), denies));
  it("AUDIT and dry runs are remarked, whatever comes of it", () => {
    const p = plan(config({ policies: [policy({ action: "audit", name: "a" }), policy({ action: "deny", name: "dry", dryRun: true }), deny([{ kind: "waypoint" }])] }));
    assert.deepEqual(p.kind === "reply" && p.remarks, [{ kind: "audit", policy: "shop/a", rule: 0 }, { kind: "dry-run-deny", policy: "shop/dry", rule: 0 }]);
  });
});

describe("remoteIp: who the client is behind proxies that forward", () => {
  const cases: [number, string | undefined, string][] = [[0, undefined, "10.0.0.9"], [0, "1.1.1.1, 2.2.2.2", "2.2.2.2"], [1, "1.1.1.1, 2.2.2.2", "1.1.1.1"], [2, "1.1.1.1, 2.2.2.2", "10.0.0.9"], [0, "nonsense", "10.0.0.9"]];
  for (const [trustedProxies, forwarded, expected] of cases) it(`${trustedProxies} trusted, ${forwarded ?? "nothing said"}`, () => assert.equal(remoteIp({ trustedProxies }, request(view, { fields: forwarded === undefined ? [] : ["x-forwarded-for", forwarded] })), expected));
});

describe("planTcp", () => {
  const cidr = (text: string): Cidr => { const c = parseCidr(text); assert.ok(c.ok); return c.value; };
  const backends = [backend("v1")];
  const origin = { ...route({}).origin, kind: "TLSRoute" as const };
  const routes = (kind: "tls" | "tcp", ...list: { readonly sniHosts: readonly string[]; readonly to?: string; readonly sourceNamespace?: string; readonly subnets?: readonly string[] }[]): WaypointConfig => config({ services: new Map([["shop/web", { consumers: new Map(), producer: new Map([[80, { kind, routes: list.map((r) => ({ origin, sniHosts: r.sniHosts, sourceNamespace: r.sourceNamespace, sourceLabels: {}, ...(r.subnets === undefined ? {} : { destinationSubnets: r.subnets.map(cidr) }), backends: r.to === undefined ? backends : [backend(r.to)] })) }]]) }]]) });
  const asking = (protocol: "http" | "grpc"): WaypointConfig => config({ policies: [policy({ action: "custom", provider: "opa", name: "c" })], authorizationProviders: new Map([["opa", { ...provider(), protocol }]]) });
  const tcp = (c: WaypointConfig, sni?: string, verdict?: CheckFacts["verdict"]): string => { const p = planTcp(c, view, connection(view), sni, noChance, verdict && new Map([["opa", { provider: "opa", verdict }]])); return p.kind === "need" ? `need ${p.need.provider}` : p.kind === "close" ? `close ${p.flag} ${p.details}` : p.to.kind === "service" ? p.to.backend.service : "pod"; };
  const sni = routes("tls", { sniHosts: ["a.io"], to: "v1" }, { sniHosts: ["*.io"], to: "v2" });
  const cases: [string, string, string][] = [
    ["no routes", tcp(config()), "shop/web"], ["routes for HTTP have no say over what is none", tcp(routed([route({})])), "shop/web"], ["TCPRoute", tcp(routes("tcp", { sniHosts: [] })), "shop/v1"], ["SNI", tcp(sni, "a.io"), "shop/v1"], ["SNI by wildcard", tcp(sni, "b.io"), "shop/v2"],
    ["no such SNI", tcp(sni, "b.com"), "close NR filter_chain_not_found"], ["no SNI", tcp(sni), "close NR filter_chain_not_found"], ["source namespace", tcp(routes("tcp", { sniHosts: [], sourceNamespace: "other" }, { sniHosts: [], sourceNamespace: "team", to: "v2" })), "shop/v2"],
    ["denied", tcp(config({ policies: [policy({ action: "deny", name: "d", rules: atPath("/a") })] })), "close - rbac_access_denied_matched_policy[ns[shop]-policy[d]-rule[0]]"], ["CUSTOM over HTTP cannot be asked, and is not passed by", tcp(asking("http")), "close UAEX ext_authz_denied_on_tcp[ns[shop]-policy[c]-rule[0]]"], ["CUSTOM over gRPC is asked", tcp(asking("grpc")), "need opa"],
    ["and allows", tcp(asking("grpc"), undefined, { kind: "allow", set: [], append: [], remove: [], toDownstream: [] }), "shop/web"], ["or denies", tcp(asking("grpc"), undefined, { kind: "deny", status: 403, headers: [], body: "" }), "close UAEX ext_authz_denied"],
    ["or fails", tcp(asking("grpc"), undefined, { kind: "failed", why: "x", bodyTooLarge: false }), "close UAEX ext_authz_error{x}"], ["a provider that nobody configured", tcp(config({ policies: [policy({ action: "custom", provider: "opa", name: "c" })] })), "close - rbac_access_denied_matched_policy[ns[shop]-policy[c]-rule[0]-deny-due-to-bad-CUSTOM-action]"],
    ["unknown backend", tcp(routes("tcp", { sniHosts: [], to: "none" })), "close NC cluster_not_found"],
    ["subnets of what was dialled", tcp(routes("tcp", { sniHosts: [], subnets: ["192.0.2.0/24"] }, { sniHosts: [], subnets: ["198.51.100.0/24", "10.96.0.0/12"], to: "v2" })), "shop/v2"], ["none of them", tcp(routes("tcp", { sniHosts: [], subnets: ["192.0.2.0/24"] })), "close NR filter_chain_not_found"],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.equal(actual, expected));
});

describe("choosePortProtocol", () => {
  const declared = (appProtocol: "unknown" | "http11" | "http2" | "grpc" | "tcp" | "tls") => { const service = view.service("shop/web")!; return connection(view, { destination: { kind: "service", service: { ...service, ports: new Map([[80, { servicePort: 80, targetPort: 8080, appProtocol }]]) } } }); };
  const typed = (appProtocol: "tcp") => ({ ...view.service("shop/web")!, ports: new Map([[80, { servicePort: 80, targetPort: 8080, appProtocol }]]) });
  const pod = connection(view, { destination: { kind: "workload", workload: view.workloadAt("", "10.0.0.1" as Ip)! }, address: { ip: "10.0.0.1" as Ip, port: 8080 } });
  const http = routed([route({})]);
  const grpc = config({ services: new Map([["shop/web", { producer: new Map([[80, { kind: "grpc", routes: [], fallThrough: false }]]), consumers: new Map() }]]) });
  const tls = config({ services: new Map([["shop/web", { producer: new Map([[80, { kind: "tls", routes: [] }]]), consumers: new Map() }]]) });
  const cases: [string, string, string][] = [
    ["http11", choosePortProtocol(config(), view, declared("http11")), "http1"], ["http2", choosePortProtocol(config(), view, declared("http2")), "http2"], ["grpc", choosePortProtocol(config(), view, declared("grpc")), "grpc"], ["tcp", choosePortProtocol(config(), view, declared("tcp")), "tcp"], ["unknown", choosePortProtocol(config(), view, declared("unknown")), "detect"],
    ["an HTTPRoute does not break a TCP port (MeshPorts)", choosePortProtocol(http, view, declared("tcp")), "tcp"], ["nor a TLS port", choosePortProtocol(http, view, declared("tls")), "tls"], ["a GRPCRoute says what an undeclared port speaks", choosePortProtocol(grpc, view, declared("unknown")), "grpc"], ["a TLSRoute takes the port", choosePortProtocol(tls, view, declared("http11")), "tls"],
    ["pod traffic: as a service of the pod says", choosePortProtocol(config(), { service: () => typed("tcp") }, pod), "tcp"], ["pod traffic that nothing says anything of", choosePortProtocol(config(), view, pod), "detect"],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.equal(actual, expected));
});

describe("explainRequest", () => {
  const explain = (c: WaypointConfig, more: Partial<RequestFacts> = {}) => explainRequest({ config: c, view, facts: request(view, more), network: "", random: () => 0 });
  it("names route, endpoint and effects", () => {
    const c = routed([route({ path: { kind: "exact", value: "/x", ignoreCase: false } }), route({}, { timeouts: { requestMs: 500, attemptMs: undefined } })]);
    const { outcome: o, summary, passedOver, policy: words, effects } = explain(c);
    assert.deepEqual([o, summary], ["allowed", "goes to Kubernetes//Pod/shop/v1-1 port 8080 through the tunnel to 10.0.0.3, as GET web/"]);
    assert.deepEqual(passedOver, ["HTTPRoute shop/routes rule 0 match 0 wants path exact /x"]);
    assert.deepEqual(effects, ["times out after 500 ms", "is tried again up to 2 times on connect-failure"]);
    assert.equal(words.at(-1), "allowed: no ALLOW policy applies and no DENY policy matches");
  });
  const cases: [string, WaypointConfig, Partial<RequestFacts>, string][] = [
    ["denied", config({ policies: [policy({ action: "deny", name: "d" })] }), {}, "denied"], ["answered", routed([]), {}, "answered"], ["a token cannot be verified here", config({ authentications: [authentication()] }), { fields: ["authorization", "Bearer x"] }, "unknown"], ["no token is a fact", config({ authentications: [authentication()] }), {}, "allowed"],
    ["a provider", config({ policies: [policy({ action: "custom", provider: "p" })], authorizationProviders: new Map([["p", { name: "p" } as AuthorizationProvider]]) }), {}, "unknown"],
  ];
  for (const [name, c, more, expected] of cases) it(name, () => assert.equal(explain(c, more).outcome, expected));
});
