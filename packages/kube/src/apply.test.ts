import assert from "node:assert/strict";
import { parseManifests } from "./apply.ts";
import { KINDS, pathOf } from "./objects.ts";

describe("manifests", () => {
  it("several documents, empty ones skipped, lists opened", () => {
    const objects = parseManifests("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n", "f");
    assert.deepEqual(objects.map((o) => `${o.kind}/${o.metadata.name}`), ["ConfigMap/a", "Secret/b"]);
  });
  for (const [text, says] of [["a: [", "f.yaml: "], ["kind: X\nmetadata: {name: a}", "document 1 is not a Kubernetes object"], ["apiVersion: v1\nkind: X\n", "document 1 (X) has no metadata.name"], ["- 1", "document 1 is not a Kubernetes object"]] as const)
    it(`${JSON.stringify(text)} is refused with where and what`, () => assert.throws(() => parseManifests(text, "f.yaml"), (e) => e instanceof Error && e.message.includes(says)));
});

describe("paths", () => {
  it("escape what came from outside", () => {
    assert.equal(pathOf(KINDS.pods, "a", "b", "log"), "/api/v1/namespaces/a/pods/b/log");
    assert.equal(pathOf(KINDS.leases, "a"), "/apis/coordination.k8s.io/v1/namespaces/a/leases");
    assert.equal(pathOf(KINDS.nodes, "ignored", "../secrets"), "/api/v1/nodes/..%2Fsecrets");
  });
});
