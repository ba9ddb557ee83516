import assert from "node:assert/strict";
import { Graph } from "@ambit/collections";
import { KubeError, type KubeClient, type KubeObject, type Node, type Pod } from "@ambit/kube";
import { createLogger, systemClock } from "@ambit/runtime";
import { keepNodesUntainted, readyAgentNode, untaint } from "./node-taint.ts";

const TAINT = "cni.istio.io/not-ready";
const MORE = { key: "gpu", value: "yes", effect: "NoSchedule" };
const node = (...taints: { key: string; effect: string }[]): Node => ({ metadata: { name: "n1" }, spec: { taints } });
const agent = (more: { ready?: string; labels?: Record<string, string>; namespace?: string; deletionTimestamp?: string } = {}): Pod => ({
  metadata: { name: "istio-cni-node-x", namespace: more.namespace ?? "istio-system", labels: more.labels ?? { "k8s-app": "istio-cni-node" }, ...(more.deletionTimestamp === undefined ? {} : { deletionTimestamp: more.deletionTimestamp }) },
  spec: { nodeName: "n1", containers: [] }, status: { conditions: [{ type: "Ready", status: more.ready ?? "True" }] },
} as unknown as Pod);

describe("the startup taint", () => {
  const cases: [string, Pod, string | undefined][] = [
    ["a ready agent", agent(), "n1"], ["one that is not ready", agent({ ready: "False" }), undefined], ["another pod", agent({ labels: {} }), undefined],
    ["one of that name elsewhere", agent({ namespace: "app" }), undefined], ["one that is going", agent({ deletionTimestamp: "now" }), undefined],
  ];
  for (const [what, pod, want] of cases) it(`${what} readies ${want ?? "nothing"}`, () => assert.equal(readyAgentNode(pod, "istio-system"), want));

  it("is taken away with all its effects, others stay, on what was read", () => {
    const both = [{ key: TAINT, effect: "NoSchedule" }, MORE, { key: TAINT, effect: "NoExecute" }];
    assert.deepEqual(untaint(node(...both), TAINT), [{ op: "test", path: "/spec/taints", value: both }, { op: "replace", path: "/spec/taints", value: [MORE] }]);
    assert.equal(untaint(node(MORE), TAINT), undefined);
    assert.equal(untaint({ metadata: { name: "n1" } }, TAINT), undefined);
  });

  it("goes when the agent is ready, whoever comes first, and a race is no failure", async () => {
    const g = new Graph();
    const nodes = g.source<KubeObject>("nodes", { key: (o) => o.metadata.name });
    const pods = g.source<Pod>("pods", { key: (o) => o.metadata.name });
    const patched: unknown[] = [];
    let seen: () => void = () => undefined;
    const patch = (...args: readonly unknown[]): Promise<never> => { patched.push([args[2], args[4]]); seen(); return Promise.reject(new KubeError(422, "Invalid", "the test failed")); };
    const next = () => new Promise<void>((resolve) => { seen = resolve; });
    const kept = keepNodesUntainted({ client: { patch: patch as KubeClient["patch"] }, nodes, pods, agentNamespace: "istio-system", taint: TAINT, clock: systemClock, log: createLogger("x", { write: (line) => assert.fail(line) }) });
    nodes.set(node({ key: TAINT, effect: "NoSchedule" }) as KubeObject);
    pods.set(agent({ ready: "False" }));
    kept.resume(kept.keys());
    const first = next();
    pods.set(agent());
    await first;
    const second = next();
    nodes.set({ ...node({ key: TAINT, effect: "NoSchedule" }, MORE) } as KubeObject);
    await second;
    assert.deepEqual(patched, [["n1", { type: "json" }], ["n1", { type: "json" }]]);
    await kept.stop();
  });
});
