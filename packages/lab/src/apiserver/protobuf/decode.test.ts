// Tests the decoding of Kubernetes' protobuf bodies: zero values, inlined parts, special types, and hostile bytes.
import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeKubernetes } from "./decode.ts";
import { goDuration, timeText } from "./scalars.ts";
import { WireError } from "./wire.ts";

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

type Part = number | string | Part[];

/** field(3, "text"), field(3, 7) or field(3, [nested fields]). */
function field(number: number, value: Part): number[] {
  if (typeof value === "number") return [...varint(number * 8), ...varint(value)];
  const bytes = typeof value === "string" ? [...Buffer.from(value)] : (value.flat(9) as number[]);
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
}

function envelope(apiVersion: string, kind: string, ...fields: number[][]): Uint8Array {
  const type = field(1, [field(1, apiVersion), field(2, kind)]);
  return Uint8Array.from([0x6b, 0x38, 0x73, 0, ...type, ...field(2, fields)]);
}

const named = (name: string) => field(1, [field(1, name), field(3, "")]);

describe("apiserver: protobuf", () => {
  it("reads maps, bytes and names, and leaves empty strings out", () => {
    const body = envelope("v1", "ConfigMap", named("cm"), field(2, [field(1, "a"), field(2, "b")]), field(2, [field(1, "empty")]), field(3, [field(1, "bin"), field(2, "\x01")]));
    assert.deepEqual(decodeKubernetes(body), {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "cm" },
      data: { a: "b", empty: "" },
      binaryData: { bin: "AQ==" },
    });
  });

  it("keeps zero behind a pointer and drops it elsewhere", () => {
    const spec = field(2, [field(1, 0), field(5, 0)]); // replicas *int32, minReadySeconds int32
    assert.deepEqual(decodeKubernetes(envelope("apps/v1", "Deployment", named("d"), spec))["spec"], { replicas: 0 });
  });

  it("puts inlined members into their parent and reads IntOrString and Quantity", () => {
    const volume = field(1, [field(1, "v"), field(2, field(2, []))]); // volumeSource{emptyDir{}}
    const httpGet = field(2, [field(1, "/"), field(2, [field(1, 1), field(3, "http")])]);
    const probe = field(11, [field(1, httpGet)]);
    const limits = field(8, [field(1, [field(1, "cpu"), field(2, field(1, "100m"))])]);
    const container = field(2, [field(1, "c"), probe, limits]);
    const pod = decodeKubernetes(envelope("v1", "Pod", named("p"), field(2, [volume, container])));
    assert.deepEqual(pod["spec"], {
      volumes: [{ name: "v", emptyDir: {} }],
      containers: [{ name: "c", readinessProbe: { httpGet: { path: "/", port: "http" } }, resources: { limits: { cpu: "100m" } } }],
    });
  });

  for (const [what, body] of [
    ["no envelope", Uint8Array.of(1, 2, 3)],
    ["an unknown kind", envelope("v1", "Gadget")],
    ["a length past the end", Uint8Array.from([...envelope("v1", "ConfigMap"), 0x12, 0x7f])],
    ["text where a message belongs", envelope("v1", "ConfigMap", field(1, 5))],
    ["bad UTF-8", envelope("v1", "ConfigMap", [0x0a, 3, 0x0a, 1, 0xff])],
  ] as const) {
    it(`refuses ${what}`, () => assert.throws(() => decodeKubernetes(body), WireError));
  }

  it("never fails in any other way", () => {
    const valid = envelope("v1", "Pod", named("p"), field(2, [field(2, [field(1, "c"), field(2, "i")])]));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }), (edits) => {
        const bytes = Uint8Array.from(valid);
        for (const [at, byte] of edits) bytes[at] = byte;
        try {
          decodeKubernetes(bytes);
        } catch (error) {
          assert.ok(error instanceof WireError, String(error));
        }
      }),
      { numRuns: 2000, seed: 7 },
    );
  });

  it("prints times and durations as Go does", () => {
    assert.equal(timeText(0n, 0n, false), "1970-01-01T00:00:00Z");
    assert.equal(timeText(1n, 5000n, true), "1970-01-01T00:00:01.000005Z");
    assert.equal(timeText(-62_135_596_800n, 0n, false), null);
    for (const [nanos, text] of [[0n, "0s"], [1_500_000_000n, "1.5s"], [3_600_000_000_000n, "1h0m0s"], [90_000_000_000n, "1m30s"], [300_000_000n, "300ms"], [-1_000n, "-1µs"]] as const) {
      assert.equal(goDuration(nanos), text);
    }
  });
});
