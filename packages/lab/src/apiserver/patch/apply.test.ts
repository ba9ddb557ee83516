import assert from "node:assert/strict";
import fc from "fast-check";
import { builtinSchema } from "../openapi/builtin.ts";
import { asArray, asObject, asObjects, dig, isObject, type Json, type JsonObject } from "../json.ts";
import type { Schema } from "../schema/structural.ts";
import { applyServerSide, trackUpdate } from "./apply.ts";

function schemaOf(group: string, version: string, kind: string): Schema {
  const schema = builtinSchema(group, version, kind);
  assert.ok(schema !== undefined);
  return schema;
}
const deployment = schemaOf("apps", "v1", "Deployment");
const service = schemaOf("", "v1", "Service");

interface Step {
  manager?: string;
  force?: boolean;
  subresource?: string;
  schema?: Schema;
  now?: string;
}
const base = (step: Step): Omit<Parameters<typeof trackUpdate>[0], "live" | "updated"> => ({
  manager: step.manager ?? "m",
  subresource: step.subresource ?? "",
  apiVersion: "apps/v1",
  schema: step.schema ?? deployment,
  now: step.now ?? "2024-01-01T00:00:00Z",
});

function apply(live: JsonObject | null, applied: JsonObject, step: Step = {}): JsonObject {
  const result = applyServerSide({ ...base(step), live, applied: whole(applied), force: step.force ?? false });
  assert.ok(result.ok, JSON.stringify(result));
  return result.object;
}
function tryApply(live: JsonObject | null, applied: JsonObject, step: Step = {}): ReturnType<typeof applyServerSide> {
  return applyServerSide({ ...base(step), live, applied: whole(applied), force: step.force ?? false });
}
function update(live: JsonObject | null, updated: JsonObject, step: Step = {}): JsonObject {
  return trackUpdate({ ...base(step), live, updated });
}
function whole(spec: JsonObject): JsonObject {
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "x", namespace: "d" }, ...spec };
}
function fields(object: JsonObject, manager: string): Json | undefined {
  return asObjects(dig(object, "metadata", "managedFields")).find((entry) => entry["manager"] === manager)?.["fieldsV1"];
}
const template = (...list: Json[]): JsonObject => ({ spec: { template: { spec: { containers: list } } } });
const containersOf = (object: JsonObject): Json | undefined => dig(object, "spec", "template", "spec", "containers");

describe("server-side apply", () => {
  it("creates, and records what was applied", () => {
    const made = apply(null, { ...template({ name: "a", image: "1", ports: [{ containerPort: 80 }] }), metadata: { name: "x", labels: { l: "v" } } });
    assert.deepEqual(dig(made, "metadata", "managedFields"), [
      {
        manager: "m",
        operation: "Apply",
        apiVersion: "apps/v1",
        time: "2024-01-01T00:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:metadata": { "f:labels": { "f:l": {} } },
          "f:spec": {
            "f:template": {
              "f:spec": {
                "f:containers": {
                  'k:{"name":"a"}': {
                    ".": {},
                    "f:name": {},
                    "f:image": {},
                    "f:ports": { 'k:{"containerPort":80,"protocol":"TCP"}': { ".": {}, "f:containerPort": {} } },
                  },
                },
              },
            },
          },
        },
      },
    ]);
  });

  it("applying the same again returns the identical object, also later", () => {
    const made = apply(null, template({ name: "a" }));
    assert.equal(apply(made, template({ name: "a" }), { now: "2025-01-01T00:00:00Z" }), made);
  });

  it("removes what is no longer applied and owned by nobody else", () => {
    const made = apply(null, { spec: { replicas: 1, paused: true } });
    const next = apply(made, { spec: { replicas: 1 } });
    assert.deepEqual(next["spec"], { replicas: 1 });
    assert.deepEqual(fields(next, "m"), { "f:spec": { "f:replicas": {} } });
    assert.equal(apply(made, {})["spec"], undefined);
  });

  it("keeps what another manager owns too", () => {
    const one = apply(null, { spec: { replicas: 1, paused: true } });
    const two = apply(one, { spec: { paused: true } }, { manager: "n" });
    const three = apply(two, { spec: { replicas: 1 } });
    assert.deepEqual(three["spec"], { replicas: 1, paused: true });
    assert.deepEqual(fields(three, "n"), { "f:spec": { "f:paused": {} } });
    assert.deepEqual(apply(three, {}, { manager: "n" })["spec"], { replicas: 1 });
  });

  it("removes list items and keeps those of others", () => {
    const one = apply(null, template({ name: "a" }, { name: "b" }));
    const two = apply(one, template({ name: "c" }), { manager: "n" });
    assert.deepEqual(containersOf(two), [{ name: "a" }, { name: "b" }, { name: "c" }]);
    assert.deepEqual(containersOf(apply(two, template({ name: "b" }))), [{ name: "b" }, { name: "c" }]);
  });

  it("conflicts name the manager and the field", () => {
    const one = update(null, whole({ spec: { replicas: 1 } }), { manager: "kubectl" });
    assert.deepEqual(tryApply(one, { spec: { replicas: 2 } }), {
      ok: false,
      conflicts: [{ manager: "kubectl", field: ".spec.replicas", message: 'conflict with "kubectl" using apps/v1' }],
    });
    const two = apply(null, template({ name: "a", image: "1" }));
    const refused = tryApply(two, template({ name: "a", image: "2" }), { manager: "n" });
    assert.ok(!refused.ok && "conflicts" in refused);
    assert.deepEqual(refused.conflicts, [
      { manager: "m", field: '.spec.template.spec.containers[name="a"].image', message: 'conflict with "m"' },
    ]);
  });

  it("force takes the field over", () => {
    const one = apply(null, { spec: { replicas: 1, paused: true } });
    const two = apply(one, { spec: { replicas: 2 } }, { manager: "n", force: true });
    assert.deepEqual(two["spec"], { replicas: 2, paused: true });
    assert.deepEqual(fields(two, "m"), { "f:spec": { "f:paused": {} } });
    assert.deepEqual(fields(two, "n"), { "f:spec": { "f:replicas": {} } });
  });

  it("equal values are shared without conflict", () => {
    const one = apply(null, { spec: { replicas: 1 } });
    const two = apply(one, { spec: { replicas: 1 } }, { manager: "n" });
    assert.deepEqual(fields(two, "m"), fields(two, "n"));
  });

  it("an applier that stops claiming a field that an updater set leaves it", () => {
    const one = apply(null, { spec: { replicas: 1 } });
    const two = update(one, { ...one, spec: { replicas: 5 } }, { manager: "scaler" });
    assert.deepEqual(fields(two, "m"), undefined);
    const three = apply(two, { spec: {} });
    assert.deepEqual(three["spec"], { replicas: 5 });
  });

  it("an object without managed fields belongs to before-first-apply", () => {
    const refused = tryApply(whole({ spec: { replicas: 1 } }), { spec: { replicas: 2 } });
    assert.ok(!refused.ok && "conflicts" in refused);
    assert.deepEqual(refused.conflicts.map((c) => c.manager), ["before-first-apply"]);
  });

  it("kubectl takes over what its client-side apply had set, and nothing else", () => {
    const annotation = JSON.stringify(whole({ spec: { replicas: 1 } }));
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": annotation };
    const metadata = { name: "x", namespace: "d", annotations };
    const one = update(null, whole({ metadata, spec: { replicas: 1, paused: true } }), { manager: "kubectl-client-side-apply" });
    assert.deepEqual(apply(one, { spec: { replicas: 2 } }, { manager: "kubectl" })["spec"], { replicas: 2, paused: true });
    assert.equal(tryApply(one, { spec: { replicas: 2 } }, { manager: "other" }).ok, false);
    assert.equal(tryApply(one, { spec: { paused: false } }, { manager: "kubectl" }).ok, false);
  });

  it("atomic parts are owned whole", () => {
    const made = apply(null, { spec: { selector: { matchLabels: { a: "b" } } } });
    assert.deepEqual(fields(made, "m"), { "f:spec": { "f:selector": {} } });
    const refused = tryApply(made, { spec: { selector: { matchLabels: { a: "b", c: "d" } } } }, { manager: "n" });
    assert.ok(!refused.ok && "conflicts" in refused);
    assert.deepEqual(refused.conflicts.map((c) => c.field), [".spec.selector"]);
  });

  it("sets: items are fields", () => {
    const one = apply(null, { metadata: { name: "x", finalizers: ["a/a", "b/b"] } });
    const two = apply(one, { metadata: { name: "x", finalizers: ["c/c"] } }, { manager: "n" });
    assert.deepEqual(dig(two, "metadata", "finalizers"), ["a/a", "b/b", "c/c"]);
    assert.deepEqual(dig(apply(two, { metadata: { name: "x", finalizers: ["b/b"] } }), "metadata", "finalizers"), ["b/b", "c/c"]);
  });

  it("two ports of one number differ by protocol", () => {
    const ports = [{ port: 53, protocol: "UDP" }, { port: 53 }];
    const made = apply(null, { spec: { ports } }, { schema: service });
    assert.deepEqual(dig(made, "spec", "ports"), ports);
  });

  it("refuses lists that break their keys, and managed fields in the intent", () => {
    const twice = tryApply(null, template({ name: "a" }, { name: "a" }));
    assert.ok(!twice.ok && "invalid" in twice);
    assert.match(twice.invalid, /\.spec\.template\.spec\.containers: element 1: duplicate/);
    const keyless = tryApply(null, template({ image: "a" }));
    assert.ok(!keyless.ok && "invalid" in keyless);
    const meddling = tryApply(null, { metadata: { name: "x", managedFields: [] } });
    assert.ok(!meddling.ok && "invalid" in meddling);
  });

  it("subresources have entries of their own", () => {
    const one = apply(null, { spec: { replicas: 1 } });
    const two = apply(one, { status: { replicas: 1 } }, { subresource: "status" });
    assert.deepEqual(asArray(dig(two, "metadata", "managedFields")).map((e) => asObject(e)["subresource"] ?? ""), ["", "status"]);
  });
});

describe("update tracking", () => {
  it("records creation and changes, and moves ownership", () => {
    const one = update(null, whole({ spec: { replicas: 1, paused: true } }), { manager: "a" });
    const two = update(one, { ...one, spec: { replicas: 2, paused: true } }, { manager: "b", now: "2024-02-01T00:00:00Z" });
    assert.deepEqual(fields(two, "a"), { "f:spec": { ".": {}, "f:paused": {} } });
    assert.deepEqual(fields(two, "b"), { "f:spec": { "f:replicas": {} } });
  });

  it("keeps times when nothing changed", () => {
    const one = update(null, whole({ spec: { replicas: 1 } }));
    assert.deepEqual(update(one, one, { now: "2025-01-01T00:00:00Z" }), one);
    assert.deepEqual(update(one, one, { manager: "other", now: "2025-01-01T00:00:00Z" }), one);
  });

  it("a removed field is owned by nobody, and empty entries go", () => {
    const one = update(null, whole({ metadata: { name: "x", labels: { a: "1" } } }), { manager: "a" });
    const two = update(one, whole({ metadata: { name: "x" } }), { manager: "b" });
    assert.equal(dig(two, "metadata", "managedFields"), undefined);
  });

  it("survives clients that drop or mangle managed fields, and honours a reset", () => {
    const one = update(null, whole({ spec: { replicas: 1 } }));
    const dropped = whole({ spec: { replicas: 1 } });
    assert.deepEqual(update(one, dropped), one);
    const mangled = whole({ metadata: { name: "x", namespace: "d", managedFields: [{ operation: "Steal" }] }, spec: { replicas: 1 } });
    assert.deepEqual(update(one, mangled), one);
    const reset = whole({ metadata: { name: "x", managedFields: [{}] } });
    assert.equal(dig(update(one, reset), "metadata", "managedFields"), undefined);
  });

  it("folds the oldest of many updaters", () => {
    let object = whole({ metadata: { name: "x", labels: {} } });
    for (let i = 0; i < 15; i++) {
      const labels = { ...asObject(dig(object, "metadata", "labels")), [`l${i}`]: "v" };
      const now = `2024-01-01T00:00:${String(10 + i)}Z`;
      object = update(object, { ...object, metadata: { ...asObject(object["metadata"]), labels } }, { manager: `m${i}`, now });
    }
    const managers = asObjects(dig(object, "metadata", "managedFields")).map((entry) => entry["manager"]);
    assert.equal(managers.length, 10);
    assert.equal(managers[0], "ancient-changes");
  });
});

describe("server-side apply: laws", () => {
  const name = fc.constantFrom("a", "b", "c");
  const container = fc.record({ name, image: name, args: fc.array(name, { maxLength: 2 }) }, { requiredKeys: ["name"] });
  const intent = fc.record(
    {
      spec: fc.record(
        {
          replicas: fc.nat(3),
          paused: fc.boolean(),
          template: fc.record({ spec: fc.record({ containers: fc.uniqueArray(container, { selector: (c) => c.name, maxLength: 3 }) }) }),
        },
        { requiredKeys: [] },
      ),
      metadata: fc.record({ labels: fc.dictionary(name, name), finalizers: fc.uniqueArray(name) }, { requiredKeys: [] }),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<JsonObject>;

  /** Without what is empty: an empty list or object without an owner means the same as an absent one. */
  const bare = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(bare);
    if (!isObject(value)) return value;
    const members = Object.entries(value).map(([key, member]) => [key, bare(member)] as const);
    return Object.fromEntries(members.filter(([, v]) => typeof v !== "object" || (v !== null && Object.keys(v).length > 0)));
  };

  it("idempotent; what one manager drops is gone; what the other holds stays", () => {
    fc.assert(
      fc.property(intent, intent, intent, (first, second, other) => {
        const one = apply(null, first);
        assert.equal(apply(one, first, { now: "2030-01-01T00:00:00Z" }), one);
        const two = apply(one, other, { manager: "n", force: true });
        assert.equal(apply(two, other, { manager: "n", now: "2030-01-01T00:00:00Z" }), two);
        // Alone, the second intent leaves exactly what applying only it would have made.
        const plain = ({ metadata, ...rest }: JsonObject): JsonObject => ({ ...rest, labels: dig(metadata, "labels") ?? null, finalizers: dig(metadata, "finalizers") ?? null });
        const changed = apply(one, second, { force: true });
        const sorted = (object: JsonObject): Json => bare(plain({ ...object, spec: { ...asObject(object["spec"]), template: null } }));
        const want = apply(null, second);
        assert.deepEqual(sorted(changed), sorted(want));
        // With another manager, its fields survive our withdrawal.
        const gone = apply(two, {});
        const held = apply(gone, other, { manager: "n" });
        assert.deepEqual(bare(plain(held)), bare(plain(gone)));
      }),
      { numRuns: 300, seed: 3 },
    );
  });

  it("never throws on foreign managed fields or shapes", () => {
    const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>;
    fc.assert(
      fc.property(json, json, json, (spec, managedFields, applied) => {
        const live = whole({ metadata: { name: "x", managedFields }, spec });
        tryApply(live, { spec: applied });
        update(live, whole({ spec: applied }));
      }),
      { numRuns: 500, seed: 5 },
    );
  });
});
