import assert from "node:assert/strict";
import { discovery } from "@ambit/proto";
import { fromBinary } from "@bufbuild/protobuf";
import type { DeltaRequest } from "../protocol/messages.ts";
import { decodeRequest } from "./decode.ts";
import { encodeRequest } from "./encode.ts";
import { splitInitialVersions } from "./initial-versions.ts";
import { readsAlike } from "./mutated.fixture.ts";

const request = (initialVersions: Map<string, string>): DeltaRequest => ({
  node: { id: "ztunnel~10.0.0.1~a.b~c", metadata: { NAMESPACE: "istio-system" } }, typeUrl: "type.googleapis.com/x", subscribe: ["a"], unsubscribe: ["*"], initialVersions, nonce: "", error: undefined,
});
/** As the library alone reads it, or the fact that it refuses. */
const reference = (bytes: Uint8Array): unknown => {
  try {
    const m = fromBinary(discovery.DeltaDiscoveryRequestSchema, bytes);
    return { typeUrl: m.typeUrl, subscribe: m.resourceNamesSubscribe, versions: Object.entries(m.initialResourceVersions).sort(), node: m.node?.id, nonce: m.responseNonce };
  } catch {
    return "refused";
  }
};
const ours = (bytes: Uint8Array): unknown => {
  try {
    const r = decodeRequest(bytes);
    return { typeUrl: r.typeUrl, subscribe: r.subscribe, versions: [...r.initialVersions].sort(), node: r.node?.id, nonce: r.nonce };
  } catch {
    return "refused";
  }
};

describe("initial versions", () => {
  it("are all cut out of an ordinary request, and nothing else is", () => {
    const versions = new Map(Array.from({ length: 1000 }, (_, i) => [`Kubernetes//Pod/ns/pod-${i}`, i % 7 === 0 ? "" : `v${i}`]));
    versions.set("ns/üñï.example", "ö");
    const bytes = encodeRequest(request(versions));
    const split = splitInitialVersions(bytes);
    assert.equal(split.versions.size, versions.size);
    assert.deepEqual([...decodeRequest(bytes).initialVersions].sort(), [...versions].sort());
    assert.deepEqual(ours(bytes), reference(bytes));
  });
  it("read as the library reads them, whatever the bytes", () => {
    const good = encodeRequest({ ...request(new Map([["a", "1"], ["bb", "22"], ["c", ""], ["ü", "x"], ["__proto__", "y"]])), node: undefined });
    readsAlike(5, good, reference, ours);
  });
  it("of ten thousand names cost little", () => {
    const versions = new Map(Array.from({ length: 10_000 }, (_, i) => [`Kubernetes//Pod/team-3/app-${i}-6d9c7f5b8d-x`, "0123456789abcdef"]));
    const bytes = encodeRequest(request(versions));
    assert.equal(decodeRequest(bytes).initialVersions.size, 10_000);
    assert.equal(splitInitialVersions(bytes).rest.length < 200, true);
  });
});
