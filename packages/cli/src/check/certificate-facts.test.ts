// Certificates as facts: with and without a subject, several in one text, and what is none.
import assert from "node:assert/strict";
import { fakeCa } from "@ambit/testkit";
import { certificatesIn, ztunnelFact } from "./certificate-facts.ts";

const ca = fakeCa("root one");
const leaf = ca.leaf("shop", "web");
const encoded = (pem: string) => [{ pem: Buffer.from(pem).toString("base64") }];

describe("certificates of a mesh", () => {
  it("a bundle has as many as it says, and text that is none is left out", () => {
    const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const found = certificatesIn(`# roots\n${ca.rootPem}\n${broken}${fakeCa("root two").rootPem}`, "here");
    assert.deepEqual(found.map((c) => [c.where, c.subject]), [["here", "CN=root one"], ["here", "CN=root two"]]);
    assert.equal(new Set(found.map((c) => c.fingerprint)).size, 2);
    assert.deepEqual(certificatesIn("", "here"), []);
  });

  it("a workload's has its identity and its time, although it has no subject", () => {
    const [found] = certificatesIn(leaf.chainPem, "z");
    assert.deepEqual(found?.identities, ["spiffe://cluster.local/ns/shop/sa/web"]);
    assert.ok(found.notBefore < Date.now() && found.notAfter > Date.now());
  });

  it("a dump: leaves, and identities that wait for one; what is being asked for is not missing", () => {
    const fact = ztunnelFact("z", "node-1", { certificates: [
      { identity: "spiffe://cluster.local/ns/shop/sa/web", state: "Available", certChain: encoded(leaf.chainPem) },
      { identity: "spiffe://cluster.local/ns/shop/sa/refused", state: "Unavailable: no", certChain: [] }, { identity: "spiffe://cluster.local/ns/shop/sa/new", state: "Initializing", certChain: [] },
    ] });
    assert.deepEqual(fact.leaves.map((l) => l.identity), ["spiffe://cluster.local/ns/shop/sa/web"]);
    assert.deepEqual(fact.waiting, [{ identity: "spiffe://cluster.local/ns/shop/sa/refused", state: "Unavailable: no" }]);
  });
});
