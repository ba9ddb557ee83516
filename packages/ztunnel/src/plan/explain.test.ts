import assert from "node:assert/strict";
import { security, workload } from "@ambit/proto";
import { at, member, pod, stateOf, svc, type World } from "@ambit/proxy/testing";
import { explainConnection } from "./explain.ts";

const { TunnelProtocol } = workload;
const base: World = { workloads: [pod("client", "10.0.0.1"), pod("server", "10.0.0.2", { services: member("web") })], services: [svc("web", "10.96.0.1")] };

function explain(world: World, to: string) {
  const view = stateOf(world).view();
  const source = view.workload("Kubernetes//Pod/ns/client");
  assert.ok(source);
  const e = explainConnection({ view, source, destination: at(to), network: "", random: () => 0 });
  return { ...e, text: [...e.steps.map((s) => `${s.step}: ${s.saw} → ${s.chose}`), e.summary, ...e.policy].join("\n") };
}
const denyOthers: World = { ...base, policies: [{ name: "only-bob", namespace: "ns", scope: security.Scope.NAMESPACE, action: security.Action.ALLOW,
  rules: [{ clauses: [{ matches: [{ principals: [{ matchType: { case: "exact", value: "cluster.local/ns/ns/sa/bob" } }] }] }] }] }] };

describe("explainConnection", () => {
  it("follows a service through a tunnel to an allowed destination", () => {
    const e = explain(base, "10.96.0.1:80");
    assert.equal(e.outcome, "allowed");
    assert.match(e.text, /service ns\/web[^]*tunnel to 10\.0\.0\.2:15008 for 10\.0\.0\.2:8080[^]*mutual TLS as spiffe:\/\/cluster\.local\/ns\/ns\/sa\/client/);
  });
  it("names the policy and what it would have wanted", () => {
    const e = explain(denyOthers, "10.96.0.1:80");
    assert.equal(e.outcome, "denied");
    assert.match(e.text, /ns\/only-bob rule 0 clause 0 wants principals \[cluster\.local\/ns\/ns\/sa\/bob\]/);
  });
  it("names a missing policy as decisive", () => {
    const e = explain({ ...base, workloads: [pod("client", "10.0.0.1"), pod("server", "10.0.0.2", { authorizationPolicies: ["ns/gone"] })] }, "10.0.0.2:80");
    assert.deepEqual([e.outcome, e.decisivePolicy], ["denied", "ns/gone"]);
  });
  it("a source outside the mesh arrives without identity", () => {
    const e = explain({ ...denyOthers, workloads: [pod("client", "10.0.0.1", { tunnelProtocol: TunnelProtocol.NONE }), pod("server", "10.0.0.2")] }, "10.0.0.2:80");
    assert.equal(e.outcome, "denied");
    assert.match(e.text, /no identity \(plaintext\)/);
  });
  it("nothing checks a destination outside the mesh", () => assert.match(explain(base, "8.8.8.8:53").text, /leaves the mesh in plaintext/));
  it("a plan that refuses is the answer", () => assert.deepEqual(explain({ ...base, workloads: [pod("client", "10.0.0.1")] }, "10.96.0.1:80").outcome, "denied"));
});
