// The mesh cases of the Gateway API's conformance suite for GRPCRoute, under their own names, and what a gRPC client sees of our own answers.
import assert from "node:assert/strict";
import { backendTlsCases } from "./backend-tls.fixture.ts";
import { grpcRoute, MESH, MeshBed, serverOf, toService } from "./bed.fixture.ts";

const grpcBackend = (name: string, more: object = {}): object => ({ name, port: 7070, ...more });
const URL_OF = (service: string): string => `grpc://${service}:7070/`;

describe("Gateway API conformance: mesh, GRPCRoute", function () {
  this.timeout(180_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let bed: MeshBed;
  before(async () => { bed = await MeshBed.start(); });
  after(() => bed?.stop());

  it("MeshGRPCRouteWeight", () => bed.with([grpcRoute("mesh-grpc-weight", {
    parentRefs: [toService("echo", 7070)], rules: [{ backendRefs: [grpcBackend("echo-v1", { weight: 70 }), grpcBackend("echo-v2", { weight: 30 }), grpcBackend("echo", { weight: 0 })] }],
  })], () => bed.eventually(async () => {
    const answers = await bed.ask(URL_OF("echo"), { count: 500 });
    const share = (name: string) => answers.filter((a) => serverOf(a) === name).length / answers.length;
    assert.deepEqual(answers.filter((a) => a.status !== 200), []);
    assert.ok(Math.abs(share("echo-v1") - 0.7) <= 0.05, `echo-v1 got ${share("echo-v1")}`);
    assert.ok(Math.abs(share("echo-v2") - 0.3) <= 0.05, `echo-v2 got ${share("echo-v2")}`);
  })));

  it("MeshGRPCRouteRequestHeaderModifier", () => {
    const rule = (value: string, requestHeaderModifier: object, name: string): object =>
      ({ matches: [{ headers: [{ name: "x-test-case", value }] }], filters: [{ type: "RequestHeaderModifier", requestHeaderModifier }], backendRefs: [grpcBackend(name)] });
    const ask = async (testCase: string, headers: Record<string, string> = {}) => {
      const answer = await bed.askOnce(URL_OF("echo"), { headers: { "x-test-case": testCase, ...headers } });
      assert.equal(answer.status, 200, JSON.stringify(answer));
      return answer;
    };
    return bed.with([grpcRoute("mesh-grpc-headers", { parentRefs: [toService("echo", 7070)], rules: [
      rule("set", { set: [{ name: "x-header-set", value: "set" }] }, "echo-v1"), rule("add", { add: [{ name: "x-header-add", value: "add" }] }, "echo-v2"),
      rule("remove", { remove: ["x-header-remove"] }, "echo-v1"),
      rule("all", { set: [{ name: "x-header-set", value: "set" }], add: [{ name: "x-header-add", value: "add" }], remove: ["x-header-remove"] }, "echo-v2"),
    ] })], () => bed.eventually(async () => {
      const set = await ask("set", { "x-header-set": "old" });
      assert.deepEqual([serverOf(set), set.seen?.headers["x-header-set"]], ["echo-v1", "set"]);
      const add = await ask("add", { "x-header-add": "old" });
      assert.deepEqual([serverOf(add), add.seen?.headers["x-header-add"]?.replace(/, /g, ",")], ["echo-v2", "old,add"]);
      const remove = await ask("remove", { "x-header-remove": "old" });
      assert.deepEqual([serverOf(remove), remove.seen?.headers["x-header-remove"]], ["echo-v1", undefined]);
      const all = await ask("all", { "x-header-set": "old", "x-header-remove": "old" });
      assert.deepEqual([serverOf(all), all.seen?.headers["x-header-set"], all.seen?.headers["x-header-add"], all.seen?.headers["x-header-remove"]], ["echo-v2", "set", "add", undefined]);
    }));
  });

  backendTlsCases(() => bed);

  it("a method that no rule names is UNIMPLEMENTED, one that a rule names is served", () => bed.with([grpcRoute("mesh-grpc-method", {
    parentRefs: [toService("echo", 7070)], rules: [{ matches: [{ method: { service: "proto.EchoTestService", method: "Echo" } }], backendRefs: [grpcBackend("echo-v1")] }],
  })], () => bed.eventually(async () => {
    assert.equal((await bed.askOnce(URL_OF("echo"))).grpcStatus, 0);
    assert.equal((await bed.askOnce("grpc://echo:7070/proto.EchoTestService/Other")).grpcStatus, 12);
  })));

  it("a backend that does not exist is UNAVAILABLE", () => bed.with([grpcRoute("mesh-grpc-broken", { parentRefs: [toService("echo", 7070)], rules: [{ backendRefs: [grpcBackend("gone")] }] })],
    () => bed.eventually(async () => assert.equal((await bed.askOnce(URL_OF("echo"))).grpcStatus, 14))));

  it("a denial is PERMISSION_DENIED", () => bed.with([{
    apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "no-echo", namespace: MESH },
    spec: { targetRefs: [{ group: "", kind: "Service", name: "echo" }], action: "DENY", rules: [{ to: [{ operation: { paths: ["/proto.EchoTestService/*"] } }] }] },
  }], () => bed.eventually(async () => assert.equal((await bed.askOnce(URL_OF("echo"))).grpcStatus, 7))));
});
