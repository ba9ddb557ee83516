import assert from "node:assert/strict";
import { formatIdentity, type Identity } from "@ambit/core";
import { fakeCa } from "@ambit/testkit";
import { identityOfLeaf, uriNames, verifyExpected, verifyTrustDomain } from "./peer-identity.ts";

const ca = fakeCa();
const id = (serviceAccount: string, trustDomain = "cluster.local"): Identity => ({ trustDomain, namespace: "ns", serviceAccount });
const show = (r: ReturnType<typeof identityOfLeaf>): string => (r.ok ? formatIdentity(r.value) : r.error);

describe("identityOfLeaf: exactly one URI name, strictly parsed", () => {
  const good = "spiffe://cluster.local/ns/ns/sa/a";
  const cases: [string, readonly string[], RegExp][] = [
    ["one SPIFFE id", [good], /^spiffe:\/\/cluster\.local\/ns\/ns\/sa\/a$/],
    ["two ids", [good, "spiffe://cluster.local/ns/ns/sa/b"], /has 2 URI names instead of one/],
    ["none", [], /has 0 URI names/],
    ["another scheme", ["https://cluster.local/ns/ns/sa/a"], /not a SPIFFE URI/],
    ["too many segments", [`${good}/more`], /not of the form/],
    ["dots as a segment", ["spiffe://cluster.local/ns/../sa/a"], /bad namespace/],
    ["an upper-case trust domain", ["spiffe://Cluster.local/ns/ns/sa/a"], /bad trust domain/],
    ["a NUL octet", ["spiffe://cluster.local/ns/ns/sa/a\0b"], /bad namespace or service account/],
    ["a comma that a display string would split at", ["spiffe://x/ns/y/sa/z, URI:spiffe://cluster.local/ns/ns/sa/admin"], /not of the form|bad/],
  ];
  for (const [name, uris, expected] of cases) it(name, () => assert.match(show(identityOfLeaf(ca.issue({ uris }).der)), expected));
  it("DNS names beside it do not matter", () => assert.equal(show(identityOfLeaf(ca.issue({ uris: [good], dnsNames: ["x.example"] }).der)), good));
  it("an authority's certificate, whatever its names", () => assert.match(show(identityOfLeaf(ca.rootDer)), /cannot be read: it is an authority's/));
});

describe("uriNames on broken DER", () => {
  it("never does anything but answer or throw an Error", () => {
    const der = ca.leaf("ns", "a").der;
    let seed = 3;
    const random = (n: number): number => { seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0; return (seed >>> 8) % n; };
    for (let i = 0; i < 20_000; i++) {
      const broken = Buffer.from(der.subarray(0, random(4) === 0 ? random(der.length) : der.length));
      for (let k = 0; k < 1 + random(3); k++) if (broken.length > 0) broken[random(broken.length)] = random(256);
      try { uriNames(broken); } catch (error) { assert.ok(error instanceof Error); }
    }
  });
});

describe("verifying a peer", () => {
  const leaf = ca.leaf("ns", "a").der;
  it("a server takes its own trust domain", () => assert.equal(verifyTrustDomain("cluster.local")(leaf).ok, true));
  it("and no other", () => assert.match(show(verifyTrustDomain("elsewhere")(leaf)), /is not of trust domain elsewhere/));
  it("a client takes any expected identity", () => assert.equal(verifyExpected([id("b"), id("a")])(leaf).ok, true));
  it("and no other, naming both", () => assert.match(show(verifyExpected([id("b")])(leaf)), /the peer is .*sa\/a, expected .*sa\/b/));
  it("the same account of another trust domain is another", () => assert.equal(verifyExpected([id("a", "elsewhere")])(leaf).ok, false));
});
