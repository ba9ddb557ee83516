// Owns the definitions that cases of custom kinds work with: a toy that has everything, and those of the mesh.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import type { Talk } from "./contract.fixture.ts";
import { at } from "./masks.fixture.ts";
import type { JsonObject } from "./wire.fixture.ts";

export const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
export const GROUP = "contract.ambit.example";

export function definition(plural: string, schema: JsonObject, more: JsonObject = {}, spec: JsonObject = {}): JsonObject {
  const kind = `${plural[0]?.toUpperCase() ?? ""}${plural.slice(1, -1)}`;
  return {
    apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP, scope: "Namespaced", names: { plural, kind, singular: plural.slice(0, -1) },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", ...schema } }, ...more }],
      ...spec,
    },
  };
}

/** Makes a definition anew and waits until its kind is served. */
export async function install(t: Talk, crd: JsonObject): Promise<void> {
  const name = String(at(crd, "metadata.name"));
  await remove(t, name);
  await t.quiet("POST", CRDS, crd);
  const version = String(at(crd, "spec.versions.0.name"));
  await t.until(`/apis/${String(at(crd, "spec.group"))}/${version}/${String(at(crd, "spec.names.plural"))}`, "the list", (answer) => answer.code === 200);
}

export async function remove(t: Talk, name: string): Promise<void> {
  const gone = await t.raw("DELETE", `${CRDS}/${name}`);
  assert.ok(gone.code === 200 || gone.code === 404, gone.text);
  await t.until(`${CRDS}/${name}`, "its end", (answer) => answer.code === 404);
}

/** The definitions that Ambit installs. */
export function meshDefinitions(): JsonObject[] {
  const folder = join(import.meta.dirname, "../../manifests/charts/base/crds");
  const files = ["gateway-api", "istio"].flatMap((part) => readdirSync(join(folder, part)).filter((file) => file.endsWith(".yaml")).map((file) => join(folder, part, file)));
  return files.map((file) => load(readFileSync(file, "utf8")) as JsonObject);
}

const text = { type: "string" };
const int = { type: "integer" };

/** One field for every word of a structural schema. */
export const TOY: JsonObject = definition("toys", {
  properties: {
    spec: {
      type: "object",
      properties: {
        size: { ...int, minimum: 1, maximum: 10, default: 3 },
        ratio: { type: "number", multipleOf: 0.5, exclusiveMinimum: true, minimum: 0 },
        color: { ...text, enum: ["red", "green"], default: "red" },
        code: { ...text, pattern: "^[a-z]{2,4}$", maxLength: 4, minLength: 2 },
        when: { ...text, format: "date-time" },
        bytes: { ...text, format: "byte" },
        small: { ...int, format: "int32" },
        port: { "x-kubernetes-int-or-string": true },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        half: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { known: { type: "object", properties: { a: text } } } },
        embedded: { type: "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
        maybe: { ...text, nullable: true },
        maybeDefault: { ...text, nullable: true, default: "x" },
        strictDefault: { ...text, default: "y" },
        labels: { type: "object", additionalProperties: text, maxProperties: 2 },
        tags: { type: "array", items: text, "x-kubernetes-list-type": "set" },
        parts: {
          type: "array", maxItems: 4, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
          items: { type: "object", required: ["name"], properties: { name: text, weight: { ...int, default: 1, maximum: 100 }, note: text } },
        },
        plain: { type: "array", minItems: 1, items: { type: "object", properties: { a: text, b: { ...text, default: "z" } } } },
        nested: { type: "object", default: {}, properties: { deep: { ...text, default: "d" } } },
        either: { type: "object", properties: { left: text, right: text }, oneOf: [{ required: ["left"] }, { required: ["right"] }] },
        any: { type: "object", properties: { left: text, right: text }, anyOf: [{ required: ["left"] }, { required: ["right"] }] },
        never: { type: "object", properties: { left: text }, not: { required: ["left"] } },
        fixed: { ...text, "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "fixed is fixed" }] },
        low: int, high: int,
        replicas: int,
      },
      required: ["code"],
      "x-kubernetes-validations": [
        { rule: "!has(self.low) || !has(self.high) || self.low <= self.high", message: "low is not above high", fieldPath: ".low", reason: "FieldValueForbidden" },
        { rule: "!has(self.parts) || self.parts.all(p, p.name != 'bad')", messageExpression: "'bad ' + 'parts'" },
        { rule: "!has(self.port) || type(self.port) != int || self.port < 65536" },
      ],
    },
    status: { type: "object", properties: { phase: text, replicas: int, selector: text, conditions: { type: "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], items: { type: "object", required: ["type"], properties: { type: text, status: text } } } } },
  },
}, {
  subresources: { status: {}, scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas", labelSelectorPath: ".status.selector" } },
  additionalPrinterColumns: [
    { name: "Size", type: "integer", jsonPath: ".spec.size" }, { name: "Color", type: "string", jsonPath: ".spec.color", description: "its color", priority: 1 },
    { name: "Parts", type: "string", jsonPath: ".spec.parts[*].name" }, { name: "Ratio", type: "number", jsonPath: ".spec.ratio" }, { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    { name: "Labels", type: "string", jsonPath: ".spec.labels" },
  ],
  selectableFields: [{ jsonPath: ".spec.color" }, { jsonPath: ".spec.code" }],
}, { names: { plural: "toys", kind: "Toy", singular: "toy", shortNames: ["ty"], categories: ["all"] } });

export function toy(name: string, spec: JsonObject = {}, more: JsonObject = {}): JsonObject {
  return { apiVersion: `${GROUP}/v1`, kind: "Toy", metadata: { name }, spec: { code: "ab", ...spec }, ...more };
}
