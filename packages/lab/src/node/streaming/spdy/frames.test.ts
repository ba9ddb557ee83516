import assert from "node:assert/strict";
import fc from "fast-check";
import { DICTIONARY } from "./dictionary.ts";
import { decodeHeaders, encode, encodeHeaders, FRAME_MAX_BYTES, FrameReader, SpdyError, type Frame } from "./frames.ts";
import { HeaderCodec } from "./header-codec.ts";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
/** Buffers and arrays of equal bytes are equal. */
const plain = (frame: Frame): unknown => Object.fromEntries(Object.entries(frame).map(([k, v]) => [k, v instanceof Uint8Array ? [...v] : v]));
const FRAMES: readonly Exclude<Frame, { kind: "unknown" }>[] = [
  { kind: "syn-stream", stream: 1, fin: false, block: bytes(1, 2, 3) },
  { kind: "syn-reply", stream: 1, fin: false, block: bytes(4) },
  { kind: "headers", stream: 3, fin: true, block: bytes() },
  { kind: "data", stream: 1, fin: false, data: bytes(9, 8, 7) },
  { kind: "data", stream: 0x7fffffff, fin: true, data: bytes() },
  { kind: "rst-stream", stream: 5, status: 3 },
  { kind: "settings", values: new Map([[7, 65536]]) },
  { kind: "ping", id: 0xfffffffe },
  { kind: "go-away", lastStream: 9, status: 0 },
  { kind: "window-update", stream: 0, delta: 1 },
];

describe("SPDY frames", () => {
  it("has the dictionary of the draft (its Adler-32 is what every SPDY/3 client sends)", () => {
    let [a, b] = [1, 0];
    for (const byte of DICTIONARY) { a = (a + byte) % 65_521; b = (b + a) % 65_521; }
    assert.equal(DICTIONARY.length, 1423);
    assert.equal(((b << 16) | a) >>> 0, 0xe3c6a7c2);
  });

  it("reads every frame back, split anywhere", () => {
    const wire = Buffer.concat(FRAMES.map((f) => encode(f)));
    for (const size of [1, 3, 7, wire.length]) {
      const reader = new FrameReader();
      const frames: Frame[] = [];
      for (let at = 0; at < wire.length; at += size) frames.push(...reader.read(wire.subarray(at, at + size)));
      assert.deepEqual(frames.map(plain), FRAMES.map(plain));
    }
  });

  it("reads a SYN_STREAM as Go's client writes it", async () => {
    const wire = Buffer.from("8003000100000039" + "0000000100000000" + "0000" + "78bbe3c6a7c202253a703a2b294a4dcc452a4a1221a572112805335918303030701641e2301394b6190d00000000ffff", "hex");
    const length = wire.length - 8;
    wire.writeUInt32BE(length, 4);
    const [frame] = new FrameReader().read(wire);
    assert.ok(frame?.kind === "syn-stream" && frame.stream === 1);
    const codec = new HeaderCodec();
    assert.deepEqual([...(await codec.decode(frame.block))], [["streamtype", "data"], ["port", "80"], ["requestid", "0"]]);
    codec.close();
  });

  const hostile: [string, Uint8Array, RegExp][] = [
    ["a frame that is too long", bytes(0, 0, 0, 1, 0, 0xff, 0xff, 0xff), new RegExp(`exceeds ${FRAME_MAX_BYTES}`)],
    ["another version", bytes(0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1), /version 2/],
    ["data on stream 0", bytes(0, 0, 0, 0, 0, 0, 0, 0), /stream 0/],
    ["a short RST_STREAM", bytes(0x80, 3, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1), /4 bytes/],
    ["settings that do not fit", bytes(0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 9), /4 bytes/],
  ];
  for (const [name, wire, expected] of hostile) it(`refuses ${name}`, () => assert.throws(() => new FrameReader().read(wire), expected));

  it("skips control frames it does not know", () => {
    assert.deepEqual(new FrameReader().read(bytes(0x80, 3, 0, 77, 0, 0, 0, 1, 5)), [{ kind: "unknown", type: 77 }]);
  });

  it("reads headers or refuses them, whatever the bytes", () => {
    const good = encodeHeaders(new Map([["streamtype", "stdin"], ["x", "ä"]]));
    assert.deepEqual([...decodeHeaders(good)], [["streamtype", "stdin"], ["x", "ä"]]);
    const any = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, v]) => { const copy = good.slice(); copy[at] = v; return copy; }));
    fc.assert(fc.property(any, (block) => {
      try { decodeHeaders(block); } catch (error) { assert.ok(error instanceof SpdyError); }
    }), { numRuns: 1000, seed: 1 });
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
      const reader = new FrameReader();
      try { for (const chunk of chunks) reader.read(chunk); } catch (error) { assert.ok(error instanceof SpdyError); }
    }), { numRuns: 1000, seed: 2 });
  });

  it("refuses a header block that inflates beyond its bound, and garbage", async () => {
    const bomb = new HeaderCodec();
    const block = await bomb.encode(new Map([["a", "x".repeat(70_000)]])).then(() => undefined, (e: unknown) => e);
    assert.ok(block === undefined || block instanceof SpdyError);
    bomb.close();
    const codec = new HeaderCodec();
    await assert.rejects(codec.decode(bytes(1, 2, 3, 4)), SpdyError);
    await assert.rejects(codec.decode(bytes(1)), SpdyError);
    codec.close();
  });
});
