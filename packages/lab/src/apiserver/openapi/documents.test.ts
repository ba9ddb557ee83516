import assert from "node:assert/strict";
import { asArray, asObject, dig, isObject, type Json, type JsonObject } from "../json.ts";
import { readFields } from "../protobuf/wire.ts";
import { compileSchema } from "../schema/structural.ts";
import { builtinSchema } from "./builtin.ts";
import { definitions, kindsOf } from "./definitions.ts";
import { documentHash, openapiV2, openapiV3, openapiV3Index, type ServedKind } from "./documents.ts";
import { encodeOpenapiV2 } from "./protobuf.ts";

function kind(group: string, version: string, name: string, resource: string, more: Partial<ServedKind> = {}): ServedKind {
  return { group, version, kind: name, resource, namespaced: true, status: {}, scale: null, subresources: [], custom: null, ...more };
}

const fooSchema: JsonObject = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      properties: {
        size: { "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }] },
        maybe: { type: "string", nullable: true },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { a: { type: "string" } } },
      },
      oneOf: [{ required: ["size"] }],
    },
  },
};
const kinds = [
  kind("", "v1", "Pod", "pods", { subresources: ["log", "exec", "eviction", "binding"] }),
  kind("", "v1", "Namespace", "namespaces", { namespaced: false }),
  kind("", "v1", "ServiceAccount", "serviceaccounts", { status: null, subresources: ["token"] }),
  kind("apps", "v1", "Deployment", "deployments", { scale: {} }),
  kind("example.org", "v1", "Foo", "foos", { custom: { schema: fooSchema } }),
];

function references(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (!isObject(value)) return [];
  const mine = typeof value["$ref"] === "string" ? [value["$ref"]] : [];
  return [...mine, ...Object.values(value).flatMap(references)];
}

function assertResolves(document: JsonObject): void {
  for (const reference of new Set(references(document))) {
    const found = dig(document, ...reference.slice(2).split("/"));
    assert.ok(isObject(found), `${reference} leads nowhere`);
  }
}

describe("OpenAPI documents", () => {
  it("refer only to what they define", () => {
    assertResolves(openapiV2(kinds));
    for (const path of ["api/v1", "apis/apps/v1", "apis/example.org/v1"]) {
      const document = openapiV3(path, kinds);
      assert.ok(document !== undefined);
      assertResolves(document);
    }
    assert.equal(openapiV3("apis/none/v1", kinds), undefined);
  });

  it("say what kubectl looks for before it writes", () => {
    const document = openapiV3("apis/apps/v1", kinds) ?? {};
    const item = dig(document, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    const patch = asObject(dig(item, "patch"));
    assert.deepEqual(patch["x-kubernetes-group-version-kind"], { group: "apps", version: "v1", kind: "Deployment" });
    assert.equal(patch["x-kubernetes-action"], "patch");
    const names = asArray(patch["parameters"]).map((parameter) => asObject(parameter)["name"]);
    for (const name of ["dryRun", "fieldManager", "fieldValidation", "force"]) assert.ok(names.includes(name), name);
    const types = Object.keys(asObject(dig(patch, "requestBody", "content")));
    assert.ok(types.includes("application/strategic-merge-patch+json"));
    const scale = dig(document, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "put");
    assert.equal(dig(scale, "x-kubernetes-group-version-kind", "kind"), "Scale");
  });

  it("offer no strategic patch of custom kinds", () => {
    const document = openapiV3("apis/example.org/v1", kinds);
    const patch = dig(document, "paths", "/apis/example.org/v1/namespaces/{namespace}/foos/{name}", "patch");
    const types = Object.keys(asObject(dig(patch, "requestBody", "content")));
    assert.ok(!types.includes("application/strategic-merge-patch+json"));
  });

  it("list cluster-wide kinds once and namespaced ones twice", () => {
    const paths = Object.keys(asObject(openapiV3("api/v1", kinds)?.["paths"]));
    assert.deepEqual(
      paths.filter((path) => !path.includes("{name}")),
      [
        "/api/v1/namespaces/{namespace}/pods", "/api/v1/pods", "/api/v1/namespaces",
        "/api/v1/namespaces/{namespace}/serviceaccounts", "/api/v1/serviceaccounts",
      ],
    );
  });

  it("keep a custom kind's schema in version 3 and loosen it in version 2", () => {
    const three = asObject(dig(openapiV3("apis/example.org/v1", kinds), "components", "schemas", "org.example.v1.Foo"));
    assert.deepEqual(dig(three, "properties", "spec"), dig(fooSchema, "properties", "spec"));
    assert.deepEqual(three["x-kubernetes-group-version-kind"], [{ group: "example.org", version: "v1", kind: "Foo" }]);
    const two = dig(openapiV2(kinds), "definitions", "org.example.v1.Foo", "properties", "spec");
    assert.deepEqual(two, { type: "object", properties: { size: {}, maybe: {}, free: { "x-kubernetes-preserve-unknown-fields": true } } });
  });

  it("are indexed under a hash that changes with a schema, and with nothing else", () => {
    const path = "apis/example.org/v1";
    const changed = kinds.map((k) => (k.custom === null ? k : { ...k, custom: { schema: { ...fooSchema, description: "x" } } }));
    assert.notEqual(documentHash(path, kinds), documentHash(path, changed));
    assert.equal(documentHash("api/v1", kinds), documentHash("api/v1", changed));
    const url = String(dig(openapiV3Index(kinds), "paths", path, "serverRelativeURL"));
    assert.equal(url, `/openapi/v3/${path}?hash=${documentHash(path, kinds)}`);
  });
});

describe("OpenAPI version 2 in protobuf", () => {
  const inner = (bytes: Uint8Array, wanted: number): Uint8Array[] => {
    const found: Uint8Array[] = [];
    readFields(bytes, (number, value) => {
      if (number === wanted && value.kind === "bytes") found.push(value.bytes);
    });
    return found;
  };
  const decode = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

  it("holds every definition and path, with types and extensions", () => {
    const document = openapiV2(kinds);
    const bytes = encodeOpenapiV2(document);
    assert.equal(decode(inner(bytes, 1)[0]), "2.0");
    const entries = inner(inner(bytes, 9)[0] ?? new Uint8Array(), 1);
    assert.deepEqual(entries.map((entry) => decode(inner(entry, 1)[0])), Object.keys(asObject(document["definitions"])));
    const paths = inner(inner(bytes, 8)[0] ?? new Uint8Array(), 2);
    assert.deepEqual(paths.map((entry) => decode(inner(entry, 1)[0])), Object.keys(asObject(document["paths"])));
    const pod = entries.find((entry) => decode(inner(entry, 1)[0]) === "io.k8s.api.core.v1.Pod");
    const schema = inner(pod ?? new Uint8Array(), 2)[0] ?? new Uint8Array();
    assert.equal(decode(inner(inner(schema, 22)[0] ?? new Uint8Array(), 1)[0]), "object");
    const [extension] = inner(schema, 31);
    const yaml = inner(inner(extension ?? new Uint8Array(), 2)[0] ?? new Uint8Array(), 2)[0];
    assert.deepEqual(JSON.parse(decode(yaml)), [{ group: "", kind: "Pod", version: "v1" }]);
  });
});

describe("built-in schemas", () => {
  it("all compile, and their list keys exist", () => {
    for (const definition of definitions().values()) {
      for (const gvk of kindsOf(definition)) {
        const schema = builtinSchema(gvk.group, gvk.version, gvk.kind);
        assert.ok(schema !== undefined, gvk.kind);
        compileSchema(schema);
      }
    }
    for (const [name, definition] of definitions()) {
      for (const [field, schema] of Object.entries(asObject(definition["properties"] as Json))) {
        const item = definitions().get(String(dig(schema as Json, "items", "$ref")));
        const keys = [...asArray(dig(schema as Json, "x-kubernetes-list-map-keys")), dig(schema as Json, "x-kubernetes-patch-merge-key")];
        for (const key of keys) {
          if (key === undefined || item === undefined) continue;
          assert.ok(isObject(dig(item["properties"] as Json, String(key))), `${name}.${field}: no key ${String(key)}`);
        }
      }
    }
  });
});
