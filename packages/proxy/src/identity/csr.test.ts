import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { createCsr } from "./csr.ts";

const openssl = (input: string, ...args: string[]) => execFileSync("openssl", args, { input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });

describe("createCsr", () => {
  it("gives a request that openssl verifies: P-256, empty subject, one critical URI name", () => {
    const { csrPem, keyPem } = createCsr({ trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart" });
    const text = openssl(csrPem, "req", "-verify", "-noout", "-text");
    assert.match(text, /Subject: *\n/);
    assert.match(text, /NIST CURVE: P-256/);
    assert.match(text, /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster.local\/ns\/shop\/sa\/cart\n/);
    assert.match(text, /Signature Algorithm: ecdsa-with-SHA256/);
    const key = createPrivateKey(keyPem);
    const publicPem = openssl(csrPem, "req", "-pubkey", "-noout");
    assert.equal(openssl(keyPem, "pkey", "-pubout"), publicPem);
    assert.equal(key.asymmetricKeyDetails?.namedCurve, "prime256v1");
  });

  it("encodes names of every allowed length", () => {
    for (const n of [1, 20, 60, 100, 127, 128, 253])
      assert.match(openssl(createCsr({ trustDomain: "t".repeat(n), namespace: "n".repeat(n), serviceAccount: "s".repeat(n) }).csrPem, "req", "-verify", "-noout", "-text"), new RegExp(`sa/${"s".repeat(n)}\\n`));
  });

  it("makes a new key each time", () => {
    const id = { trustDomain: "t", namespace: "n", serviceAccount: "s" };
    assert.notEqual(createCsr(id).keyPem, createCsr(id).keyPem);
  });
});
