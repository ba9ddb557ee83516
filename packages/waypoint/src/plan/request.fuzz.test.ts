// Hostile requests against generated configurations: a plan always comes, the same for the same input, and never one that a policy forbids or that
// would leave with what must not leave.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Fraction, HttpRoute, PathMatch, RequestPolicy } from "@ambit/core";
import type { RequestFacts } from "../facts.ts";
import { backend, jwtRule, operation, policy, request, route, routed, world } from "./plan.fixture.ts";
import { planRequest } from "./request.ts";

const view = world();
const word = fc.constantFrom("a", "admin", "..", ".", "%2e%2e", "%2F", "\\", "", "%00", "é", "{*}", "%", "x".repeat(300), "?", "#", "*");
const target = fc.oneof({ weight: 8, arbitrary: fc.array(word, { maxLength: 4 }).map((w) => `/${w.join("/")}`) }, fc.string(), fc.constantFrom("*", "", "//", "/..", "http://a/b", "/a?b=%zz&b", "?", "#"));
const name = fc.constantFrom("connection", "te", "host", "cookie", "authorization", "x-forwarded-for", "grpc-timeout", "origin", "access-control-request-method", "x-a", "x-sub", "upgrade", "content-type", "x-envoy-retry-on");
const value = fc.oneof(fc.string(), fc.constantFrom("close, x-a", "trailers", "Bearer a.b.c", "1S", "https://a.com", "PUT", "1.2.3.4, 5", "a=b; c", "", ","));
const fields = fc.array(fc.tuple(name, value), { maxLength: 8 }).map((f) => f.flat());
const path: fc.Arbitrary<PathMatch> = fc.record({ kind: fc.constantFrom("exact", "path-prefix", "path-prefix", "prefix", "prefix", "regex"), value: fc.constantFrom("/", "/", "/", "/", "/a", "/a/", "/admin", "/(a|b)*", "("), ignoreCase: fc.boolean() });
const share: fc.Arbitrary<Fraction> = fc.record({ numerator: fc.integer({ min: 0, max: 2 }), denominator: fc.integer({ min: 0, max: 2 }) });
const change = fc.record({ set: fc.constantFrom([], [["x-b", "1"] as const], [["host", "other"] as const]), add: fc.constantFrom([], [["x-a", "2"] as const]), remove: fc.constantFrom([], ["x-a", ":path"]) });
const anyRoute: fc.Arbitrary<HttpRoute> = fc.record({
  match: fc.record({ path: fc.option(path, { nil: undefined }), headers: fc.constantFrom([], [], [], [{ name: "x-a", value: { kind: "regex" as const, value: "(a+)+" }, invert: false }]), claims: fc.constantFrom([], [{ path: ["g"], value: { kind: "present" as const }, invert: true }]) }),
  more: fc.record({
    action: fc.oneof(
      fc.constantFrom(0, 1).map((w) => ({ kind: "forward" as const, backends: [backend("v1", 3 * w), backend("v2", 3 - 3 * w), { kind: "invalid" as const, weight: 1, why: "x", filters: backend("v1").filters }] })),
      fc.record({ kind: fc.constant("redirect" as const), redirect: fc.record({ scheme: fc.constantFrom(undefined, "https"), hostname: fc.constantFrom(undefined, "o.io"), port: fc.constantFrom(undefined, 8080, "derive-from-scheme" as const), path: fc.constantFrom(undefined, { kind: "prefix" as const, value: "/p" }), status: fc.constant(302) }) }),
    ),
    fault: fc.option(fc.record({ delay: fc.option(fc.record({ ms: fc.nat(10), fraction: share }), { nil: undefined }), abort: fc.constant(undefined) }), { nil: undefined }),
    filters: fc.record({ request: fc.option(change, { nil: undefined }), response: fc.option(change, { nil: undefined }), rewrite: fc.constantFrom(undefined, { hostname: undefined, path: { kind: "prefix" as const, value: "/r" } }, { hostname: "h", path: { kind: "regex" as const, pattern: "(a|.)*", substitution: "\\1\\9" } }), mirrors: fc.array(share.map((fraction) => ({ backend: { service: "shop/v2", port: 80, subset: undefined }, fraction })), { maxLength: 2 }) }),
  }),
}).map(({ match, more }) => route(match, more));
const denied: readonly RequestPolicy[] = [policy({ action: "deny", name: "no-admin", rules: [{ from: [], when: [], to: [operation({ paths: { any: [{ kind: "exact", value: "/admin" }, { kind: "prefix", value: "/admin/" }], not: [] } })] }] })];
const facts: fc.Arbitrary<Partial<RequestFacts>> = fc.record({
  target, fields, method: fc.constantFrom(...Array.from({ length: 12 }, () => "GET"), "POST", "OPTIONS", "CONNECT", "get", "", "G T"), authority: fc.oneof({ weight: 9, arbitrary: fc.constantFrom("web", "web", "web", "web:80", "", "[::1]:80", "a:b:c", "web.") }, { weight: 1, arbitrary: fc.string() }), grpc: fc.boolean(), upgrade: fc.constantFrom(...Array.from({ length: 12 }, () => undefined), "websocket", "h2c", ""),
  token: fc.constantFrom(undefined, { kind: "none" as const }, { kind: "none" as const }, { kind: "valid" as const, tokens: [{ issuer: "https://issuer", subject: "s", claims: { g: ["x"], sub: "me" }, payload: "e30", rule: 0, location: { kind: "header" as const, name: "authorization" } }] }),
});

describe("planRequest under hostile requests", () => {
  it("always plans, always the same, and lets nothing out that must stay", function () {
    this.timeout(60_000);
    const seen = { forward: 0, reply: 0, need: 0 };
    fc.assert(fc.property(fc.array(anyRoute, { minLength: 1, maxLength: 4 }), facts, fc.nat(), (routes, more, seed) => {
      const config = routed(routes, { policies: denied, authentications: [{ namespace: "shop", name: "j", targets: [{ kind: "service", service: "shop/web" }], refused: undefined, rules: [jwtRule({ outputClaimToHeaders: [{ header: "x-sub", claim: "sub" }] })] }] });
      const chance = (): (() => number) => { let n = seed; return () => ((n = (n * 16_807 + 7) % 2_147_483_647) / 2_147_483_647); };
      const plan = planRequest(config, view, request(view, more), chance());
      assert.deepEqual(planRequest(config, view, request(view, more), chance()), plan);
      seen[plan.kind]++;
      if (plan.kind === "reply") return void assert.ok(plan.reply.status >= 200 && plan.reply.status < 600 && !/\s/.test(plan.reply.details), plan.reply.details);
      if (plan.kind !== "forward") return;
      const names = plan.head.fields.filter((_, i) => i % 2 === 0);
      for (const gone of ["connection", "upgrade", "host", "x-envoy-retry-on"]) assert.ok(!names.includes(gone), gone);
      assert.ok(plan.head.target.startsWith("/") || plan.head.target.startsWith("*"), plan.head.target);
      if (more.token?.kind !== "valid") assert.ok(!names.includes("x-sub"), "a forged claim");
      const asked = plan.head.fields[plan.head.fields.indexOf("x-envoy-original-path") + 1] ?? "";
      const judged = names.includes("x-envoy-original-path") ? asked : plan.head.target;
      assert.ok(!/^\/admin(?:[/?]|$)/.test(judged), judged);
    }), { numRuns: 4000, seed: 21 });
    assert.ok(seen.forward > 100 && seen.reply > 100 && seen.need > 100, JSON.stringify(seen));
  });
});
