import assert from "node:assert/strict";
import { decodeRequest, encodeAck, encodeHello, PACKET_MAX_BYTES, type PodRequest } from "./messages.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const hex = (b: Uint8Array): string => Buffer.from(b).toString("hex").replace(/(..)(?=.)/g, "$1 ");
const decode = (text: string, descriptors = 0, truncated = false) => decodeRequest({ data: bytes(text), descriptors, truncated });

describe("pod protocol: byte vectors", () => {
  const requests: [string, string, number, PodRequest][] = [
    ["keep", "2a 03 0a 01 75", 0, { kind: "keep", uid: "u" }],
    ["del", "12 03 12 01 75", 0, { kind: "del", uid: "u" }],
    ["snapshot_sent", "1a 00", 0, { kind: "snapshot-sent" }],
    ["add", "0a 0e 0a 01 75 12 09 0a 01 6e 12 01 64 1a 01 73", 1, { kind: "add", uid: "u", info: { name: "n", namespace: "d", serviceAccount: "s" } }],
  ];
  for (const [name, wire, fds, expected] of requests) it(name, () => assert.deepEqual(decode(wire, fds), { ok: true, value: expected }));
  it("hello", () => assert.equal(hex(encodeHello()), "08 01"));
  it("ack", () => assert.equal(hex(encodeAck()), "0a 00"));
  it("ack with an error", () => assert.equal(hex(encodeAck("x")), "0a 03 0a 01 78"));
  it("a long error text still fits a packet", () => assert.ok(encodeAck("€".repeat(5000)).length <= PACKET_MAX_BYTES));
});

describe("pod protocol: violations are named", () => {
  const cases: [string, string, number, RegExp][] = [
    ["add without a descriptor", "0a 0e 0a 01 75 12 09 0a 01 6e 12 01 64 1a 01 73", 0, /add came with 0 file descriptors instead of 1/],
    ["add with two", "0a 0e 0a 01 75 12 09 0a 01 6e 12 01 64 1a 01 73", 2, /add came with 2/],
    ["add without workload_info", "0a 03 0a 01 75", 1, /add of u has no workload_info/],
    ["add with an empty workload_info", "0a 05 0a 01 75 12 00", 1, /names no pod/],
    ["keep with a descriptor", "2a 03 0a 01 75", 1, /keep came with 1/],
    ["keep without uid", "2a 00", 0, /keep has no uid/],
    ["del with the wrong field number", "12 03 0a 01 75", 0, /del has no uid/],
    ["an empty packet", "", 0, /neither add, keep, del nor snapshot_sent/],
    ["an unknown request", "32 00", 0, /neither add/],
    ["bytes that are no protobuf", "0a ff ff ff", 0, /is no WorkloadRequest/],
  ];
  for (const [name, wire, fds, expected] of cases)
    it(name, () => { const r = decode(wire, fds); assert.ok(!r.ok); assert.match(r.error, expected); });
  it("a truncated packet", () => { const r = decode("1a 00", 0, true); assert.ok(!r.ok); assert.match(r.error, /longer than 1024/); });
  it("random bytes never throw", () => {
    let seed = 7;
    const random = () => { seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0; return seed >>> 16; };
    for (let i = 0; i < 20_000; i++) decodeRequest({ data: Uint8Array.from({ length: random() % 24 }, () => random() & 0xff), descriptors: random() % 2, truncated: false });
  });
});
