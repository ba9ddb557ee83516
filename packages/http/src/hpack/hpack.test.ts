import assert from "node:assert/strict";
import fc from "fast-check";
import { HpackDecoder, HpackError } from "./decoder.ts";
import { HpackEncoder } from "./encoder.ts";
import { decodeHuffman, encodeHuffman, huffmanLength, INVALID, TOO_LONG } from "./huffman.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const decoder = (tableSize = 4096, blockMax = 65536) => new HpackDecoder({ tableSize, blockMax });

const REQUESTS: readonly (readonly string[])[] = [
  [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"],
  [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com", "cache-control", "no-cache"],
  [":method", "GET", ":scheme", "https", ":path", "/index.html", ":authority", "www.example.com", "custom-key", "custom-value"],
];
const COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const RESPONSES: readonly (readonly string[])[] = [
  [":status", "302", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:21 GMT", "location", "https://www.example.com"],
  [":status", "307", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:21 GMT", "location", "https://www.example.com"],
  [":status", "200", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:22 GMT", "location", "https://www.example.com",
    "content-encoding", "gzip", "set-cookie", COOKIE],
];

describe("HPACK decoding, RFC 7541 appendix C", () => {
  const single: readonly (readonly [string, string, readonly string[]])[] = [
    ["C.2.1 literal with indexing", "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", ["custom-key", "custom-header"]],
    ["C.2.2 literal without indexing", "040c 2f73 616d 706c 652f 7061 7468", [":path", "/sample/path"]],
    ["C.2.3 never indexed", "1008 7061 7373 776f 7264 0673 6563 7265 74", ["password", "secret"]],
    ["C.2.4 indexed", "82", [":method", "GET"]],
  ];
  for (const [name, hex, fields] of single) it(name, () => assert.deepEqual(decoder().decode(bytes(hex)), fields));

  const runs: readonly (readonly [string, number, readonly string[], readonly (readonly string[])[]])[] = [
    ["C.3 requests", 4096, ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"], REQUESTS],
    ["C.4 requests, Huffman", 4096, ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"], REQUESTS],
    ["C.5 responses with eviction", 256, ["4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e" +
      "1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "4803 3330 37c1 c0bf",
      "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f" +
      "5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31"], RESPONSES],
    ["C.6 responses with eviction, Huffman", 256, ["4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718" +
      "63c7 8f0b 97c8 e9ae 82ae 43d3", "4883 640e ffc1 c0bf",
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36" +
      "72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07"], RESPONSES],
  ];
  for (const [name, size, blocks, expected] of runs) it(name, () => {
    const d = decoder(size);
    blocks.forEach((hex, i) => assert.deepEqual(d.decode(bytes(hex)), expected[i]));
  });
});

describe("HPACK decoding of hostile blocks", () => {
  const refused: readonly (readonly [string, string])[] = [
    ["index 0", "80"], ["index beyond the tables", "be"], ["name index beyond the tables", "7f00"], ["integer without end", "ffffffffffffffff"],
    ["integer too large", "ff80808080800f"], ["string beyond the block", "000a61"], ["cut after the name", "0001 61"], ["bad Huffman padding", "0081 00 0161"],
    ["EOS inside a string", "0084 ffff ffff 0161"], ["eight bits of padding", "0082 1fff 0161"], ["size update beyond the setting", "3fe2 1f"], ["size update after a field", "8220"],
    ["three size updates", "202020"],
  ];
  for (const [name, hex] of refused) it(`${name} is refused`, () => assert.throws(() => decoder().decode(bytes(hex)), HpackError));

  it("an oversized block is reported and leaves the table right", () => {
    const d = decoder(4096, 100);
    assert.equal(d.decode(bytes("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572 bebebebe")), undefined);
    assert.deepEqual(d.decode(bytes("be")), ["custom-key", "custom-header"]);
  });

  it("a small block cannot become a large one (references to a large entry)", () => {
    const d = decoder(4096, 16384);
    const block = Buffer.concat([bytes("400161"), Buffer.from([0x7f, 0xb9, 0x16]), Buffer.alloc(3000, "x"), Buffer.alloc(10_000, 0xbe)]); // 127 + 0x39 + 0x16 * 128 = 3000
    assert.equal(d.decode(block), undefined);
  });

  it("never throws anything else on random bytes", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
      const d = decoder(300, 500);
      for (const block of blocks) {
        try {
          d.decode(block);
        } catch (e) {
          assert.ok(e instanceof HpackError, String(e));
          return;
        }
      }
    }), { numRuns: 2000 });
  });
});

describe("Huffman", () => {
  it("takes every octet string there and back, and says its length", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      const text = Buffer.from(octets).toString("latin1");
      const out = new Uint8Array(huffmanLength(text) + 1);
      assert.equal(encodeHuffman(text, out, 0), huffmanLength(text));
      const back = new Uint8Array(octets.length);
      assert.equal(decodeHuffman(out, 0, huffmanLength(text), back, back.length), octets.length);
      assert.deepEqual(back, octets);
    }));
  });
  it("says when the output would be too long, and when padding is wrong", () => {
    assert.equal(decodeHuffman(bytes("1fff"), 0, 1, new Uint8Array(0), 0), TOO_LONG);
    assert.equal(decodeHuffman(bytes("18"), 0, 1, new Uint8Array(4), 4), INVALID);
  });
});

describe("HPACK encoding", () => {
  const name = fc.constantFrom("a", "custom-key", ":path", ":method", "authorization", "baggage", "forwarded", "x".repeat(50));
  const value = fc.oneof(fc.constantFrom("", "GET", "/", "v1"), fc.string({ maxLength: 40 }).map((s) => Buffer.from(s).toString("latin1")));
  it("is read back by our decoder, with resizes in between", () => {
    const step = fc.oneof({ weight: 8, arbitrary: fc.array(fc.tuple(name, value), { maxLength: 8 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 5000 }) });
    fc.assert(fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const e = new HpackEncoder();
      const d = decoder();
      for (const s of steps) {
        if (typeof s === "number") e.resize(s);
        else assert.deepEqual(d.decode(e.encode(s.flat())), s.flat());
      }
    }), { numRuns: 500 });
  });
  it("writes three lists as one", () => {
    const [a, b, c] = [[":method", "GET"], ["x-a", "1", "x-b", "2"], ["x-c", "3"]] as const;
    const three = new HpackEncoder();
    const octets = three.write(a, b, c);
    assert.deepEqual([...three.block.subarray(0, octets)], [...new HpackEncoder().encode([...a, ...b, ...c])]);
  });

  it("makes a repeated field one octet, and never indexes secrets or unique values", () => {
    const e = new HpackEncoder();
    e.encode(["baggage", "k8s.cluster.name=Kubernetes"]);
    assert.equal(e.encode(["baggage", "k8s.cluster.name=Kubernetes"]).length, 1);
    assert.equal((e.encode(["authorization", "Bearer x"])[0] ?? 0) & 0xf0, 0x10);
    assert.equal(e.encode(["authorization", "Bearer x"]).length, e.encode(["authorization", "Bearer x"]).length);
    assert.equal((e.encode(["traceparent", "00-0"])[0] ?? 0) & 0xf0, 0x00);
  });
});
