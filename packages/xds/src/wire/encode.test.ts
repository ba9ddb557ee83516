import assert from "node:assert/strict";
import { discovery } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { decodeResponse } from "./decode.ts";
import { encodeResourceField, encodeResponse, type ResponseParts } from "./encode.ts";

const parts = (o: Partial<ResponseParts> = {}): ResponseParts => ({ typeUrl: "type.googleapis.com/x", nonce: "0-1", version: "7", removed: [], partial: false, resources: [], controlPlane: "", ...o });

describe("encodeResponse", () => {
  const cases: [string, ResponseParts][] = [
    ["an empty answer", parts()],
    ["nothing at all", parts({ typeUrl: "", nonce: "", version: "" })],
    ["removals", parts({ removed: ["ns/a", "Kubernetes//Pod/ns/ü", "x".repeat(300)] })],
    ["who answers", parts({ controlPlane: "istiod-1" })],
    ["a long name of who answers", parts({ controlPlane: "i".repeat(200) })],
    ["more to come", parts({ partial: true })],
    ["a checksum", parts({ checksum: "0123456789abcdef" })],
  ];
  for (const [name, p] of cases)
    it(`writes ${name} as the library does`, () => {
      const version = p.partial ? `${p.version}+` : p.checksum === undefined ? p.version : `${p.version}#${p.checksum}`;
      const expected = toBinary(discovery.DeltaDiscoveryResponseSchema, create(discovery.DeltaDiscoveryResponseSchema, {
        systemVersionInfo: version, typeUrl: p.typeUrl, nonce: p.nonce, removedResources: [...p.removed], ...(p.controlPlane === "" ? {} : { controlPlane: { identifier: p.controlPlane } }) }));
      assert.deepEqual(Buffer.from(encodeResponse(p)), Buffer.from(expected));
    });
  it("puts encoded resources behind it, readable as one message", () => {
    const resource = { name: "ns/a", version: "1", aliases: ["/10.0.0.1"], bytes: Buffer.from("body") };
    const bytes = encodeResponse(parts({ resources: [encodeResourceField(resource, "type.googleapis.com/x"), encodeResourceField({ ...resource, name: "ns/b" }, "type.googleapis.com/x")], removed: ["ns/c"] }));
    const { response, misfits } = decodeResponse(bytes);
    assert.deepEqual([response.resources.map((r) => r.name), response.removed, misfits], [["ns/a", "ns/b"], ["ns/c"], []]);
    assert.equal(fromBinary(discovery.DeltaDiscoveryResponseSchema, bytes).nonce, "0-1");
  });
});
