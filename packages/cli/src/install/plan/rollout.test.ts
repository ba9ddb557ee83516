import assert from "node:assert/strict";
import type { KubeObject, Pod } from "@ambit/kube";
import { isLate, rolloutOf, waitingFor } from "./rollout.ts";

const set = (status: object, generation = 2): KubeObject => ({ kind: "DaemonSet", metadata: { name: "z", namespace: "m", generation }, spec: { selector: { matchLabels: { app: "z" } } }, status: { observedGeneration: 2, ...status } });
const deployment = (status: object, replicas = 1): KubeObject => ({ kind: "Deployment", metadata: { name: "i", namespace: "m", generation: 2 }, spec: { replicas, selector: { matchLabels: { app: "i" } } }, status: { observedGeneration: 2, ...status } });
const pod = (app: string, hash: string, ready: boolean, more: { going?: boolean; phase?: string; namespace?: string } = {}): Pod => ({
  metadata: { name: "p", namespace: more.namespace ?? "m", labels: { app, "controller-revision-hash": hash }, ...(more.going === true ? { deletionTimestamp: "now" } : {}) },
  spec: { containers: [] }, status: { phase: more.phase ?? "Running", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
});
const BOTH = { desiredNumberScheduled: 2, numberReady: 2, updatedNumberScheduled: 2 };

describe("how far a rollout has come", () => {
  const CASES: readonly (readonly [what: string, object: KubeObject, pods: readonly Pod[], said: string])[] = [
    ["all new and ready", set(BOTH), [pod("z", "b", true), pod("z", "b", true)], ""],
    ["the controller has not seen it yet", set(BOTH, 3), [pod("z", "b", true)], "daemonset/z 0/0"],
    ["no node has one yet", set({ desiredNumberScheduled: 2 }), [], "daemonset/z 0/2"],
    ["a surging one is not ready, its predecessor is", set(BOTH), [pod("z", "b", true), pod("z", "a", true), pod("z", "b", false)], "daemonset/z 1/2"],
    ["a surging one is ready, its predecessor not told to go yet", set(BOTH), [pod("z", "b", true), pod("z", "a", true), pod("z", "b", true)], "daemonset/z 1/2"],
    ["predecessors are going", set(BOTH), [pod("z", "b", true), pod("z", "b", true), pod("z", "a", true, { going: true })], ""],
    ["an evicted one is kept for its log", set(BOTH), [pod("z", "b", true), pod("z", "b", true), pod("z", "a", false, { phase: "Failed" })], ""],
    ["pods of others do not count", set(BOTH), [pod("y", "b", false), pod("z", "c", false, { namespace: "n" })], ""],
    ["one lost its readiness again", set({ ...BOTH, numberReady: 1 }), [pod("z", "b", true), pod("z", "b", false)], "daemonset/z 1/2"],
    ["a Deployment's new replica starts beside the old one", deployment({ readyReplicas: 1, updatedReplicas: 1 }), [pod("i", "a", true), pod("i", "b", false)], "deployment/i 0/1"],
    ["a Deployment is done", deployment({ readyReplicas: 1, updatedReplicas: 1 }), [pod("i", "b", true)], ""],
  ];
  for (const [what, object, pods, said] of CASES) {
    it(what, () => {
      const r = rolloutOf(object, pods);
      assert.equal(isLate(r) ? waitingFor([r]) : "", said);
    });
  }
});
