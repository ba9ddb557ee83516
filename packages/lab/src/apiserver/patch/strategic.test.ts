import assert from "node:assert/strict";
import fc from "fast-check";
import { builtinSchema } from "../openapi/builtin.ts";
import type { Json } from "../json.ts";
import type { Schema } from "../schema/structural.ts";
import { applyStrategicMergePatch } from "./strategic.ts";

function schemaOf(group: string, version: string, kind: string): Schema {
  const schema = builtinSchema(group, version, kind);
  assert.ok(schema !== undefined);
  return schema;
}
const pod = schemaOf("", "v1", "Pod");
const deployment = schemaOf("apps", "v1", "Deployment");
const containers = (...list: Json[]): Json => ({ spec: { containers: list } });

describe("strategic merge patch", () => {
  const cases: { name: string; schema?: Schema; doc: Json; patch: unknown; want: Json | RegExp; status?: 400 | 500 }[] = [
    {
      name: "merges containers by name, new ones after the server's earlier ones",
      doc: containers({ name: "a", image: "1", args: ["x"] }, { name: "b", image: "1" }),
      patch: containers({ name: "a", image: "2" }),
      want: containers({ name: "a", image: "2", args: ["x"] }, { name: "b", image: "1" }),
    },
    {
      name: "adds an element",
      doc: containers({ name: "a" }),
      patch: containers({ name: "b" }),
      want: containers({ name: "b" }, { name: "a" }),
    },
    {
      name: "$patch: delete removes an element",
      doc: containers({ name: "a" }, { name: "b" }),
      patch: containers({ name: "a", $patch: "delete" }),
      want: containers({ name: "b" }),
    },
    {
      name: "$patch: replace in a list replaces it",
      doc: containers({ name: "a" }, { name: "b" }),
      patch: containers({ name: "c" }, { $patch: "replace" }),
      want: containers({ name: "c" }),
    },
    {
      name: "$patch: replace of an object",
      doc: { metadata: { labels: { a: "1", b: "2" } } },
      patch: { metadata: { labels: { $patch: "replace", c: "3" } } },
      want: { metadata: { labels: { c: "3" } } },
    },
    {
      name: "$patch: delete of an object empties it",
      doc: { metadata: { labels: { a: "1" } } },
      patch: { metadata: { labels: { $patch: "delete" } } },
      want: { metadata: { labels: {} } },
    },
    { name: "$patch: merge of an object is the default", doc: { a: 1 }, patch: { $patch: "merge", b: 2 }, want: { a: 1, b: 2 } },
    { name: "null deletes", doc: { metadata: { labels: { a: "1", b: "2" } } }, patch: { metadata: { labels: { a: null } } }, want: { metadata: { labels: { b: "2" } } } },
    {
      name: "lists of scalars with the merge strategy are united",
      doc: { metadata: { finalizers: ["a", "b"] } },
      patch: { metadata: { finalizers: ["b", "c"] } },
      want: { metadata: { finalizers: ["a", "b", "c"] } },
    },
    {
      name: "$deleteFromPrimitiveList",
      doc: { metadata: { finalizers: ["a", "b"] } },
      patch: { metadata: { "$deleteFromPrimitiveList/finalizers": ["a", "x"] } },
      want: { metadata: { finalizers: ["b"] } },
    },
    {
      name: "atomic lists are replaced",
      doc: containers({ name: "a", args: ["1", "2"] }),
      patch: containers({ name: "a", args: ["3"] }),
      want: containers({ name: "a", args: ["3"] }),
    },
    {
      name: "$setElementOrder reorders without changes",
      doc: containers({ name: "a" }, { name: "b" }, { name: "server" }),
      patch: { spec: { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }] } },
      want: containers({ name: "b" }, { name: "a" }, { name: "server" }),
    },
    {
      name: "$setElementOrder with a change and a deletion, as kubectl sends",
      doc: containers({ name: "a", image: "1" }, { name: "b" }, { name: "c" }),
      patch: {
        spec: {
          "$setElementOrder/containers": [{ name: "c" }, { name: "a" }],
          containers: [{ name: "a", image: "2" }, { name: "b", $patch: "delete" }],
        },
      },
      want: containers({ name: "c" }, { name: "a", image: "2" }),
    },
    {
      name: "$setElementOrder of scalars",
      doc: { metadata: { finalizers: ["s", "a", "b"] } },
      patch: { metadata: { "$setElementOrder/finalizers": ["b", "a"] } },
      want: { metadata: { finalizers: ["s", "b", "a"] } },
    },
    {
      name: "$retainKeys drops what is not named",
      schema: deployment,
      doc: { spec: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } } },
      patch: { spec: { strategy: { $retainKeys: ["type"], type: "Recreate", rollingUpdate: null } } },
      want: { spec: { strategy: { type: "Recreate" } } },
    },
    {
      name: "$retainKeys in volumes",
      doc: { spec: { volumes: [{ name: "v", emptyDir: {} }] } },
      patch: { spec: { volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }] } },
      want: { spec: { volumes: [{ name: "v", hostPath: { path: "/x" } }] } },
    },
    {
      name: "ports merge by containerPort",
      doc: containers({ name: "a", ports: [{ containerPort: 80, name: "x" }] }),
      patch: containers({ name: "a", ports: [{ containerPort: 80, name: "y" }, { containerPort: 81 }] }),
      want: containers({ name: "a", ports: [{ containerPort: 80, name: "y" }, { containerPort: 81 }] }),
    },
    { name: "directives do not enter new objects", doc: {}, patch: containers({ name: "a" }, { name: "b", $patch: "delete" }), want: containers({ name: "a" }) },
    { name: "an element without its key", doc: containers({ name: "a" }), patch: containers({ image: "x" }), want: /merge key: name/, status: 500 },
    { name: "an unknown directive", doc: {}, patch: { $patch: "explode" }, want: /unknown \$patch directive/, status: 500 },
    { name: "$retainKeys that does not name a set key", doc: {}, patch: { spec: { $retainKeys: ["a"], b: 1 } }, want: /does not name b/ },
    { name: "$retainKeys of a wrong type", doc: {}, patch: { spec: { $retainKeys: "a" } }, want: /list of strings/ },
    { name: "an order that contradicts the patch", doc: {}, patch: { spec: { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }], containers: [{ name: "a" }, { name: "b" }] } }, want: /order of the patch list/, status: 500 },
    { name: "an order that is no list", doc: {}, patch: { spec: { "$setElementOrder/containers": 1 } }, want: /must be a list/, status: 500 },
    { name: "a mixed list", doc: containers(), patch: containers({ name: "a" }, "x"), want: /mixes/, status: 500 },
    { name: "not an object", doc: {}, patch: [], want: /must be an object/ },
  ];
  for (const { name, schema, doc, patch, want, status } of cases) {
    it(name, () => {
      const result = applyStrategicMergePatch(doc, patch, schema ?? pod);
      if (want instanceof RegExp) {
        assert.ok(!result.ok);
        assert.match(result.message, want);
        assert.equal(result.status, status ?? 400);
      } else assert.deepEqual(result, { ok: true, value: want });
    });
  }

  it("is quick on long lists", () => {
    const long = Array.from({ length: 20_000 }, (_, i) => ({ name: `c${i}` }));
    const result = applyStrategicMergePatch(containers(...long), containers(...long), pod);
    assert.ok(result.ok);
  }).timeout(2_000);

  it("never throws, and is idempotent without directives", () => {
    const key = fc.constantFrom("spec", "containers", "name", "image", "metadata", "finalizers", "labels", "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "ports", "containerPort");
    const { value } = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof({ maxDepth: 5 }, fc.constantFrom<Json>("a", "b", "delete", "replace", 1, null), fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(key, tie("value"), { maxKeys: 4 })),
    }));
    fc.assert(
      fc.property(value, value, (doc, patch) => {
        const once = applyStrategicMergePatch(doc, patch, pod);
        if (!once.ok || JSON.stringify(patch).includes("$") || JSON.stringify(doc).includes("$")) return;
        assert.deepEqual(applyStrategicMergePatch(once.value, patch, pod), once);
      }),
      { numRuns: 1500, seed: 7 },
    );
  });
});
