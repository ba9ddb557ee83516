import assert from "node:assert/strict";
import { builtinSchema } from "../openapi/builtin.ts";
import type { JsonObject } from "../json.ts";
import { compileSchema, SchemaError, type Schema } from "./structural.ts";

const object = (properties: Schema, more: Schema = {}): Schema => ({ type: "object", properties, ...more });
const spec = (schema: Schema): Schema => object({ spec: schema });

function problems(schema: Schema, value: JsonObject, old?: JsonObject): string[] {
  return compileSchema(schema).validate(value, old).map((error) => `${error.field}: ${error.message}`);
}

describe("structural schema: validation", () => {
  const cases: { name: string; schema: Schema; value: JsonObject; want: string[] }[] = [
    {
      name: "a wrong type",
      schema: spec(object({ replicas: { type: "integer" } })),
      value: { spec: { replicas: "three" } },
      want: ['spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'],
    },
    {
      name: "a missing member",
      schema: spec(object({ a: { type: "string" } }, { required: ["a"] })),
      value: { spec: {} },
      want: ["spec.a: Required value"],
    },
    {
      name: "an enum",
      schema: spec({ type: "string", enum: ["a", "b"] }),
      value: { spec: "x" },
      want: ['spec: Unsupported value: "x": supported values: "a", "b"'],
    },
    {
      name: "a pattern of RE2",
      schema: spec({ type: "string", pattern: "^(?i)a+$" }),
      value: { spec: "b" },
      want: ["spec: Invalid value: \"b\": spec in body should match '^(?i)a+$'"],
    },
    {
      name: "bounds of numbers",
      schema: spec({ type: "array", items: { type: "integer", minimum: 1, maximum: 5, exclusiveMaximum: true } }),
      value: { spec: [0, 5, 3] },
      want: [
        "spec[0]: Invalid value: 0: spec[0] in body should be greater than or equal to 1",
        "spec[1]: Invalid value: 5: spec[1] in body should be less than 5",
      ],
    },
    {
      name: "lengths count code points",
      schema: spec({ type: "string", maxLength: 2, minLength: 2 }),
      value: { spec: "😀😀" },
      want: [],
    },
    {
      name: "too long",
      schema: spec({ type: "string", maxLength: 2 }),
      value: { spec: "abc" },
      want: ["spec: Too long: may not be more than 2 bytes"],
    },
    {
      name: "too many",
      schema: spec({ type: "array", maxItems: 1, items: { type: "string" } }),
      value: { spec: ["a", "b"] },
      want: ["spec: Too many: 2: must have at most 1 items"],
    },
    {
      name: "duplicates in a set",
      schema: spec({ type: "array", "x-kubernetes-list-type": "set", items: { type: "string" } }),
      value: { spec: ["a", "b", "a"] },
      want: ['spec[2]: Duplicate value: "a"'],
    },
    {
      name: "duplicates in a map list, defaulted keys included",
      schema: spec({
        type: "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        items: object({ port: { type: "integer" }, protocol: { type: "string", default: "TCP" } }),
      }),
      value: { spec: [{ port: 1 }, { port: 1, protocol: "TCP" }, { port: 1, protocol: "UDP" }] },
      want: ['spec[1]: Duplicate value: {"port":1,"protocol":"TCP"}'],
    },
    {
      name: "int-or-string",
      schema: spec(object({ a: { "x-kubernetes-int-or-string": true }, b: { "x-kubernetes-int-or-string": true } })),
      value: { spec: { a: "10%", b: 1.5 } },
      want: ['spec.b: Invalid value: "number": spec.b in body must be of type integer,string: "number"'],
    },
    {
      name: "null where it is allowed and where not",
      schema: spec(object({ a: { type: "string", nullable: true }, b: { type: "string" } })),
      value: { spec: { a: null, b: null } },
      want: ['spec.b: Invalid value: "null": spec.b in body must be of type string: "null"'],
    },
    {
      name: "oneOf with none",
      schema: spec(object({ a: { type: "string" }, b: { type: "string" } }, { oneOf: [{ required: ["a"] }, { required: ["b"] }] })),
      value: { spec: {} },
      want: [
        '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid',
        "spec.a: Required value",
      ],
    },
    {
      name: "oneOf with two",
      schema: spec(object({ a: { type: "string" }, b: { type: "string" } }, { oneOf: [{ required: ["a"] }, { required: ["b"] }] })),
      value: { spec: { a: "", b: "" } },
      want: ['<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
    },
    {
      name: "not and anyOf",
      schema: spec(object({ a: { type: "string" } }, { not: { anyOf: [{ required: ["a"] }] } })),
      value: { spec: { a: "" } },
      want: ['<nil>: Invalid value: "": "spec" must not validate the schema (not)'],
    },
    {
      name: "formats",
      schema: spec(
        object({
          t: { type: "string", format: "date-time" },
          d: { type: "string", format: "duration" },
          b: { type: "string", format: "byte" },
          n: { type: "integer", format: "int32" },
          c: { type: "string", format: "cidr" },
          u: { type: "string", format: "no-such-format" },
        }),
      ),
      value: { spec: { t: "2024-02-30T00:00:00Z", d: "1h30m", b: "aGk=", n: 4294967296, c: "fe80::/10", u: "x" } },
      want: [
        'spec.t: Invalid value: "2024-02-30T00:00:00Z": spec.t in body must be of type date-time: "2024-02-30T00:00:00Z"',
      ],
    },
    {
      name: "an embedded resource",
      schema: spec({ type: "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }),
      value: { spec: { kind: "X" } },
      want: ["spec.apiVersion: Required value"],
    },
  ];
  for (const { name, schema, value, want } of cases) it(name, () => assert.deepEqual(problems(schema, value), want));

  it("does not report again what an update leaves alone", () => {
    const schema = spec(object({ a: { type: "string", enum: ["x"] }, b: { type: "string" } }));
    assert.deepEqual(problems(schema, { spec: { a: "old", b: "2" } }, { spec: { a: "old", b: "1" } }), []);
    assert.equal(problems(schema, { spec: { a: "new" } }, { spec: { a: "old" } }).length, 1);
  });
});

describe("structural schema: pruning", () => {
  const schema = spec(
    object({
      known: { type: "string" },
      free: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { tight: object({ a: { type: "string" } }) } },
      labels: { type: "object", additionalProperties: { type: "string" } },
      list: { type: "array", items: object({ a: { type: "string" } }) },
    }),
  );

  it("drops and names what is not specified", () => {
    const { value, dropped } = compileSchema(schema).prune({
      apiVersion: "v1",
      kind: "X",
      metadata: { name: "x", nonsense: 1 },
      spec: { known: "a", other: 1, free: { any: { deep: 1 }, tight: { a: "", b: 1 } }, labels: { l: "v" }, list: [{ a: "", z: 1 }] },
      status: {},
    });
    assert.deepEqual(dropped, ["metadata.nonsense", "spec.other", "spec.free.tight.b", "spec.list[0].z", "status"]);
    assert.deepEqual(value, {
      apiVersion: "v1",
      kind: "X",
      metadata: { name: "x" },
      spec: { known: "a", free: { any: { deep: 1 }, tight: { a: "" } }, labels: { l: "v" }, list: [{ a: "" }] },
    });
  });
});

describe("structural schema: defaults", () => {
  it("fills members, nested ones and nulls", () => {
    const schema = spec(
      object({
        mode: { type: "string", default: "A" },
        inner: { ...object({ x: { type: "integer", default: 1 } }), default: {} },
        gone: { type: "string" },
        list: { type: "array", items: object({ p: { type: "string", default: "TCP" } }) },
      }),
    );
    const value = compileSchema(schema).applyDefaults({ spec: { mode: null, gone: null, list: [{}, { p: "UDP" }] } });
    assert.deepEqual(value, { spec: { mode: "A", inner: { x: 1 }, list: [{ p: "TCP" }, { p: "UDP" }] } });
  });
});

describe("structural schema: schemas that are refused", () => {
  const cases: [string, unknown, RegExp][] = [
    ["no type", spec({ properties: {} }), /spec\]\.type: Required value/],
    ["an unknown type", spec({ type: "text" }), /type: Unsupported value/],
    ["a reference", spec({ $ref: "#/x" }), /\$ref: Forbidden/],
    ["an array without items", spec({ type: "array" }), /items: Required/],
    ["a broken pattern", spec({ type: "string", pattern: "(" }), /pattern: must be a valid/],
    ["both kinds of properties", spec(object({ a: { type: "string" } }, { additionalProperties: true })), /together/],
    ["a type in allOf", spec({ type: "object", allOf: [{ type: "object" }] }), /allOf\[0\]\.type: Forbidden/],
    ["not an object", spec([] as unknown as Schema), /not a schema object/],
    ["a map list without keys", spec({ type: "array", items: object({}), "x-kubernetes-list-type": "map" }), /map-keys/],
  ];
  for (const [name, schema, want] of cases) {
    it(name, () => assert.throws(() => compileSchema(schema as Schema), (error) => error instanceof SchemaError && want.test(error.message)));
  }
});

describe("structural schema: built-in kinds", () => {
  it("prunes and validates a Pod", () => {
    const pod = builtinSchema("", "v1", "Pod");
    assert.ok(pod !== undefined);
    const compiled = compileSchema(pod);
    const manifest: JsonObject = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "x", creationTimestamp: null, labels: { a: "b" } },
      spec: {
        containers: [{ name: "a", imag: "typo", resources: { limits: { cpu: "1", memory: 5 } }, livenessProbe: { httpGet: { port: "http" } } }],
      },
    };
    assert.deepEqual(compiled.prune(manifest).dropped, ["spec.containers[0].imag"]);
    assert.deepEqual(compiled.validate(manifest), []);
    const wrong = compiled.validate({ spec: { containers: [{ ports: [{ containerPort: "x" }] }] } });
    assert.deepEqual(wrong.map((error) => error.field), ["spec.containers[0].name", "spec.containers[0].ports[0].containerPort"]);
  });
});
