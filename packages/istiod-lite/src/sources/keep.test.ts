import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { keepNeeded } from "./keep.ts";

const meta = (rest: object = {}) => ({ name: "a", namespace: "n", managedFields: [{ manager: "x" }], annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}", own: "1" }, ...rest });

describe("what is kept of an object", () => {
  it("a pod without what no translation reads", () => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: meta(), spec: { nodeName: "n", volumes: [{}], containers: [{ name: "c", image: "i", env: [{}], ports: [{ containerPort: 1 }] }] }, status: { podIP: "10.0.0.1", containerStatuses: [{}] } };
    assert.deepEqual(keepNeeded(pod as KubeObject), { apiVersion: "v1", kind: "Pod", metadata: { name: "a", namespace: "n", annotations: { own: "1" } }, spec: { nodeName: "n", containers: [{ name: "c", image: "i", ports: [{ containerPort: 1 }] }] }, status: { podIP: "10.0.0.1" } });
  });
  it("everything of a kind it does not know, but for the bookkeeping", () => {
    const entry = { apiVersion: "networking.istio.io/v1", kind: "ServiceEntry", metadata: meta(), spec: { volumes: 1, resources: 2 }, status: { images: 3 } };
    assert.deepEqual(keepNeeded(structuredClone(entry) as KubeObject), { ...entry, metadata: { name: "a", namespace: "n", annotations: { own: "1" } } });
  });
  it("does not stumble over odd shapes", () => {
    for (const odd of [{}, { metadata: null }, { kind: "Pod", apiVersion: "v1", metadata: {}, spec: [], status: "x" }, { kind: "Pod", apiVersion: "v1", metadata: { annotations: 3 }, spec: { containers: [null, 4, []] } }])
      assert.doesNotThrow(() => keepNeeded(JSON.parse(JSON.stringify(odd)) as KubeObject));
  });
});
