import assert from "node:assert/strict";
import fc from "fast-check";
import { cidrContains, formatCidr, parseCidr } from "./cidr.ts";
import { ipBytes, ipFromBytes, parseIp, type Ip } from "./ip.ts";
import { formatSocketAddress, parseSocketAddress } from "./socket-address.ts";

const ip = (text: string): Ip => {
  const parsed = parseIp(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
};

describe("IP addresses", () => {
  for (const [text, canonical] of [
    ["10.0.0.1", "10.0.0.1"], ["::1", "::1"], ["::", "::"], ["2001:DB8::1", "2001:db8::1"], ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"], ["::ffff:10.0.0.1", "10.0.0.1"], ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"], ["fe80::1.2.3.4", "fe80::102:304"],
  ] as const) it(`${text} is ${canonical}`, () => assert.equal(ip(text), canonical));

  for (const text of ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::g", "fe80::1%eth0", "1.2.3.4.5", ":::", "12345::"])
    it(`"${text}" is refused`, () => assert.equal(parseIp(text).ok, false));

  it("bytes and text are two forms of one thing", () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 })), (bytes) => {
      const parsed = ipFromBytes(bytes);
      assert.ok(parsed.ok);
      assert.equal(ip(parsed.value), parsed.value);
      const again = ipFromBytes(ipBytes(parsed.value));
      assert.ok(again.ok && again.value === parsed.value);
    }));
  });
  it("any other length is refused", () => assert.equal(ipFromBytes(new Uint8Array(5)).ok, false));
  it("no text crashes the parser", () => fc.assert(fc.property(fc.string(), (s) => { parseIp(s); parseCidr(s); parseSocketAddress(s); })));
});

describe("CIDR blocks", () => {
  for (const [block, address, inside] of [
    ["10.0.0.0/8", "10.255.0.1", true], ["10.0.0.0/8", "11.0.0.1", false], ["10.0.0.128/25", "10.0.0.127", false], ["10.0.0.128/25", "10.0.0.129", true],
    ["0.0.0.0/0", "1.2.3.4", true], ["0.0.0.0/0", "::1", false], ["::/0", "1.2.3.4", false], ["2001:db8::/33", "2001:db8:8000::1", false], ["10.0.0.1", "10.0.0.1", true],
  ] as const) it(`${block} ${inside ? "holds" : "does not hold"} ${address}`, () => {
    const parsed = parseCidr(block);
    assert.ok(parsed.ok);
    assert.equal(cidrContains(parsed.value, ip(address)), inside);
  });
  for (const text of ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/8/8", "x/8", "::/129", "10.0.0.0/-1"]) it(`"${text}" is refused`, () => assert.equal(parseCidr(text).ok, false));
  it("is written as address and prefix", () => assert.equal(formatCidr({ ip: ip("10.0.0.0"), prefix: 8 }), "10.0.0.0/8"));
});

describe("socket addresses", () => {
  for (const text of ["10.0.0.1:80", "[2001:db8::1]:65535"]) it(`${text} is read and written alike`, () => {
    const parsed = parseSocketAddress(text);
    assert.ok(parsed.ok);
    assert.equal(formatSocketAddress(parsed.value), text);
  });
  for (const text of ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "[10.0.0.1]:80", "2001:db8::1:80", "[::1]", "host:80", ":80"]) it(`"${text}" is refused`, () => assert.equal(parseSocketAddress(text).ok, false));
});
