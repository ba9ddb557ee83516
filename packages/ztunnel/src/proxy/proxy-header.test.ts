import assert from "node:assert/strict";
import { at } from "@ambit/proxy/testing";
import { proxyHeader } from "./proxy-header.ts";

const PEER = { trustDomain: "td", namespace: "n", serviceAccount: "s" };
const hex = (b: Uint8Array): string => Buffer.from(b).toString("hex");
const SIGNATURE = "0d0a0d0a000d0a515549540a";

describe("proxyHeader", () => {
  it("v4 without an identity", () => assert.equal(hex(proxyHeader(at("10.0.0.1:256"), at("10.0.0.2:80"), undefined)), `${SIGNATURE}2111000c0a0000010a00000201000050`));
  it("v4 with the peer's SPIFFE URI as TLV 0xd0", () => {
    const uri = Buffer.from("spiffe://td/ns/n/sa/s").toString("hex");
    assert.equal(hex(proxyHeader(at("10.0.0.1:256"), at("10.0.0.2:80"), PEER)), `${SIGNATURE}211100240a0000010a00000201000050d00015${uri}`);
  });
  it("v6", () => assert.equal(hex(proxyHeader(at("[2001:db8::1]:1"), at("[2001:db8::2]:2"), undefined)), `${SIGNATURE}21210024${"20010db8000000000000000000000001"}${"20010db8000000000000000000000002"}00010002`));
  it("mixed families become v6", () => assert.match(hex(proxyHeader(at("10.0.0.1:1"), at("[2001:db8::2]:2"), undefined)), /2121002400000000000000000000ffff0a000001/));
});
