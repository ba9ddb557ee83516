import assert from "node:assert/strict";
import { discovery } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { decodeResponse } from "./decode.ts";
import { readsAlike } from "./mutated.fixture.ts";
import { splitResources } from "./split-resources.ts";

const TYPE = "type.googleapis.com/x";
const body = (text: string, typeUrl = TYPE) => create(AnySchema, { typeUrl, value: Buffer.from(text) });
const message = (resources: readonly Parameters<typeof create<typeof discovery.ResourceSchema>>[1][]): Uint8Array => toBinary(discovery.DeltaDiscoveryResponseSchema, create(discovery.DeltaDiscoveryResponseSchema, {
  systemVersionInfo: "7", typeUrl: TYPE, nonce: "n", removedResources: ["gone"], resources: resources.map((r) => create(discovery.ResourceSchema, r)),
}));

/** As the library alone reads it, or the fact that it refuses. */
function reference(bytes: Uint8Array): unknown {
  try {
    const m = fromBinary(discovery.DeltaDiscoveryResponseSchema, bytes);
    const misfits = m.resources.filter((r) => r.resource?.typeUrl !== m.typeUrl || r.resource === undefined).map((r) => r.name);
    return { typeUrl: m.typeUrl, nonce: m.nonce, removed: m.removedResources, misfits, resources: m.resources.map((r) => [r.name, r.version, r.aliases, Buffer.from(r.resource?.value ?? []).toString("hex")]) };
  } catch {
    return "refused";
  }
}
function ours(bytes: Uint8Array): unknown {
  try {
    const { response: r, misfits } = decodeResponse(bytes);
    return { typeUrl: r.typeUrl, nonce: r.nonce, removed: r.removed, misfits: misfits.map((m) => m.name), resources: r.resources.map((x) => [x.name, x.version, x.aliases, Buffer.from(x.bytes).toString("hex")]) };
  } catch {
    return "refused";
  }
}

describe("resources of a push", () => {
  it("are all cut out, and nothing else is", () => {
    const bytes = message([{ name: "a", version: "1", resource: body("A") }, { name: "üñ", aliases: ["x", "y"], resource: body("") }, { name: "none" }, { name: "odd", resource: body("o", "other") }]);
    const { resources, rest } = splitResources(bytes);
    assert.deepEqual(resources.map((r) => [r.name, r.typeUrl]), [["a", TYPE], ["üñ", TYPE], ["none", undefined], ["odd", "other"]]);
    assert.equal(fromBinary(discovery.DeltaDiscoveryResponseSchema, rest).resources.length, 0);
    assert.deepEqual(ours(bytes), reference(bytes));
    assert.deepEqual(decodeResponse(bytes).misfits, [{ name: "none", reason: "the resource has no body" }, { name: "odd", reason: "its body is a other" }]);
  });
  it("are copied by slice", () => {
    const [first] = splitResources(Buffer.from(message([{ name: "a", resource: body("A") }]))).resources;
    assert.notEqual(first?.bytes.slice().buffer, first?.bytes.buffer);
  });
  it("read as the library reads them, whatever the bytes", () => {
    const good = message([{ name: "a", version: "1", resource: body("A") }, { name: "b", resource: body("bb") }, { name: "c", aliases: ["d", "e"], resource: body("", "other") }, { name: "f" }]);
    readsAlike(11, good, reference, ours);
  });
});
