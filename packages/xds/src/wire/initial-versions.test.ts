import assert from "node:assert/strict";
import { discovery } from "@ambit/proto";
import { fromBinary } from "@bufbuild/protobuf";
import { seededRandom } from "@ambit/runtime";
import type { DeltaRequest } from "../protocol/messages.ts";
import { decodeRequest } from "./decode.ts";
import { encodeRequest } from "./encode.ts";
import { splitInitialVersions } from "./initial-versions.ts";

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
    const random = seededRandom(5);
    const good = encodeRequest({ ...request(new Map([["a", "1"], ["bb", "22"], ["c", ""], ["ü", "x"], ["__proto__", "y"]])), node: undefined });
    let refused = 0;
    let stricter = 0;
    for (let i = 0; i < 20_000; i++) {
      let bytes = Buffer.from(good);
      for (let k = 0; k <= random() * 3; k++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      if (random() < 0.2) bytes = bytes.subarray(0, Math.floor(random() * bytes.length));
      if (random() < 0.1) bytes = Buffer.concat([bytes, good]);
      const expected = reference(bytes);
      const got = ours(bytes);
      if (expected === "refused") refused++;
      // The library lets a nested message (an error, a node) run past its end into what was cut out: then we refuse.
      if (got === "refused") stricter++;
      else assert.deepEqual(got, expected, `step ${i}: ${bytes.toString("hex")}`);
    }
    assert.ok(refused > 1000 && refused < 19_000 && stricter - refused < 100, `${refused} refused, ${stricter} by us`);
  });
  it("of ten thousand names cost little", () => {
    const versions = new Map(Array.from({ length: 10_000 }, (_, i) => [`Kubernetes//Pod/team-3/app-${i}-6d9c7f5b8d-x`, "0123456789abcdef"]));
    const bytes = encodeRequest(request(versions));
    assert.equal(decodeRequest(bytes).initialVersions.size, 10_000);
    assert.equal(splitInitialVersions(bytes).rest.length < 200, true);
  });
});
