import assert from "node:assert/strict";
import type { Node, Pod } from "@ambit/kube";
import { planBudget, type DisruptionBudget } from "./disruption-budget.ts";
import { planGarbage, type OwnerState } from "./garbage.ts";
import { NODE, POD } from "./kinds.ts";
import { planNamespaceEnd } from "./namespace-lifecycle.ts";
import { planNode, planPodCollection } from "./node-lifecycle.ts";

const NOW = Date.parse("2026-01-01T01:00:00Z");
const ready = (status: string) => [{ type: "Ready", status }] as NonNullable<Node["status"]>["conditions"] & object;
const node = (status: string, taints: object[] = []): Node => ({ metadata: { name: "n", resourceVersion: "1" }, spec: { taints: taints as never }, status: { conditions: ready(status) as never } });
const pod = (name: string, tolerations: object[] = [], state = "True"): Pod =>
  ({ metadata: { name, namespace: "ns", uid: name, labels: { app: "x" } }, spec: { nodeName: "n", containers: [], tolerations }, status: { phase: "Running", conditions: ready(state) } }) as Pod;
const kinds = (plan: { actions: readonly { do: string }[] }): string[] => plan.actions.map((a) => a.do);

describe("planNode", () => {
  it("marks a silent node and its pods first, then taints it", () => {
    const first = planNode({ node: node("True"), liveness: "silent", pods: [pod("p")], now: NOW });
    assert.deepEqual(kinds(first), ["replace", "event", "merge"]);
    const [status] = first.actions;
    assert.ok(status?.do === "replace");
    const unknown = status.object as Node;
    assert.deepEqual(unknown.status?.conditions?.map((c) => [c.type, c.status, c.reason]), [["Ready", "Unknown", "NodeStatusUnknown"]]);
    const second = planNode({ node: unknown, liveness: "silent", pods: [], now: NOW });
    const [taint] = second.actions;
    assert.ok(taint?.do === "replace");
    assert.deepEqual((taint.object as Node).spec?.taints?.map((t) => [t.key, t.effect]), [["node.kubernetes.io/unreachable", "NoSchedule"], ["node.kubernetes.io/unreachable", "NoExecute"]]);
  });

  it("takes its own taints away when the node is back, and nobody else's", () => {
    const plan = planNode({ node: node("True", [{ key: "node.kubernetes.io/unreachable", effect: "NoExecute" }, { key: "mine", effect: "NoSchedule" }]), liveness: "alive", pods: [], now: NOW });
    const [write] = plan.actions;
    assert.ok(write?.do === "replace");
    assert.deepEqual((write.object as Node).spec?.taints?.map((t) => t.key), ["mine"]);
  });

  const tainted = (secondsAgo: number): Node => node("Unknown", [
    { key: "node.kubernetes.io/unreachable", effect: "NoSchedule" },
    { key: "node.kubernetes.io/unreachable", effect: "NoExecute", timeAdded: new Date(NOW - secondsAgo * 1000).toISOString() },
  ]);
  const evictions: [string, object[], number, string[], number | undefined][] = [
    ["waits out the default five minutes", [], 100, [], 200_000],
    ["evicts after them", [], 301, ["event", "delete"], undefined],
    ["obeys the pod's own seconds", [{ operator: "Exists", tolerationSeconds: 10 }], 11, ["event", "delete"], undefined],
    ["leaves pods that tolerate it for good", [{ operator: "Exists" }], 99_999, [], undefined],
  ];
  for (const [name, tolerations, ago, expected, again] of evictions) {
    it(name, () => {
      const plan = planNode({ node: tainted(ago), liveness: "silent", pods: [pod("p", tolerations, "False")], now: NOW });
      assert.deepEqual([kinds(plan), plan.againInMs], [expected, again]);
    });
  }

  it("evicts at once from a taint that nobody tolerates by default", () => {
    assert.deepEqual(kinds(planNode({ node: node("True", [{ key: "drain", effect: "NoExecute" }]), liveness: "alive", pods: [pod("p")], now: NOW })), ["event", "delete"]);
  });

  it("collects only pods whose node is gone", () => {
    assert.deepEqual(kinds(planPodCollection(pod("p"), undefined)), ["delete"]);
    assert.deepEqual(kinds(planPodCollection(pod("p"), node("True"))), []);
  });
});

describe("planGarbage", () => {
  const ref = { apiVersion: "v1", kind: "Node", name: "o", uid: "o" };
  const plan = (states: OwnerState[], finalizers: string[] = [], deleted = false, dependents: object[] = []) => planGarbage({
    kind: POD, object: { metadata: { name: "x", uid: "x", finalizers, ownerReferences: states.map((_, i) => ({ ...ref, uid: String(i) })), ...(deleted ? { deletionTimestamp: "t" } : {}) } },
    owners: states.map((state, i) => ({ ref: { ...ref, uid: String(i) }, state })),
    dependents: dependents.map((extra) => ({ kind: POD, object: { metadata: { name: "d", uid: "d", ownerReferences: [{ ...ref, uid: "x", ...extra }] } } })),
  }).actions.map((a) => (a.do === "delete" ? `delete ${a.propagation}` : a.do === "merge" ? `merge ${JSON.stringify((a.body as { metadata: { ownerReferences?: unknown; finalizers?: unknown } }).metadata)}` : a.do));

  it("keeps what has no owner or a living one", () => {
    assert.deepEqual([plan([]), plan(["solid"])], [[], []]);
  });
  it("deletes what has lost all owners", () => assert.deepEqual(plan(["absent", "absent"]), ["delete Background"]));
  it("only forgets the dead one of several owners", () => {
    assert.match(plan(["solid", "absent"])[0] ?? "", /^merge .*"uid":"0"/);
  });
  it("goes in the foreground when a waiting owner asks and others depend on it", () => {
    assert.deepEqual(plan(["waiting"], [], false, [{}]), ["delete Foreground"]);
    assert.deepEqual(plan(["waiting"]), ["delete Background"]);
  });
  it("waits in the foreground for those that block, not for the others", () => {
    assert.deepEqual(plan([], ["foregroundDeletion"], true, [{ blockOwnerDeletion: true }]), []);
    assert.match(plan([], ["foregroundDeletion", "other"], true, [{}])[0] ?? "", /"finalizers":\["other"\]/);
  });
  it("orphans: dependents are let go before the owner is", () => {
    const steps = plan([], ["orphan"], true, [{}]);
    assert.match(steps[0] ?? "", /"ownerReferences":null/);
    assert.match(steps[1] ?? "", /"finalizers":null/);
  });
});

describe("planNamespaceEnd", () => {
  const namespace = { metadata: { name: "ns", deletionTimestamp: "t" }, spec: { finalizers: ["kubernetes", "mine"] }, status: { phase: "Terminating" } };
  it("deletes what is left, says what holds it up, and looks again", () => {
    const content = [{ kind: POD, objects: [{ metadata: { name: "a" } }, { metadata: { name: "b", deletionTimestamp: "t", finalizers: ["f/f"] } }] }];
    const plan = planNamespaceEnd({ namespace, content, now: NOW });
    assert.deepEqual([kinds(plan), plan.againInMs], [["delete", "replace"], 1000]);
    const [, status] = plan.actions;
    assert.match(JSON.stringify(status), /pods\. has 2 resource instances.*f\/f in 1 resource instances/);
  });
  it("gives up only its own finalizer once all is gone", () => {
    const [write] = planNamespaceEnd({ namespace, content: [{ kind: NODE, objects: [] }], now: NOW }).actions;
    assert.ok(write?.do === "replace" && write.subresource === "finalize");
    assert.deepEqual((write.object["spec"] as { finalizers: string[] }).finalizers, ["mine"]);
  });
});

describe("planBudget", () => {
  const status = (spec: DisruptionBudget["spec"], pods: Pod[], disruptedPods?: Record<string, string>) => {
    const budget: DisruptionBudget = { metadata: { name: "b" }, spec: { selector: { matchLabels: { app: "x" } }, ...spec }, ...(disruptedPods ? { status: { disruptedPods } } : {}) };
    const [write] = planBudget({ budget, pods, wantedBy: () => ({ uid: "r", replicas: 4 }), now: NOW }).actions;
    assert.ok(write?.do === "replace");
    const s = write.object["status"] as Record<string, unknown>;
    return [s["expectedPods"], s["desiredHealthy"], s["currentHealthy"], s["disruptionsAllowed"]];
  };
  const four = ["a", "b", "c", "d"].map((n) => pod(n));
  it("counts from the owner's replicas", () => {
    assert.deepEqual(status({ minAvailable: 3 }, four), [4, 3, 4, 1]);
    assert.deepEqual(status({ maxUnavailable: "50%" }, four), [4, 2, 4, 2]);
    assert.deepEqual(status({ minAvailable: "100%" }, four), [4, 4, 4, 0]);
    assert.deepEqual(status({ minAvailable: 3 }, four.slice(1)), [4, 3, 3, 0]);
  });
  it("remembers evictions that were granted a moment ago", () => {
    assert.deepEqual(status({ minAvailable: 2 }, four, { a: new Date(NOW - 1000).toISOString() }), [4, 2, 3, 1]);
    assert.deepEqual(status({ minAvailable: 2 }, four, { a: new Date(NOW - 121_000).toISOString() }), [4, 2, 4, 2]);
  });
});
