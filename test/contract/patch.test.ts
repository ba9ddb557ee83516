// The contract of patches: JSON patch, merge patch, strategic merge patch, on objects and their subresources.
import { contract } from "./contract.fixture.ts";
import { APPLY, configMap, deployment, JSON_PATCH, MERGE, pod, service, STRATEGIC } from "./objects.fixture.ts";
import type { JsonObject } from "./wire.fixture.ts";

contract("patch", ({ it }) => {
  const documents: readonly [what: string, patch: unknown][] = [
    ["adds", [{ op: "add", path: "/data/b", value: "2" }]],
    ["replaces", [{ op: "replace", path: "/data/a", value: "2" }]],
    ["removes", [{ op: "remove", path: "/data/a" }]],
    ["copies and moves", [{ op: "copy", from: "/data/a", path: "/data/c" }, { op: "move", from: "/data/a", path: "/data/d" }]],
    ["tests and goes on", [{ op: "test", path: "/data/a", value: "1" }, { op: "add", path: "/data/t", value: "yes" }]],
    ["tests and stops", [{ op: "test", path: "/data/a", value: "9" }, { op: "add", path: "/data/t", value: "yes" }]],
    ["escapes", [{ op: "add", path: "/metadata/annotations", value: {} }, { op: "add", path: "/metadata/annotations/example.com~1x~0y", value: "z" }]],
    ["replaces what is missing", [{ op: "replace", path: "/data/none", value: "2" }]],
    ["removes what is missing", [{ op: "remove", path: "/data/none" }]],
    ["adds below what is missing", [{ op: "add", path: "/none/x", value: "2" }]],
    ["does what nobody knows", [{ op: "merge", path: "/data/a", value: "2" }]],
    ["has a path without slash", [{ op: "add", path: "data", value: "2" }]],
    ["escapes wrongly", [{ op: "add", path: "/data/~2", value: "2" }]],
    ["has no value", [{ op: "add", path: "/data/n" }]],
    ["has no from", [{ op: "copy", path: "/data/n" }]],
    ["moves into itself", [{ op: "move", from: "/data", path: "/data/x" }]],
    ["tests what is missing", [{ op: "test", path: "/data/none", value: null }]],
    ["has no path", [{ op: "add", value: "2" }]],
    ["is no list", { op: "add" }],
    ["makes a wrong type", [{ op: "replace", path: "/data", value: "text" }]],
  ];
  for (const [what, patch] of documents) {
    it(`JSON patch ${what}`, async (t) => {
      const { metadata: { name } } = await t.quiet("POST", "~/configmaps", { metadata: { generateName: "json-" }, data: { a: "1" } });
      t.mask(String(name), "NAME");
      const loose = /nobody|no path|no list|wrong|missing|no value|no from|itself|slash/.test(what);
      await t.ask("PATCH", `~/configmaps/${String(name)}`, patch, { ...JSON_PATCH, loose, show: ["data", "metadata.annotations"] });
    });
  }

  it("JSON patch works on lists", async (t) => {
    await t.quiet("POST", "~/services", service("lists", { clusterIP: "None", ports: [{ name: "a", port: 1 }, { name: "b", port: 2 }] }));
    const show = { ...JSON_PATCH, show: ["spec.ports"] };
    await t.ask("PATCH", "~/services/lists", [{ op: "add", path: "/spec/ports/-", value: { name: "c", port: 3 } }], show);
    await t.ask("PATCH", "~/services/lists", [{ op: "add", path: "/spec/ports/0", value: { name: "z", port: 9 } }], show);
    await t.ask("PATCH", "~/services/lists", [{ op: "remove", path: "/spec/ports/1" }], show);
    await t.ask("PATCH", "~/services/lists", [{ op: "replace", path: "/spec/ports/0/port", value: 8 }], show);
    await t.ask("PATCH", "~/services/lists", [{ op: "remove", path: "/spec/ports/7" }], { ...show, loose: true });
  });

  it("merge patch merges maps, replaces lists and removes nulls", async (t) => {
    await t.quiet("POST", "~/services", service("merge", { clusterIP: "None", ports: [{ name: "a", port: 1 }, { name: "b", port: 2 }] }));
    await t.ask("PATCH", "~/services/merge", { metadata: { labels: { a: "1", b: "2" } } }, MERGE);
    await t.ask("PATCH", "~/services/merge", { metadata: { labels: { a: null, c: "3" } }, spec: { ports: [{ name: "x", port: 7 }] } }, MERGE);
    await t.ask("PATCH", "~/services/merge", { spec: { selector: null } }, MERGE);
    await t.ask("PATCH", "~/services/merge", { spec: { ports: null } }, MERGE);
    await t.ask("PATCH", "~/services/merge", {}, MERGE);
    await t.ask("PATCH", "~/services/merge", [], { ...MERGE, loose: true });
    await t.ask("PATCH", "~/services/merge", "not json", { ...MERGE, loose: true });
    await t.ask("PATCH", "~/services/none", {}, MERGE);
  });

  it("strategic merge patch merges lists by key", async (t) => {
    const containers = [{ name: "a", image: "a:1", env: [{ name: "X", value: "1" }, { name: "Y", value: "2" }], ports: [{ containerPort: 80 }] }, { name: "b", image: "b:1" }];
    await t.quiet("POST", "~apps/v1/deployments", deployment("sm", {}, { containers, tolerations: [{ key: "a" }], volumes: [{ name: "v", emptyDir: {} }] }));
    const show = { ...STRATEGIC, show: ["metadata.labels", "metadata.finalizers", "spec.strategy", "spec.template.spec.containers", "spec.template.spec.tolerations", "spec.template.spec.volumes"] };
    const template = (spec: JsonObject) => ({ spec: { template: { spec } } });
    const patches: readonly JsonObject[] = [
      template({ containers: [{ name: "a", image: "a:2" }] }),
      template({ containers: [{ name: "a", env: [{ name: "X", value: "9" }, { name: "Z", value: "3" }] }] }),
      template({ containers: [{ name: "c", image: "c:1" }] }),
      template({ containers: [{ name: "b", $patch: "delete" }] }),
      template({ $setElementOrder: "x" }),
      template({ "$setElementOrder/containers": [{ name: "c" }, { name: "a" }], containers: [] }),
      template({ containers: [{ name: "a", ports: [{ containerPort: 80, name: "web" }, { containerPort: 81 }] }] }),
      template({ tolerations: [{ key: "b" }] }),
      template({ volumes: [{ name: "v", $retainKeys: ["name", "configMap"], configMap: { name: "c" } }] }),
      template({ volumes: [{ $patch: "replace" }, { name: "w", emptyDir: {} }] }),
      { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } },
      { metadata: { finalizers: ["a.b/c"] } },
      { metadata: { finalizers: ["a.b/d"] } },
      { metadata: { "$deleteFromPrimitiveList/finalizers": ["a.b/c"] } },
      { metadata: { labels: { $patch: "replace", only: "this" } } },
      { metadata: { labels: { old: "x", two: "y" } } },
      { metadata: { labels: { $patch: "replace", only: "this" } } },
      { metadata: { labels: { only: null } } },
      { metadata: { finalizers: null } },
      template({ containers: [{ image: "nameless" }] }),
      template({ containers: "text" }),
      { spec: { strategy: { $retainKeys: ["type"], rollingUpdate: {} } } },
      { spec: { strategy: { $retainKeys: "type" } } },
      template({ "$setElementOrder/containers": [{ name: "a" }], containers: [{ name: "c" }, { name: "a" }] }),
      template({ "$setElementOrder/containers": "a" }),
      template({ "$setElementOrder/": [] }),
      { metadata: { "$deleteFromPrimitiveList/finalizers": [{}] } },
      { metadata: { "$deleteFromPrimitiveList/finalizers": "x" } },
      template({ containers: [{ name: "a", $patch: "merge" }] }),
      template({ containers: ["text"] }),
      template({ containers: [{ name: "a" }, "text"] }),
      template({ containers: [{ name: "a", $patch: "explode" }] }),
    ];
    for (const patch of patches) await t.ask("PATCH", "~apps/v1/deployments/sm", patch, { ...show, loose: true });
  });

  it("strategic merge patch of services keeps ports by number", async (t) => {
    await t.quiet("POST", "~/services", service("sp", { clusterIP: "None", ports: [{ name: "a", port: 1 }, { name: "b", port: 2 }] }));
    const show = { ...STRATEGIC, show: ["spec.ports"] };
    await t.ask("PATCH", "~/services/sp", { spec: { ports: [{ port: 1, targetPort: 99 }] } }, show);
    await t.ask("PATCH", "~/services/sp", { spec: { ports: [{ port: 2, $patch: "delete" }] } }, show);
    await t.ask("PATCH", "~/services/sp", { spec: { ports: [{ name: "c", port: 3 }] } }, show);
  });

  it("changes status and nothing else", async (t) => {
    await t.quiet("POST", "~apps/v1/deployments", deployment("sub"));
    const show = ["metadata.labels", "metadata.generation", "spec.paused", "status.collisionCount"];
    await t.ask("PATCH", "~apps/v1/deployments/sub/status", { metadata: { labels: { a: "b" } }, spec: { paused: true }, status: { collisionCount: 7 } }, { ...MERGE, show });
    await t.ask("PATCH", "~apps/v1/deployments/sub", { status: { collisionCount: 8 }, metadata: { labels: { c: "d" } } }, { ...MERGE, show });
    await t.ask("PATCH", "~apps/v1/deployments/sub/status", [{ op: "replace", path: "/status/collisionCount", value: 9 }], { ...JSON_PATCH, show });
    await t.ask("GET", "~apps/v1/deployments/sub/status", undefined, { show });
    await t.quiet("POST", "~/pods", pod("sub"));
    await t.ask("PATCH", "~/pods/sub/status", { metadata: { labels: { a: "b" } }, status: { message: "m" } }, { ...STRATEGIC, show: ["metadata.labels", "status"] });
    await t.ask("PATCH", "~/pods/sub/status", { status: { conditions: [{ type: "Ready", status: "False" }] } }, { ...STRATEGIC, show: ["status.conditions"] });
    await t.ask("PATCH", "~/pods/sub/status", { status: { conditions: [{ type: "Other", status: "True" }] } }, { ...STRATEGIC, show: ["status.conditions"] });
    await t.ask("DELETE", "~apps/v1/deployments/sub/status");
    await t.ask("POST", "~apps/v1/deployments/sub/status", deployment("sub"));
  });

  it("scales through the subresource", async (t) => {
    await t.quiet("POST", "~apps/v1/deployments", deployment("scaled"));
    await t.ask("GET", "~apps/v1/deployments/scaled/scale");
    await t.ask("PATCH", "~apps/v1/deployments/scaled/scale", { spec: { replicas: 2 } }, MERGE);
    const scale = await t.ask("PATCH", "~apps/v1/deployments/scaled/scale", [{ op: "replace", path: "/spec/replicas", value: 0 }], { ...JSON_PATCH, show: ["spec"] });
    await t.ask("PUT", "~apps/v1/deployments/scaled/scale", { ...(scale.json as JsonObject), spec: { replicas: 1 } }, { show: ["spec"] });
    await t.ask("PUT", "~apps/v1/deployments/scaled/scale", { ...(scale.json as JsonObject), spec: { replicas: 3 } });
    await t.ask("PATCH", "~apps/v1/deployments/scaled/scale", { spec: { replicas: -1 } }, MERGE);
    await t.ask("PATCH", "~apps/v1/deployments/none/scale", { spec: { replicas: 1 } }, MERGE);
    await t.ask("GET", "~apps/v1/deployments/scaled", undefined, { show: ["spec.replicas", "metadata.generation"] });
    await t.ask("GET", "~apps/v1/daemonsets/none/scale");
  });

  it("refuses what it cannot read as a patch", async (t) => {
    await t.quiet("POST", "~/configmaps", configMap("types"));
    await t.ask("PATCH", "~/configmaps/types", {}, { type: "application/json" });
    await t.ask("PATCH", "~/configmaps/types", {}, { type: "text/html" });
    await t.ask("PATCH", "~/configmaps/types", {}, { type: "" });
    await t.ask("PATCH", "~/configmaps/types?dryRun=Never", {}, MERGE);
    await t.ask("PATCH", "~/configmaps/types?force=true", {}, MERGE);
    await t.ask("PATCH", "~/configmaps/types", configMap("types"), APPLY);
    await t.ask("POST", "~/configmaps", configMap("x"), { type: "text/html", loose: true });
    await t.ask("POST", "~/configmaps", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: yaml}\ndata: {a: 'b'}\n", { type: "application/yaml" });
    await t.ask("GET", "~/configmaps/types", undefined, { accept: "text/html", loose: true });
    await t.ask("GET", "~/configmaps/types", undefined, { accept: "application/yaml", show: "code" });
  });

  it("patches by version", async (t) => {
    const made = await t.quiet("POST", "~/configmaps", configMap("rv", { a: "1" }));
    const resourceVersion = String(made.metadata["resourceVersion"]);
    await t.ask("PATCH", "~/configmaps/rv", { metadata: { resourceVersion }, data: { a: "2" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/rv", { metadata: { resourceVersion }, data: { a: "3" } }, MERGE);
    await t.ask("PATCH", "~/configmaps/rv", { metadata: { resourceVersion: "0" }, data: { a: "4" } }, { ...MERGE, loose: true });
    await t.ask("PATCH", "~/configmaps/rv", { metadata: { uid: made.metadata["uid"] }, data: { a: "5" } }, { ...MERGE, show: ["data"] });
  });
});
