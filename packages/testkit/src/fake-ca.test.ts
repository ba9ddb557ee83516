import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { fakeCa } from "./fake-ca.ts";

describe("fakeCa", () => {
  it("issues a leaf that its root verifies and that carries one SPIFFE URI", () => {
    const ca = fakeCa();
    const leaf = ca.leaf("shop", "cart");
    const cert = new X509Certificate(leaf.certPem);
    assert.ok(cert.verify(new X509Certificate(ca.rootPem).publicKey));
    assert.ok(cert.checkPrivateKey(createPrivateKey(leaf.keyPem)));
    assert.equal(cert.subjectAltName, "URI:spiffe://cluster.local/ns/shop/sa/cart");
    assert.equal(cert.ca, false);
    assert.equal(new X509Certificate(ca.rootPem).ca, true);
  });

  it("issues what a test asks for: other names, an expired life, one usage", () => {
    const ca = fakeCa();
    const cert = new X509Certificate(ca.issue({ dnsNames: ["istiod.istio-system.svc"], ipv4: ["127.0.0.1"], notBefore: 0, notAfter: 1000, usages: ["server"] }).certPem);
    assert.equal(cert.subjectAltName, "DNS:istiod.istio-system.svc, IP Address:127.0.0.1");
    assert.equal(cert.validToDate.getTime(), 1000);
    assert.deepEqual(cert.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
  });

  it("gives authorities that do not trust each other", () => {
    const leaf = new X509Certificate(fakeCa().leaf("a", "b").certPem);
    assert.equal(leaf.verify(new X509Certificate(fakeCa().rootPem).publicKey), false);
  });
});
