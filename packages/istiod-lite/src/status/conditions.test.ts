import assert from "node:assert/strict";
import { keysOf, policyStatus, statusToApply, STATUS_KINDS, type DesiredStatus, type StandingCondition } from "./conditions.ts";

const want: DesiredStatus = {
  key: "k", kind: "authorizationPolicies", namespace: "ns", name: "p", manager: "m", owns: ["ZtunnelAccepted"],
  problems: [], conditions: [{ type: "ZtunnelAccepted", status: "True", reason: "Accepted", message: "attached to ztunnel" }],
};
const standing = (over: Partial<StandingCondition> = {}): StandingCondition =>
  ({ type: "ZtunnelAccepted", status: "True", reason: "Accepted", message: "attached to ztunnel", observedGeneration: 3, lastTransitionTime: "2026-01-01T00:00:00Z", ...over });
const NOW = "2026-06-01T00:00:00Z";

describe("a status to apply", () => {
  const cases: [string, StandingCondition[], { lastTransitionTime: string } | "nothing"][] = [
    ["nothing stands", [], { lastTransitionTime: NOW }],
    ["it stands already", [standing()], "nothing"],
    ["a number came back as text", [standing({ observedGeneration: "3" })], "nothing"],
    ["others' conditions stand beside it", [standing(), standing({ type: "Other" })], "nothing"],
    ["only others' conditions stand", [standing({ type: "Other" })], { lastTransitionTime: NOW }],
    ["the generation moved: no transition", [standing({ observedGeneration: 2 })], { lastTransitionTime: "2026-01-01T00:00:00Z" }],
    ["the message changed: no transition", [standing({ message: "x" })], { lastTransitionTime: "2026-01-01T00:00:00Z" }],
    ["the status changed: a transition", [standing({ status: "False" })], { lastTransitionTime: NOW }],
  ];
  for (const [name, now, expected] of cases)
    it(name, () => {
      const got = statusToApply(want, now, 3, NOW);
      if (expected === "nothing") assert.equal(got, undefined);
      else assert.deepEqual(got, { conditions: [{ ...want.conditions[0], ...expected, observedGeneration: 3 }] });
    });

  it("takes away what it wrote and no longer wants, once", () => {
    const none = { ...want, conditions: [] };
    assert.deepEqual(statusToApply(none, [standing()], 3, NOW), { conditions: [] });
    assert.equal(statusToApply(none, [standing({ type: "Other" })], 3, NOW), undefined);
  });
  it("does not speak of a generation that an object does not have", () => {
    assert.deepEqual(statusToApply(want, [], undefined, NOW), { conditions: [{ ...want.conditions[0], lastTransitionTime: NOW }] });
  });
});

describe("field managers", () => {
  it("are the same in a desired status and when an object changes", () => {
    const statuses = policyStatus({ key: "ns/p", policy: undefined, attachment: undefined, outcome: { kind: "accepted" }, generation: 1, uid: "u" });
    assert.deepEqual(statuses.map((s) => s.key), keysOf("authorizationPolicies", "ns", "p"));
    assert.deepEqual(statuses.map((s) => s.manager), ["istio-ambient-ztunnel-policy", "istio-ambient-waypoint-policy"]);
    for (const kind of STATUS_KINDS) assert.ok(keysOf(kind, "a", "b").length > 0);
  });
  it("keep a name with slashes in its place", () => {
    assert.equal(new Set([...keysOf("services", "a", "b"), ...keysOf("serviceEntries", "a", "b")]).size, 2);
  });
  it("write messages of bounded length", () => {
    const [first] = policyStatus({ key: "ns/p", policy: undefined, attachment: undefined, outcome: { kind: "stricter", remarks: ["x".repeat(5_000)] }, generation: 1, uid: "u" });
    assert.equal(first?.conditions[0]?.message.length, 1_024);
  });
});
