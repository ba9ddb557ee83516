// Tests custom resources: serving, schemas, versions, subresources, columns, and the CRD's own life; patches and apply with them.
import assert from "node:assert/strict";
import { asObjects, dig, type JsonObject } from "./json.ts";
import { startRig, type Answer, type Rig } from "./test-client.ts";

const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1 = "/apis/ex.io/v1/namespaces/default/widgets";
const MERGE = { type: "application/merge-patch+json" };

function version(name: string, storage: boolean): JsonObject {
  const spec = {
    type: "object",
    required: ["size"],
    properties: {
      size: { type: "integer", minimum: 1 },
      color: { type: "string", default: "red", enum: ["red", "blue"] },
      replicas: { type: "integer" },
    },
  };
  return {
    name,
    served: true,
    storage,
    subresources: { status: {}, scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" } },
    additionalPrinterColumns: [{ name: "Size", type: "integer", jsonPath: ".spec.size" }],
    schema: { openAPIV3Schema: { type: "object", properties: { spec, status: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } } },
  };
}

function crd(): JsonObject {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.ex.io" },
    spec: {
      group: "ex.io",
      scope: "Namespaced",
      names: { plural: "widgets", kind: "Widget", shortNames: ["wd"] },
      versions: [version("v1beta1", false), version("v1", true)],
    },
  };
}

function widget(name: string, spec: JsonObject = { size: 1 }): JsonObject {
  return { apiVersion: "ex.io/v1", kind: "Widget", metadata: { name }, spec };
}

describe("apiserver: custom resources", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
    assert.equal((await rig.admin.ask("POST", CRDS, crd())).code, 201);
  });
  afterEach(() => rig.close());

  const apply = (body: JsonObject, manager: string, query = ""): Promise<Answer> => {
    const name = String(dig(body, "metadata", "name"));
    return rig.admin.ask("PATCH", `${V1}/${name}?fieldManager=${manager}${query}`, body, { type: "application/apply-patch+yaml" });
  };

  it("serves at once and reports itself established", async () => {
    assert.equal((await rig.admin.ask("POST", V1, widget("now"))).code, 201);
    const seen = await rig.admin.watch(`${CRDS}?watch=1&fieldSelector=metadata.name%3Dwidgets.ex.io`);
    for (;;) {
      const event = await seen.next();
      const conditions = (dig(event?.object, "status", "conditions") ?? []) as JsonObject[];
      if (conditions.some((c) => c["type"] === "Established" && c["status"] === "True")) break;
    }
    seen.close();
    const list = await rig.admin.ask("GET", "/apis/ex.io/v1");
    assert.deepEqual((list.body["resources"] as JsonObject[]).map((r) => r["name"]), ["widgets", "widgets/status", "widgets/scale"]);
    const groups = await rig.admin.ask("GET", "/apis", undefined, { accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" });
    assert.equal(groups.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    const own = (groups.body["items"] as JsonObject[]).find((item) => dig(item, "metadata", "name") === "ex.io");
    assert.deepEqual(asObjects(own?.["versions"]).map((v) => v["version"]), ["v1", "v1beta1"], "stable first");
  });

  it("prunes, defaults and validates", async () => {
    const made = await rig.admin.ask("POST", V1, widget("w", { size: 2, extra: 1 }));
    assert.deepEqual(made.body["spec"], { size: 2, color: "red" });
    assert.match(String(made.headers["warning"]), /unknown field \\"spec.extra\\"/);
    const refused = await rig.admin.ask("POST", V1, widget("x", { size: 0, color: "green" }));
    assert.equal(refused.code, 422);
    assert.match(String(refused.body["message"]), /^Widget\.ex\.io "x" is invalid: \[.*spec\.size.*\]/);
    assert.match(String(refused.body["message"]), /spec\.color: Unsupported value: "green": supported values: "red", "blue"/);
    assert.equal((await rig.admin.ask("POST", V1, widget("y", {}))).code, 422);
    assert.equal((await rig.admin.ask("PUT", `${V1}/w`, widget("w", { size: 3 }))).code, 422, "updates need a resourceVersion");
  });

  it("shows every version of the one stored object", async () => {
    await rig.admin.ask("POST", "/apis/ex.io/v1beta1/namespaces/default/widgets", { ...widget("both"), apiVersion: "ex.io/v1beta1" });
    assert.equal((await rig.admin.ask("GET", `${V1}/both`)).body["apiVersion"], "ex.io/v1");
    const beta = await rig.admin.ask("GET", "/apis/ex.io/v1beta1/namespaces/default/widgets");
    assert.equal((beta.body["items"] as JsonObject[])[0]?.["apiVersion"], "ex.io/v1beta1");
    assert.equal(beta.body["kind"], "WidgetList");
  });

  it("separates spec and status and raises the generation for spec", async () => {
    await rig.admin.ask("POST", V1, { ...widget("s", { size: 1, replicas: 1 }), status: { x: 1 } });
    const first = await rig.admin.ask("GET", `${V1}/s`);
    assert.equal(first.body["status"], undefined);
    const status = await rig.admin.ask("PATCH", `${V1}/s/status`, { status: { x: 2 }, spec: { size: 9 }, metadata: { labels: { a: "b" } } }, MERGE);
    assert.deepEqual(status.body["status"], { x: 2 });
    assert.equal(dig(status.body, "spec", "size"), 1);
    assert.equal(dig(status.body, "metadata", "generation"), 1);
    assert.equal(dig(status.body, "metadata", "labels"), undefined);
    const spec = await rig.admin.ask("PATCH", `${V1}/s`, [{ op: "replace", path: "/spec/size", value: 5 }], { type: "application/json-patch+json" });
    assert.equal(dig(spec.body, "metadata", "generation"), 2);
    const scaled = await rig.admin.ask("PATCH", `${V1}/s/scale`, { spec: { replicas: 4 } }, MERGE);
    assert.equal(dig(scaled.body, "spec", "replicas"), 4);
    assert.equal(dig((await rig.admin.ask("GET", `${V1}/s`)).body, "spec", "replicas"), 4);
  });

  it("prints its own columns", async () => {
    await rig.admin.ask("POST", V1, widget("col", { size: 7 }));
    const shown = await rig.admin.ask("GET", V1, undefined, { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" });
    assert.deepEqual((shown.body["rows"] as JsonObject[])[0]?.["cells"], ["col", 7]);
  });

  it("applies on the server: creates, keeps owners apart, names conflicts, forces", async () => {
    assert.equal((await apply(widget("a", { size: 1, color: "blue" }), "one")).code, 201);
    const other = await apply(widget("a", { size: 1, replicas: 2 }), "two");
    assert.equal(other.code, 200);
    assert.equal(dig(other.body, "spec", "color"), "blue");
    const clash = await apply(widget("a", { size: 4 }), "three");
    assert.equal(clash.code, 409);
    assert.equal(clash.body["reason"], "Conflict");
    assert.deepEqual((dig(clash.body, "details", "causes") as JsonObject[]).map((c) => c["reason"]), ["FieldManagerConflict", "FieldManagerConflict"]);
    assert.equal(dig((await apply(widget("a", { size: 4 }), "three", "&force=true")).body, "spec", "size"), 4);
    const dropped = await apply(widget("a", { size: 4 }), "two", "&force=true");
    assert.equal(dig(dropped.body, "spec", "replicas"), undefined, "what its only manager no longer applies goes");
    const nameless = await rig.admin.ask("PATCH", `${V1}/a`, widget("a"), { type: "application/apply-patch+yaml" });
    assert.equal(nameless.code, 422, "apply needs a fieldManager");
  });

  it("refuses strategic patches, and patches that change what the object is", async () => {
    await rig.admin.ask("POST", V1, widget("p"));
    assert.equal((await rig.admin.ask("PATCH", `${V1}/p`, {}, { type: "application/strategic-merge-patch+json" })).code, 415);
    assert.equal((await rig.admin.ask("PATCH", `${V1}/p`, {}, { type: "text/html" })).code, 415);
    assert.equal((await rig.admin.ask("PATCH", `${V1}/p`, { kind: "Other" }, MERGE)).code, 422);
    assert.equal((await rig.admin.ask("PATCH", `${V1}/p`, { metadata: { name: "q" } }, MERGE)).code, 400);
    assert.equal((await rig.admin.ask("PATCH", `${V1}/p`, "nonsense", { type: "application/json-patch+json" })).code, 400);
    assert.equal((await rig.admin.ask("PATCH", `${V1}/p`, [{ op: "test", path: "/spec/size", value: 9 }], { type: "application/json-patch+json" })).code, 422);
  });

  it("takes its objects with it when it is deleted, those with finalizers last", async () => {
    await rig.admin.ask("POST", V1, widget("plain"));
    await rig.admin.ask("POST", V1, { ...widget("held"), metadata: { name: "held", finalizers: ["ex.io/hold"] } });
    await rig.admin.ask("DELETE", `${CRDS}/widgets.ex.io`);
    const seen = await rig.admin.watch(`${CRDS}?watch=1`);
    const held = await rig.admin.ask("GET", V1);
    assert.deepEqual((held.body["items"] as JsonObject[]).map((item) => dig(item, "metadata", "name")), ["held"]);
    assert.equal((await rig.admin.ask("POST", V1, widget("late"))).code, 403);
    await rig.admin.ask("PATCH", `${V1}/held`, { metadata: { finalizers: null } }, MERGE);
    for (;;) if ((await seen.next())?.type === "DELETED") break;
    seen.close();
    assert.equal((await rig.admin.ask("GET", V1)).code, 404);
  });

  const broken: readonly [what: string, change: (crd: JsonObject) => void, message: RegExp][] = [
    ["a name that is not plural.group", (c) => void ((c["metadata"] as JsonObject)["name"] = "other.ex.io"), /metadata\.name/],
    ["two storage versions", (c) => (dig(c, "spec", "versions") as JsonObject[]).forEach((v) => (v["storage"] = true)), /exactly one version marked as storage/],
    ["no versions", (c) => void ((c["spec"] as JsonObject)["versions"] = []), /spec\.versions/],
    ["an unknown scope", (c) => void ((c["spec"] as JsonObject)["scope"] = "Universe"), /spec\.scope: Unsupported value/],
    ["a webhook conversion", (c) => void ((c["spec"] as JsonObject)["conversion"] = { strategy: "Webhook" }), /spec\.conversion\.strategy/],
  ];
  for (const [what, change, message] of broken) {
    it(`refuses a CRD with ${what}`, async () => {
      const definition = crd();
      (definition["metadata"] as JsonObject)["name"] = "gadgets.ex.io";
      (definition["spec"] as JsonObject)["names"] = { plural: "gadgets", kind: "Gadget" };
      change(definition);
      const answer = await rig.admin.ask("POST", CRDS, definition);
      assert.equal(answer.code, 422, answer.text);
      assert.match(String(answer.body["message"]), message);
    });
  }

  it("refuses a schema that is not structural, naming the place", async () => {
    const definition = crd();
    (definition["metadata"] as JsonObject)["name"] = "gadgets.ex.io";
    (definition["spec"] as JsonObject)["names"] = { plural: "gadgets", kind: "Gadget" };
    const schema = dig((dig(definition, "spec", "versions") as JsonObject[])[0], "schema", "openAPIV3Schema") as JsonObject;
    schema["properties"] = { spec: { type: "unicorn" } };
    const answer = await rig.admin.ask("POST", CRDS, definition);
    assert.equal(answer.code, 422);
    assert.match(String(answer.body["message"]), /spec\.versions\[0\]\.schema\.openAPIV3Schema.*spec/);
  });
});
