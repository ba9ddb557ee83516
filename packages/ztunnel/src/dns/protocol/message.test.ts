import assert from "node:assert/strict";
import { at } from "@ambit/proxy/testing";
import { opt, query } from "../query.fixture.ts";
import { decodeQuery, encodeAnswer, encodeFailure, encodeFormatError, RCODE, TYPE_A, TYPE_AAAA, type Question } from "./message.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const q = (bytes: Uint8Array): Question => {
  const r = decodeQuery(bytes);
  assert.ok(r.ok && r.value.kind === "question", JSON.stringify(r));
  return r.value;
};
const kind = (bytes: Uint8Array): string => {
  const r = decodeQuery(bytes);
  return r.ok ? (r.value.kind === "opaque" ? r.value.because : "a question") : r.error;
};
const patched = (bytes: Buffer, where: number, ...octets: number[]): Buffer => { const out = Buffer.from(bytes); out.set(octets, where); return out; };
const ONE = [at("10.96.0.1:1").ip];

describe("questions on the wire", () => {
  it("are decoded, folding case", () => {
    const { section, ...rest } = q(query("Web.NS", TYPE_AAAA));
    assert.deepEqual(rest, { kind: "question", id: 0x1234, name: "web.ns", type: 28, recursionDesired: true, udpMax: 512, edns: undefined });
    assert.equal(hex(section), "03576562024e530000" + "1c0001");
  });
  it("offer sizes within bounds", () => assert.deepEqual([4096, 1000, 100].map((n) => q(query("a", 1, 1, opt(n), 1)).udpMax), [1232, 1000, 512]));
  it("of the longest name", () => assert.equal(q(query([63, 63, 63, 61].map((n) => "x".repeat(n)).join("."))).name.length, 253));

  const cases: [string, Buffer, RegExp][] = [
    ["too short", Buffer.alloc(5), /5 bytes has no header/],
    ["a response", patched(query("a"), 2, 0x81), /response/],
    ["a compressed name", Buffer.concat([query("").subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])]), /compressed/],
    ["a name without end", query("abc").subarray(0, 14), /ends early/],
    ["a name that is too long", query(Array.from({ length: 130 }, () => "a").join(".")), /too long/],
    ["a name of one octet too many", query([63, 63, 63, 62].map((n) => "x".repeat(n)).join(".")), /too long/],
    ["no type", query("abc").subarray(0, -3), /ends early/],
    ["another operation", patched(query("a"), 2, 0x28), /not a standard query/],
    ["no question", patched(query("a"), 5, 0), /0 questions/],
    ["two questions", patched(query("a"), 5, 2), /2 questions/],
    ["class CHAOS", patched(query("a"), query("a").length - 1, 3), /class IN/],
    ["a future EDNS", query("a", 1, 1, opt(1232, 1), 1), /EDNS version 1/],
    ["a dot inside a label", patched(query("webxns"), 16, 0x2e), /contains a dot/],
  ];
  for (const [name, bytes, expected] of cases) it(name, () => assert.match(kind(bytes), expected));
});

describe("answers on the wire", () => {
  it("echo the question, with addresses", () => assert.equal(
    hex(encodeAnswer(q(query("Web", 1, 7)), { ips: ONE, alias: undefined, ttlSeconds: 30 }, 512)),
    "000785800001000100000000" + "03576562000001" + "0001" + "c00c000100010000001e00040a600001"));
  it("name the alias", () => assert.equal(
    hex(encodeAnswer(q(query("web", 1, 7)), { ips: ONE, alias: "w.x", ttlSeconds: 30 }, 512)).slice(42),
    "c00c000500010000001e000501770178000177017800000100010000001e00040a600001"));
  it("carry IPv6", () => assert.equal(hex(encodeAnswer(q(query("web", TYPE_AAAA, 7)), { ips: [at("[::9]:1").ip], alias: undefined, ttlSeconds: 30 }, 512)).slice(42), "c00c001c00010000001e0010" + "0".repeat(31) + "9"));
  it("may be empty: the name is, the address is not", () => assert.equal(hex(encodeAnswer(q(query("w", TYPE_AAAA, 7)), { ips: [], alias: undefined, ttlSeconds: 30 }, 512)), "000785800001000000000000" + "017700001c0001"));
  it("speak EDNS with those who do", () => assert.equal(
    hex(encodeAnswer(q(query("w", 1, 7, opt(4096, 0, 0x8000), 1)), { ips: ONE, alias: undefined, ttlSeconds: 30 }, 1232)),
    "000785800001000100000001" + "01770000010001" + "c00c000100010000001e00040a600001" + "00002904d0000080000000"));
  it("are truncated rather than too long", () => {
    const ips = Array.from({ length: 40 }, (_, i) => at(`10.0.0.${i}:1`).ip);
    const short = encodeAnswer(q(query("web")), { ips, alias: undefined, ttlSeconds: 30 }, 512);
    const long = encodeAnswer(q(query("web")), { ips, alias: undefined, ttlSeconds: 30 }, 65_535);
    assert.deepEqual([short.length < 512, ((short[2] ?? 0) & 2) !== 0, short[7]], [true, true, 0]);
    assert.deepEqual([((long[2] ?? 0) & 2) !== 0, long[7]], [false, 40]);
  });
  it("of failure keep id and question", () => assert.equal(hex(encodeFailure(q(query("a", 1, 9)), RCODE.serverFailure)), "000981820001000000000000" + "016100" + "00010001"));
  it("of malformed queries keep the id", () => {
    assert.equal(hex(encodeFormatError(query("abc").subarray(0, 14)) ?? Buffer.alloc(0)), "123481810000000000000000");
    assert.deepEqual([encodeFormatError(Buffer.alloc(3)), encodeFormatError(patched(query("a"), 2, 0x80))], [undefined, undefined]);
  });
});

it("mutated and cut DNS messages never throw, and what is answered is well-formed", () => {
  let seed = 5;
  const random = (n: number): number => { seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0; return (seed >>> 8) % n; };
  const origins = [query("some.name"), query("a.b.c.d", TYPE_A, 1, opt(1232), 1), query("x".repeat(63))];
  let questions = 0;
  for (let i = 0; i < 30_000; i++) {
    const bytes = Buffer.from(origins[i % origins.length] ?? []);
    for (let k = random(4); k > 0; k--) bytes[random(bytes.length)] = random(256);
    const cut = bytes.subarray(0, random(3) === 0 ? random(bytes.length + 1) : bytes.length);
    const r = decodeQuery(cut);
    encodeFormatError(cut);
    if (!r.ok) continue;
    encodeFailure(r.value, RCODE.serverFailure);
    if (r.value.kind !== "question") continue;
    questions++;
    const answer = encodeAnswer(r.value, { ips: ONE, alias: r.value.name === "" ? undefined : r.value.name, ttlSeconds: 30 }, r.value.udpMax);
    assert.deepEqual([answer.length <= 1232, answer.subarray(0, 2)], [true, new Uint8Array(cut.subarray(0, 2))]);
    // Our own answer, made a query again, is the same question: the name was written as it was read.
    const again = Buffer.from(answer);
    again.writeUInt16BE(0x0100, 2);
    assert.equal(q(again).name, r.value.name);
  }
  assert.ok(questions > 3_000, `only ${questions} were questions`);
});
