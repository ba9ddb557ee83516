import assert from "node:assert/strict";
import { at } from "@ambit/proxy/testing";
import { proxyProtocolHeader } from "./proxy-protocol.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const SIGNATURE = "0d0a0d0a000d0a515549540a";

describe("the PROXY protocol", () => {
  it("version 1 is a line", () => {
    assert.equal(text(proxyProtocolHeader("v1", at("10.0.0.1:40000"), at("10.0.0.2:80"))), "PROXY TCP4 10.0.0.1 10.0.0.2 40000 80\r\n");
    assert.equal(text(proxyProtocolHeader("v1", at("[2001:db8::1]:1"), at("[2001:db8::2]:2"))), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
  });
  it("version 2 is binary", () => {
    assert.equal(hex(proxyProtocolHeader("v2", at("10.0.0.1:256"), at("10.0.0.2:80"))), `${SIGNATURE}2111000c0a0000010a00000201000050`);
    assert.equal(hex(proxyProtocolHeader("v2", at("[::1]:1"), at("[::2]:2"))), `${SIGNATURE}21210024${"0".repeat(31)}1${"0".repeat(31)}200010002`);
  });
  it("says so when the families differ", () => {
    assert.equal(text(proxyProtocolHeader("v1", at("10.0.0.1:1"), at("[::2]:2"))), "PROXY UNKNOWN\r\n");
    assert.equal(hex(proxyProtocolHeader("v2", at("10.0.0.1:1"), at("[::2]:2"))), `${SIGNATURE}20000000`);
  });
});
