import assert from "node:assert/strict";
import { parseSocketAddress, type SocketAddress } from "./socket-address.ts";
import { proxyProtocolHeader } from "./proxy-protocol.ts";

const PEER = { trustDomain: "td", namespace: "n", serviceAccount: "s" };
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const SIGNATURE = "0d0a0d0a000d0a515549540a";
const MAPPED = "00000000000000000000ffff";

function at(address: string): SocketAddress {
  const parsed = parseSocketAddress(address);
  assert.ok(parsed.ok);
  return parsed.value;
}

describe("proxyProtocolHeader", () => {
  for (const [name, source, destination, line] of [
    ["v4", "10.0.0.1:40000", "10.0.0.2:80", "TCP4 10.0.0.1 10.0.0.2 40000 80"],
    ["v6", "[2001:db8::1]:1", "[2001:db8::2]:2", "TCP6 2001:db8::1 2001:db8::2 1 2"],
    ["v4 to v6", "10.0.0.1:1", "[2001:db8::2]:2", "TCP6 ::ffff:10.0.0.1 2001:db8::2 1 2"],
    ["v6 to v4", "[2001:db8::1]:1", "10.0.0.2:2", "TCP6 2001:db8::1 ::ffff:10.0.0.2 1 2"],
  ] as const) it(`version 1, ${name}`, () => assert.equal(text(proxyProtocolHeader("v1", at(source), at(destination), PEER)), `PROXY ${line}\r\n`));

  for (const [name, source, destination, octets] of [
    ["v4", "10.0.0.1:256", "10.0.0.2:80", "2111000c0a0000010a00000201000050"],
    ["v6", "[2001:db8::1]:1", "[2001:db8::2]:2", `21210024${"20010db8000000000000000000000001"}${"20010db8000000000000000000000002"}00010002`],
    ["v4 to v6", "10.0.0.1:1", "[2001:db8::2]:2", `21210024${MAPPED}0a000001${"20010db8000000000000000000000002"}00010002`],
    ["v6 to v4", "[2001:db8::1]:1", "10.0.0.2:65535", `21210024${"20010db8000000000000000000000001"}${MAPPED}0a0000020001ffff`],
  ] as const) it(`version 2, ${name}`, () => assert.equal(hex(proxyProtocolHeader("v2", at(source), at(destination))), `${SIGNATURE}${octets}`));

  it("version 2 with the peer's SPIFFE URI as TLV 0xd0", () => {
    const uri = Buffer.from("spiffe://td/ns/n/sa/s").toString("hex");
    assert.equal(hex(proxyProtocolHeader("v2", at("10.0.0.1:256"), at("10.0.0.2:80"), PEER)), `${SIGNATURE}211100240a0000010a00000201000050d00015${uri}`);
    assert.equal(hex(proxyProtocolHeader("v2", at("10.0.0.1:1"), at("[2001:db8::2]:2"), PEER)), `${SIGNATURE}2121003c${MAPPED}0a000001${"20010db8000000000000000000000002"}00010002d00015${uri}`);
  });
});
