import assert from "node:assert/strict";
import type { AuthorizationProvider } from "@ambit/core";
import { externalAuth } from "@ambit/proto";
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { request, world } from "../plan/plan.fixture.ts";
import { checkConnection, checkExternally, type CheckAnswer, type CheckMessage, type CheckPorts } from "./external-check.ts";

const view = world();
const provider = (more: Partial<AuthorizationProvider> = {}): AuthorizationProvider => ({
  name: "opa", protocol: "http", service: "auth/opa.auth.svc.cluster.local", port: 9191, timeoutMs: 1000, failOpen: false, statusOnError: 403, pathPrefix: "", includeRequestHeaders: [], includeAdditionalHeaders: [],
  includeRequestBody: undefined, headersToUpstreamOnAllow: [], headersToDownstreamOnDeny: [], headersToDownstreamOnAllow: [], ...more,
});
const answer = (status: number, fields: readonly string[] = [], body = ""): CheckAnswer => ({ status, fields, trailers: [], body: new TextEncoder().encode(body) });
const BODY = new TextEncoder().encode("hello, body");

async function check(p: AuthorizationProvider, reply: CheckAnswer | Error, fields: readonly string[] = []) {
  const sent: CheckMessage[] = [];
  let disposed = 0;
  const ports: CheckPorts = {
    send: async (_provider, message) => { sent.push(message); if (reply instanceof Error) throw reply; return reply; },
    deadline: () => ({ signal: new AbortController().signal, dispose: () => { disposed++; } }),
    peek: async (max) => ({ bytes: BODY.subarray(0, max), complete: max >= BODY.length }),
  };
  const { verdict } = await checkExternally(p, { facts: request(view, { method: "POST", target: "/a/../b?c=1" }), fields, policy: "ns[a]-policy[b]-rule[0]", pathNormalization: "base" }, ports);
  assert.equal(disposed, 1);
  return { verdict, sent: sent[0] };
}

describe("ext_authz over HTTP: what is asked (l7-authz 5)", () => {
  it("method, host, normalised path behind the prefix, Authorization, and only what is listed", async () => {
    const { sent } = await check(provider({ pathPrefix: "/check/", includeRequestHeaders: ["x-user", "X-A-*", "*-z"], includeAdditionalHeaders: [["x-from", "mesh"], ["x-user", "ours"]] }), answer(200),
      ["authorization", "Bearer t", "x-user", "u", "x-a-b", "1", "b-z", "2", "cookie", "secret", "content-length", "99"]);
    assert.deepEqual(sent, { protocol: "http1", method: "POST", authority: "web", target: "/check/b?c=1", body: new Uint8Array(),
      fields: ["authorization", "Bearer t", "x-a-b", "1", "b-z", "2", "x-from", "mesh", "x-user", "ours"] });
  });
  it("the body, cut where that is allowed", async () => {
    const { sent } = await check(provider({ includeRequestBody: { maxBytes: 5, allowPartial: true, packAsBytes: false } }), answer(200));
    assert.equal(new TextDecoder().decode(sent?.body), "hello");
    assert.deepEqual(sent?.fields, ["x-envoy-auth-partial-body", "true"]);
  });
  it("a body that is too long is never sent", async () => {
    const { verdict, sent } = await check(provider({ includeRequestBody: { maxBytes: 5, allowPartial: false, packAsBytes: false } }), new Error("must not be sent"));
    assert.equal(sent, undefined);
    assert.ok(verdict.kind === "failed" && verdict.bodyTooLarge);
  });
});

describe("ext_authz over HTTP: what the answer means", () => {
  const lists = { headersToUpstreamOnAllow: ["x-user-*"], headersToDownstreamOnAllow: ["x-quota"] };
  it("200 allows, with listed headers", async () => assert.deepEqual((await check(provider(lists), answer(200, ["x-user-id", "7", "x-quota", "1", "x-other", "2"]))).verdict, { kind: "allow", append: [], remove: [], set: [["x-user-id", "7"]], toDownstream: [["x-quota", "1"]] }));
  it("or, where all are wanted, with all that are not about the answer itself", async () => assert.deepEqual(
    (await check(provider({ headersToUpstreamOnAllow: ["*"] }), answer(200, ["x-user-id", "7", "content-type", "text/html", "content-length", "0", "host", "opa", "date", "now", "server", "opa", "connection", "close", "set-cookie", "a=1"]))).verdict,
    { kind: "allow", append: [], remove: [], set: [["x-user-id", "7"], ["set-cookie", "a=1"]], toDownstream: [] }));
  it("201 denies", async () => assert.equal((await check(provider(), answer(201))).verdict.kind, "deny"));
  it("5xx is a failure", async () => assert.equal((await check(provider(), answer(500))).verdict.kind, "failed"));
  it("no answer is a failure", async () => assert.deepEqual((await check(provider(), new Error("refused"))).verdict, { kind: "failed", why: "refused", bodyTooLarge: false }));
  it("a denial has its body and, nothing being listed, all its headers but framing", async () =>
    assert.deepEqual((await check(provider(), answer(401, ["www-authenticate", "Basic", "x-a", "1", "content-length", "2", "transfer-encoding", "chunked"], "no"))).verdict, { kind: "deny", status: 401, headers: [["www-authenticate", "Basic"], ["x-a", "1"]], body: "no" }));
  it("or those that are listed", async () => assert.deepEqual((await check(provider({ headersToDownstreamOnDeny: ["x-a"] }), answer(302, ["location", "/login", "x-a", "1", "x-b", "2"]))).verdict, { kind: "deny", status: 302, headers: [["location", "/login"], ["x-a", "1"]], body: "" }));
});

describe("ext_authz over gRPC", () => {
  const grpc = (response: MessageInitShape<typeof externalAuth.CheckResponseSchema>, status = "0"): CheckAnswer => {
    const message = toBinary(externalAuth.CheckResponseSchema, create(externalAuth.CheckResponseSchema, response));
    const frame = new Uint8Array(5 + message.length);
    new DataView(frame.buffer).setUint32(1, message.length);
    frame.set(message, 5);
    return { status: 200, fields: [], trailers: ["grpc-status", status], body: frame };
  };
  const GRPC = provider({ protocol: "grpc", includeRequestBody: { maxBytes: 100, allowPartial: false, packAsBytes: true } });

  it("asks with everything that is known, every line of a header included (S5)", async () => {
    const { sent } = await check(GRPC, grpc({ status: {} }), ["x-role", "user", "x-role", "admin"]);
    assert.deepEqual([sent?.protocol, sent?.target, sent?.authority], ["http2", "/envoy.service.auth.v3.Authorization/Check", "opa.auth.svc.cluster.local:9191"]);
    const { attributes } = fromBinary(externalAuth.CheckRequestSchema, sent?.body.subarray(5) ?? new Uint8Array());
    assert.equal(attributes?.source?.principal, "spiffe://cluster.local/ns/team/sa/client");
    assert.equal(attributes?.source?.address?.socketAddress?.address, "10.0.0.9");
    const http = attributes?.request?.http;
    assert.deepEqual([http?.method, http?.path, http?.host, http?.size, new TextDecoder().decode(http?.rawBody)], ["POST", "/b?c=1", "web", 11n, "hello, body"]);
    assert.equal(http?.headers["x-role"], "user,admin");
    assert.equal(http?.headers[":path"], "/b?c=1");
  });
  it("allows with changes", async () => {
    const { verdict } = await check(GRPC, grpc({ status: { code: 0 }, httpResponse: { case: "okResponse", value: {
      headers: [{ header: { key: "X-A", value: "1" } }, { header: { key: "x-b", value: "2" }, append: true }], headersToRemove: ["X-C", "host"],
      responseHeadersToAdd: [{ header: { key: "x-d", value: "3" } }], queryParametersToSet: [{ key: "q", value: "4" }],
    } } }));
    assert.deepEqual(verdict, { kind: "allow", set: [["x-a", "1"]], append: [["x-b", "2"]], remove: ["x-c"], toDownstream: [["x-d", "3"]], query: { set: [["q", "4"]], remove: [] } });
  });
  it("a header with a line break in it is left out", async () => {
    const { verdict } = await check(GRPC, grpc({ status: { code: 0 }, httpResponse: { case: "okResponse", value: { headers: [{ header: { key: "x-a", value: "1\r\nx-b: 2" } }, { header: { key: "x a", value: "1" } }] } } }));
    assert.ok(verdict.kind === "allow");
    assert.deepEqual(verdict.set, []);
  });
  const cases: [string, CheckAnswer, object][] = [
    ["denies, 403 by default", grpc({ status: { code: 7 } }), { kind: "deny", status: 403, headers: [], body: "" }],
    ["denies in its own words", grpc({ status: { code: 16 }, httpResponse: { case: "deniedResponse", value: { status: { code: 401 }, headers: [{ header: { key: "x-a", value: "1" } }], body: "no" } } }), { kind: "deny", status: 401, headers: [["x-a", "1"]], body: "no" }],
    ["an answer without status allows nothing", grpc({}), { kind: "failed", why: "the answer has no status", bodyTooLarge: false }],
    ["an error of the RPC", grpc({ status: { code: 0 } }, "14"), { kind: "failed", why: "the provider answered 200, grpc-status 14: ", bodyTooLarge: false }],
    ["bytes that are none", { status: 200, fields: [], trailers: ["grpc-status", "0"], body: Uint8Array.of(0, 0, 0, 0, 9, 1) }, { kind: "failed", why: "the answer is not one plain gRPC message", bodyTooLarge: false }],
  ];
  for (const [name, reply, expected] of cases) it(name, async () => assert.deepEqual((await check(GRPC, reply)).verdict, expected));
});

describe("ext_authz about a connection", () => {
  it("asks without a request", async () => {
    const sent: CheckMessage[] = [];
    const send = async (_p: AuthorizationProvider, message: CheckMessage) => { sent.push(message); return answer(200, ["grpc-status", "14"]); };
    const { verdict } = await checkConnection(provider({ protocol: "grpc" }), request(view).connection, "ns[a]-policy[b]-rule[0]", 0, { send, deadline: () => ({ signal: new AbortController().signal, dispose: () => {} }) });
    const { attributes } = fromBinary(externalAuth.CheckRequestSchema, sent[0]?.body.subarray(5) ?? new Uint8Array());
    assert.deepEqual([attributes?.request?.http, attributes?.destination?.address?.socketAddress?.portValue, attributes?.contextExtensions["policy"], verdict.kind], [undefined, 80, "ns[a]-policy[b]-rule[0]", "failed"]);
  });
});
