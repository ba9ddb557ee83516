// The contract of custom kinds: definitions, pruning, defaults, every word of a schema, rules in CEL, status, scale, ratcheting, versions.
import { contract } from "./contract.fixture.ts";
import { CRDS, definition, GROUP, install, remove, TOY, toy } from "./crd.fixture.ts";
import { at } from "./masks.fixture.ts";
import { APPLY, JSON_PATCH, MERGE, STRATEGIC, TABLE } from "./objects.fixture.ts";
import type { Json, JsonObject } from "./wire.fixture.ts";

const TOYS = `~${GROUP}/v1/toys`;
const spec = { show: ["spec"] } as const;

contract("custom", ({ it }) => {
  it("a definition is established", async (t) => {
    await remove(t, `toys.${GROUP}`);
    await t.ask("POST", CRDS, TOY, { show: (body) => ({ metadata: at(body, "metadata"), names: at(body, "spec.names"), conversion: at(body, "spec.conversion"), status: at(body, "status") }) });
    await t.until(`${CRDS}/toys.${GROUP}`, "established", (answer) => ((at(answer.json, "status.conditions") ?? []) as JsonObject[]).some((c) => c["type"] === "Established" && c["status"] === "True"), { show: ["status"] });
    await t.until(`/apis/${GROUP}/v1`, "its resources", (answer) => answer.code === 200 && answer.text.includes('"toys"'), {});
    await t.until(`/apis/${GROUP}/v1/toys`, "the list", (answer) => answer.code === 200);
    await t.ask("GET", `/apis/${GROUP}`);
  });

  const takes: readonly [what: string, spec: JsonObject][] = [
    ["nothing but what is required", {}],
    ["what is unknown", { unknown: 1, nested: { unknown: 2 }, parts: [{ name: "a", unknown: 3 }], labels: { any: "thing" } }],
    ["what is kept", { free: { a: { b: [1, null, { c: "d" }] } }, half: { x: 1, known: { a: "1", gone: true } } }],
    ["an embedded object", { embedded: { apiVersion: "v1", kind: "Pod", metadata: { name: "x", color: "red", labels: { a: "b" } }, spec: { any: 1 } } }],
    ["numbers or texts", { port: 80 }],
    ["texts or numbers", { port: "http" }],
    ["nulls", { maybe: null, maybeDefault: null, strictDefault: null, size: null, labels: null }],
    ["lists", { tags: ["a", "b"], parts: [{ name: "a" }, { name: "b", weight: 5 }], plain: [{}, { b: "q" }] }],
    ["alternatives", { either: { left: "x" }, any: { left: "x", right: "y" }, never: {} }],
    ["numbers", { ratio: 1.5, size: 10, small: 7 }],
    ["a whole number written as a fraction", { size: 2.0 }],
    ["formats", { when: "2026-01-02T03:04:05Z", bytes: "YWI=" }],
  ];
  for (const [what, of] of takes) {
    it(`takes ${what}`, async (t) => {
      await t.ask("POST", `${TOYS}?dryRun=All`, toy("x", of), spec);
      await t.ask("POST", `${TOYS}?dryRun=All&fieldValidation=Strict`, toy("x", of), { show: "code" });
    });
  }

  const refuses: readonly [what: string, spec: JsonObject][] = [
    ["what lacks a field", { code: null }],
    ["a number that is too small", { size: 0 }], ["a number that is too large", { size: 11 }], ["a fraction for a whole number", { size: 1.5 }],
    ["no multiple", { ratio: 0.7 }], ["what is not above", { ratio: -0.5 }],
    ["none of a list of values", { color: "blue" }],
    ["what has another pattern", { code: "AB" }], ["a text that is too long", { code: "abcde" }], ["a text that is too short", { code: "a" }],
    ["another type", { code: 1 }], ["a text for an object", { nested: "x" }], ["an object for a list", { tags: {} }],
    ["no date", { when: "yesterday" }], ["no base64", { bytes: "?" }], ["a number of more bits", { small: 3000000000 }],
    ["neither number nor text", { port: true }], ["a null that may not be", { code: "ab", tags: null, plain: [null] }],
    ["too many members", { labels: { a: "1", b: "2", c: "3" } }], ["members of another type", { labels: { a: 1 } }],
    ["two of a set", { tags: ["a", "a"] }], ["two of a key", { parts: [{ name: "a" }, { name: "a" }] }], ["an item without its key", { parts: [{ note: "x" }] }],
    ["too many items", { parts: ["a", "b", "c", "d", "e"].map((name) => ({ name })) }], ["too few items", { plain: [] }],
    ["an item that is wrong inside", { parts: [{ name: "a", weight: 101 }] }],
    ["neither of two", { either: {} }], ["both of two", { either: { left: "a", right: "b" } }], ["none of any", { any: {} }], ["what must not be", { never: { left: "x" } }],
    ["what a rule refuses", { low: 5, high: 4 }], ["what a rule refuses in its own words", { parts: [{ name: "bad" }] }], ["what a rule without words refuses", { port: 70000 }],
    ["an embedded object without kind", { embedded: { metadata: { name: "x" } } }], ["an embedded object with bad metadata", { embedded: { apiVersion: "v1", kind: "Pod", metadata: { labels: { a: 1 } } } }],
    ["many things at once", { size: 0, color: "blue", tags: ["a", "a"], when: "x" }],
  ];
  for (const [what, of] of refuses) {
    it(`refuses ${what}`, async (t) => {
      await t.ask("POST", `${TOYS}?dryRun=All`, toy("x", of), { loose: /many|bad metadata/.test(what) });
    });
  }

  it("refuses what is not its kind", async (t) => {
    await t.ask("POST", TOYS, { metadata: { name: "x" } }, { loose: true });
    await t.ask("POST", TOYS, { ...toy("x"), kind: "Other" }, { loose: true });
    await t.ask("POST", TOYS, { ...toy("x"), metadata: { name: "Bad_Name" } });
    await t.ask("POST", TOYS, { ...toy("x"), metadata: {} });
    await t.ask("POST", TOYS, { ...toy("x"), metadata: { name: "x", labels: { a: 1 } } }, { loose: true });
    await t.ask("POST", TOYS, "{", { loose: true });
    await t.ask("POST", `${TOYS}?fieldValidation=Strict`, toy("x", { unknown: 1 }), { loose: true });
    await t.ask("POST", `${TOYS}?dryRun=All`, toy("x", { unknown: 1 }), { show: "code" });
    await t.ask("POST", `${TOYS}?dryRun=All`, { ...toy("x"), metadata: { name: "x", finalizers: ["plain"] } }, { show: ["metadata.finalizers"] });
    await t.ask("GET", `~${GROUP}/v1/games`);
    await t.ask("GET", `~${GROUP}/v7/toys`);
    await t.ask("GET", `/apis/${GROUP}/v7`);
    await t.ask("GET", `${TOYS}/none`);
  });

  it("replaces and patches", async (t) => {
    const made = await t.quiet("POST", TOYS, toy("re", { fixed: "a" }));
    await t.ask("PUT", `${TOYS}/re`, toy("re", { fixed: "a", size: 4 }));
    await t.ask("PUT", `${TOYS}/re`, { ...made, spec: { code: "cd", fixed: "a" } }, { show: ["spec", "metadata.generation"] });
    await t.ask("PUT", `${TOYS}/re`, { ...made, spec: { code: "ef" } });
    await t.ask("PATCH", `${TOYS}/re`, { spec: { size: 5 } }, { ...MERGE, show: ["spec", "metadata.generation"] });
    await t.ask("PATCH", `${TOYS}/re`, { spec: { fixed: "b" } }, MERGE);
    await t.ask("PATCH", `${TOYS}/re`, { spec: { size: null, color: null } }, { ...MERGE, show: ["spec"] });
    await t.ask("PATCH", `${TOYS}/re`, { metadata: { labels: { a: "b" } } }, { ...MERGE, show: ["metadata.labels", "metadata.generation"] });
    await t.ask("PATCH", `${TOYS}/re`, [{ op: "replace", path: "/spec/size", value: 7 }], { ...JSON_PATCH, show: ["spec.size"] });
    await t.ask("PATCH", `${TOYS}/re`, [{ op: "replace", path: "/spec/size", value: 70 }], JSON_PATCH);
    await t.ask("PATCH", `${TOYS}/re`, { spec: { size: 5 } }, STRATEGIC);
    await t.ask("PATCH", `${TOYS}/re`, { spec: { unknown: 5 } }, { ...MERGE, show: ["spec", "metadata.generation"] });
    await t.ask("PATCH", `${TOYS}/re`, { kind: "Other" }, { ...MERGE, loose: true });
    await t.ask("PATCH", `${TOYS}/re`, { metadata: { name: "other" } }, { ...MERGE, loose: true });
    await t.ask("DELETE", `${TOYS}/re`);
  });

  it("changes its status apart", async (t) => {
    const show = ["spec.size", "status", "metadata.generation", "metadata.labels"];
    await t.ask("POST", TOYS, toy("st", {}, { status: { phase: "given" } }), { show });
    await t.ask("PATCH", `${TOYS}/st/status`, { spec: { size: 9 }, metadata: { labels: { a: "b" } }, status: { phase: "set" } }, { ...MERGE, show });
    await t.ask("PATCH", `${TOYS}/st`, { spec: { size: 8 }, status: { phase: "ignored" } }, { ...MERGE, show });
    await t.ask("PATCH", `${TOYS}/st/status`, { status: { phase: 7 } }, MERGE);
    await t.ask("GET", `${TOYS}/st/status`, undefined, { show });
    const live = await t.quiet("GET", `${TOYS}/st`);
    await t.ask("PUT", `${TOYS}/st/status`, { ...live, spec: { code: "zz" }, status: { phase: "put" } }, { show });
    await t.ask("PATCH", `${TOYS}/st/status?fieldManager=one`, { apiVersion: `${GROUP}/v1`, kind: "Toy", metadata: { name: "st" }, status: { conditions: [{ type: "Ready", status: "True" }] } }, { ...APPLY, show });
    await t.ask("PATCH", `${TOYS}/st/status?fieldManager=two`, { apiVersion: `${GROUP}/v1`, kind: "Toy", metadata: { name: "st" }, status: { conditions: [{ type: "Other", status: "True" }] } }, { ...APPLY, show });
  });

  it("scales", async (t) => {
    await t.quiet("POST", TOYS, toy("sc", { replicas: 2 }));
    await t.quiet("PATCH", `${TOYS}/sc/status`, { status: { replicas: 1, selector: "a=b" } }, MERGE);
    await t.ask("GET", `${TOYS}/sc/scale`);
    await t.ask("PATCH", `${TOYS}/sc/scale`, { spec: { replicas: 5 } }, { ...MERGE, show: ["spec", "status"] });
    await t.ask("GET", `${TOYS}/sc`, undefined, { show: ["spec.replicas", "metadata.generation"] });
    await t.quiet("POST", TOYS, toy("none"));
    await t.ask("GET", `${TOYS}/none/scale`, undefined, { loose: true });
  });

  it("is applied, item by item", async (t) => {
    const own = { ...APPLY, managed: true, show: ["spec", "metadata.managedFields"] };
    const part = (of: JsonObject): JsonObject => ({ apiVersion: `${GROUP}/v1`, kind: "Toy", metadata: { name: "ap" }, spec: of });
    const to = (manager: string) => `${TOYS}/ap?fieldManager=${manager}`;
    await t.ask("PATCH", to("one"), part({ code: "ab", parts: [{ name: "a", weight: 2 }], tags: ["x"] }), own);
    await t.ask("PATCH", to("two"), part({ parts: [{ name: "b" }], tags: ["y", "x"] }), own);
    await t.ask("PATCH", to("two"), part({ parts: [{ name: "a", weight: 3 }] }), own);
    await t.ask("PATCH", to("two"), part({ parts: [{ name: "b", note: "n" }] }), own);
    await t.ask("PATCH", to("one"), part({ code: "ab" }), own);
    await t.ask("PATCH", to("three"), part({ plain: [{ a: "1" }] }), own);
    await t.ask("PATCH", to("four"), part({ plain: [{ a: "2" }] }), own);
    await t.ask("PATCH", to("four"), part({ unknown: 1 }), { ...own, loose: true });
    await t.ask("PATCH", to("four"), part({ free: { a: { b: 1 } }, labels: { k: "v" } }), own);
  });

  it("shows its columns, and is selected by its fields", async (t) => {
    await t.namespace();
    await t.quiet("POST", TOYS, toy("a", { size: 5, ratio: 1.5, parts: [{ name: "p" }, { name: "q" }], labels: { x: "y" } }));
    await t.quiet("POST", TOYS, toy("b", { color: "green", code: "xy" }));
    await t.ask("GET", TOYS, undefined, {
      accept: TABLE,
      show: (body) => ({ columns: (at(body, "columnDefinitions") as JsonObject[]).map((c) => (c["name"] === "Name" ? "Name" : c)), cells: (at(body, "rows") as JsonObject[]).map((row) => (row["cells"] as Json[]).map((cell) => (/^\d+s$/.test(String(cell)) ? "AGE" : cell))) }),
    });
    for (const selector of ["spec.color=green", "spec.color!=green", "spec.code=ab,spec.color=red", "metadata.name=a"]) {
      t.note(selector, ((await t.raw("GET", `${TOYS}?fieldSelector=${encodeURIComponent(selector)}`)).json as { items: JsonObject[] }).items.map((item) => at(item, "metadata.name")));
    }
    await t.ask("GET", `${TOYS}?fieldSelector=spec.size%3D3`);
  });

  it("lets stand what was wrong before", async (t) => {
    const loose = definition("ratchets", { properties: { spec: { type: "object", properties: { a: { type: "string" }, b: { type: "string" }, list: { type: "array", items: { type: "string" } } } } } });
    await install(t, loose);
    const path = `~${GROUP}/v1/ratchets`;
    await t.quiet("POST", path, { apiVersion: `${GROUP}/v1`, kind: "Ratchet", metadata: { name: "old" }, spec: { a: "long long", b: "x", list: ["ok", "not ok"] } });
    const strict = structuredClone(loose);
    const schema = at(strict, "spec.versions.0.schema.openAPIV3Schema") as JsonObject;
    schema["properties"] = { spec: { type: "object", properties: { a: { type: "string", maxLength: 4, "x-kubernetes-validations": [{ rule: "self.size() < 5" }] }, b: { type: "string", pattern: "^[a-z]*$" }, list: { type: "array", items: { type: "string", maxLength: 3 } } } } };
    const live = await t.quiet("GET", `${CRDS}/ratchets.${GROUP}`);
    await t.quiet("PUT", `${CRDS}/ratchets.${GROUP}`, { ...live, spec: { ...(live["spec"] as JsonObject), versions: at(strict, "spec.versions") } });
    // The new schema is there when a new object is judged by it.
    for (let seen = 201; seen === 201;) seen = (await t.raw("POST", `${path}?dryRun=All`, { apiVersion: `${GROUP}/v1`, kind: "Ratchet", metadata: { name: "new" }, spec: { a: "too long" } })).code;
    await t.ask("PATCH", `${path}/old`, { spec: { b: "y" } }, { ...MERGE, show: ["spec"] });
    await t.ask("PATCH", `${path}/old`, { metadata: { labels: { a: "b" } } }, { ...MERGE, show: ["metadata.labels"] });
    await t.ask("PATCH", `${path}/old`, { spec: { a: "long again" } }, MERGE);
    await t.ask("PATCH", `${path}/old`, { spec: { b: "1" } }, MERGE);
    await t.ask("PATCH", `${path}/old`, { spec: { list: ["not ok", "ok"] } }, MERGE);
    await remove(t, `ratchets.${GROUP}`);
  });

  it("serves versions of one stored form", async (t) => {
    const schema = { type: "object", properties: { spec: { type: "object", properties: { a: { type: "string" }, b: { type: "string", default: "new" } } } } };
    const old = { type: "object", properties: { spec: { type: "object", properties: { a: { type: "string" } } } } };
    const versions = [
      { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } },
      { name: "v1beta1", served: true, storage: false, deprecated: true, schema: { openAPIV3Schema: old } },
      { name: "v1alpha1", served: false, storage: false, schema: { openAPIV3Schema: old } },
    ];
    await install(t, definition("manies", {}, {}, { names: { plural: "manies", kind: "Many", singular: "many" }, versions }));
    await t.ask("POST", `~${GROUP}/v1/manies`, { apiVersion: `${GROUP}/v1`, kind: "Many", metadata: { name: "m" }, spec: { a: "1" } });
    await t.ask("GET", `~${GROUP}/v1beta1/manies/m`);
    await t.ask("GET", `~${GROUP}/v1alpha1/manies/m`);
    await t.ask("PATCH", `~${GROUP}/v1beta1/manies/m`, { spec: { a: "2" } }, { ...MERGE, show: ["apiVersion", "spec"] });
    await t.ask("GET", `~${GROUP}/v1/manies/m`, undefined, { show: ["apiVersion", "spec"] });
    await t.ask("POST", `~${GROUP}/v1beta1/manies`, { apiVersion: `${GROUP}/v1beta1`, kind: "Many", metadata: { name: "n" }, spec: { a: "1" } }, { show: ["apiVersion", "spec"] });
    await t.ask("GET", `~${GROUP}/v1/manies/n`, undefined, { show: ["apiVersion", "spec"] });
    await t.ask("GET", `${CRDS}/manies.${GROUP}`, undefined, { show: ["status.storedVersions", "status.acceptedNames"] });
    await remove(t, `manies.${GROUP}`);
    await t.until(`/apis/${GROUP}/v1/manies`, "nobody serves it", (answer) => answer.code === 404);
  });

  it("goes with its objects", async (t) => {
    await install(t, definition("brieves", { "x-kubernetes-preserve-unknown-fields": true }));
    const path = `~${GROUP}/v1/brieves`;
    await t.quiet("POST", path, { apiVersion: `${GROUP}/v1`, kind: "Brieve", metadata: { name: "held", finalizers: ["example.com/hold"] } });
    await t.ask("DELETE", `${CRDS}/brieves.${GROUP}`, undefined, { show: ["kind", "metadata.finalizers"] });
    await t.until(`${path}/held`, "its deletion", (answer) => at(answer.json, "metadata.deletionTimestamp") !== null);
    await t.ask("POST", path, { apiVersion: `${GROUP}/v1`, kind: "Brieve", metadata: { name: "late" } });
    await t.quiet("PATCH", `${path}/held`, { metadata: { finalizers: null } }, MERGE);
    await t.until(`${CRDS}/brieves.${GROUP}`, "its end", (answer) => answer.code === 404, { show: "code" });
    await t.until(path, "nobody serves it", (answer) => answer.code === 404);
  });

  const bad: readonly [what: string, crd: JsonObject][] = [
    ["another name", { ...definition("bads", {}), metadata: { name: "other.name" } }],
    ["no schema", definition("bads", {}, { schema: null })],
    ["no stored version", definition("bads", {}, { storage: false })],
    ["no version", definition("bads", {}, {}, { versions: [] })],
    ["no kind", definition("bads", {}, {}, { names: { plural: "bads" } })],
    ["a bad scope", definition("bads", {}, {}, { scope: "Everywhere" })],
    ["a field without type", definition("bads", { properties: { a: {} } })],
    ["a list without items", definition("bads", { properties: { a: { type: "array" } } })],
    ["both properties and additional ones", definition("bads", { properties: { a: { type: "object", properties: { b: { type: "string" } }, additionalProperties: { type: "string" } } } })],
    ["a default that does not fit", definition("bads", { properties: { a: { type: "integer", default: "x" } } })],
    ["a pattern that is none", definition("bads", { properties: { a: { type: "string", pattern: "(" } } })],
    ["a rule that is none", definition("bads", { properties: { a: { type: "string", "x-kubernetes-validations": [{ rule: "self +" }] } } })],
    ["a map list without keys", definition("bads", { properties: { a: { type: "array", items: { type: "object" }, "x-kubernetes-list-type": "map" } } })],
    ["types within alternatives", definition("bads", { properties: { a: { type: "object", anyOf: [{ type: "object" }] } } })],
    ["a reference", definition("bads", { properties: { a: { type: "object", $ref: "#/x" } } })],
    ["unique items", definition("bads", { properties: { a: { type: "array", uniqueItems: true, items: { type: "string" } } } })],
    ["a root that is no object", definition("bads", { type: "array" })],
    ["a group without a dot", { ...definition("bads", {}, {}, { group: "bare" }), metadata: { name: "bads.bare" } }],
    ["kubernetes' own group", { ...definition("bads", {}, {}, { group: "x.k8s.io" }), metadata: { name: "bads.x.k8s.io" } }],
  ];
  for (const [what, crd] of bad) {
    it(`refuses a definition with ${what}`, async (t) => {
      await t.ask("POST", `${CRDS}?dryRun=All`, crd, { brief: true });
    });
  }

  it("keeps what a definition may not change", async (t) => {
    const live = await t.quiet("GET", `${CRDS}/toys.${GROUP}`);
    const change = (part: JsonObject) => t.ask("PUT", `${CRDS}/toys.${GROUP}?dryRun=All`, { ...live, spec: { ...(live["spec"] as JsonObject), ...part } }, { show: "code" });
    await change({ scope: "Cluster" });
    await change({ group: "other.example" });
    await change({ names: { plural: "toys", kind: "Doll", singular: "doll" } });
    await change({ names: { plural: "dolls", kind: "Toy", singular: "toy" } });
    await t.ask("PUT", `${CRDS}/toys.${GROUP}?dryRun=All`, TOY, { show: "code" });
    await remove(t, `toys.${GROUP}`);
    await t.until(`/apis/${GROUP}/v1`, "the group's end", (answer) => answer.code === 404, { show: "code" });
  });
});
