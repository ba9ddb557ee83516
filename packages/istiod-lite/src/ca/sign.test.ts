import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@ambit/runtime";
import { createSelfSigned, loadAuthority, type Authority } from "./authority.ts";
import { parseCsr } from "./csr.ts";
import { toPem } from "./pem.ts";
import { signWorkload } from "./sign.ts";

const identity = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart" };
const DAY_S = 86_400n;

describe("signing", () => {
  let dir: string;
  let authority: Authority;
  // Certificates count whole seconds.
  const now = Math.floor(Date.now() / 1000) * 1000;
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const csrOf = (key: string[], extra: string[] = []) => openssl("req", "-new", "-nodes", "-newkey", ...key, "-keyout", "key.pem", "-subj", "/", ...extra);
  const sign = async (csrPem: string, ttlSeconds = 0n, a = authority) => {
    const signed = await signWorkload(a, { csrPem, identity, ttlSeconds }, now);
    assert.ok(signed.ok, signed.ok ? "" : signed.error);
    return signed.value;
  };
  const refusal = async (csrPem: string, ttlSeconds = 0n) => {
    const signed = await signWorkload(authority, { csrPem, identity, ttlSeconds }, now);
    return signed.ok ? "signed" : signed.error;
  };
  const P256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "ambit-ca-"));
    makeChain(openssl, dir);
    authority = await createSelfSigned("cluster.local", now);
  });
  after(() => rmSync(dir, { recursive: true }));

  it("gives a leaf that openssl verifies, with the attested name and not the CSR's", async () => {
    const chain = await sign(csrOf(P256, ["-addext", "subjectAltName=URI:spiffe://evil/ns/a/sa/b,DNS:evil.example"]));
    assert.equal(chain.length, 2);
    writeFileSync(join(dir, "leaf.pem"), chain[0] ?? "");
    writeFileSync(join(dir, "roots.pem"), chain[1] ?? "");
    for (const purpose of ["sslserver", "sslclient"])
      assert.match(openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", "roots.pem", "leaf.pem"), /leaf.pem: OK/);
    const text = openssl("x509", "-in", "leaf.pem", "-noout", "-text");
    assert.match(text, /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster.local\/ns\/shop\/sa\/cart\n/);
    assert.match(text, /Subject: *\n/);
    assert.match(text, /Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
    assert.match(text, /Extended Key Usage: *\s+TLS Web Server Authentication, TLS Web Client Authentication\n/);
    assert.match(text, /Basic Constraints: critical\s+CA:FALSE\n/);
    assert.match(text, /Issuer: O = cluster.local/);
  });

  it("sets the life from the request: six minutes back, 24 hours by default, clamped to the signer", async () => {
    const life = async (ttl: bigint, a = authority) => {
      const cert = new X509Certificate((await sign(csrOf(P256), ttl, a))[0] ?? "");
      return [cert.validFromDate.getTime() - now, cert.validToDate.getTime() - now].map((ms) => Math.round(ms / 1000));
    };
    assert.deepEqual(await life(3600n), [-360, 3600]);
    assert.deepEqual(await life(0n), [-360, 86_400]);
    assert.deepEqual(await life(-5n), [-360, 86_400]);
    assert.deepEqual(await life(90n * DAY_S), [-360, 90 * 86_400]);
    const dying = await createSelfSigned("cluster.local", now - 3650 * 86_400_000 + 600_000);
    assert.deepEqual(await life(3600n, dying), [-360, 600]);
    assert.equal(await refusal(csrOf(P256), 90n * DAY_S + 1n), "validity_duration: 7776001 s is more than the 7776000 s allowed");
    assert.match(await refusal(csrOf(P256), 2n ** 62n), /^validity_duration: /);
  });

  it("accepts the usual kinds of key and refuses weak and odd ones by name", async () => {
    for (const key of [P256, ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], ["ed25519"], ["rsa:2048"]]) assert.equal(await refusal(csrOf(key)), "signed", key.join(" "));
    assert.equal(await refusal(csrOf(["rsa:1024"])), "csr: an RSA key of 1024 bits; 2048 to 8192 are accepted");
    assert.equal(await refusal(csrOf(["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"])), "csr: the curve secp256k1 is not one of P-256, P-384, P-521");
  });

  it("names what is wrong with a hostile request", async () => {
    const good = csrOf(P256);
    assert.equal(await refusal(""), "csr: no PEM block CERTIFICATE REQUEST");
    assert.equal(await refusal("-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----"), "csr: no PEM block CERTIFICATE REQUEST");
    assert.equal(await refusal(good + good), "csr: more than one PEM block CERTIFICATE REQUEST");
    assert.equal(await refusal("x".repeat(20_000)), "csr: longer than 16384 bytes");
    assert.match(await refusal(toPem("CERTIFICATE REQUEST", Buffer.from([0x30, 0x00]))), /^csr: not a certificate request: /);
    const [, other = ""] = /REQUEST-----\n([^-]+)/.exec(csrOf(P256)) ?? [];
    const der = Buffer.from(/REQUEST-----\n([^-]+)/.exec(good)?.[1] ?? "", "base64");
    const otherDer = Buffer.from(other, "base64");
    // The signature of one request under the body of another.
    const forged = Buffer.concat([der.subarray(0, der.length - 72), otherDer.subarray(otherDer.length - 72)]);
    assert.match(await refusal(toPem("CERTIFICATE REQUEST", forged)), /^csr: /);
  });

  it("never throws on mutated requests", async () => {
    const der = Buffer.from(/REQUEST-----\n([^-]+)/.exec(csrOf(P256))?.[1] ?? "", "base64");
    const random = seededRandom(42);
    for (let i = 0; i < 600; i++) {
      const bytes = Buffer.from(der);
      for (let k = 0; k <= Math.floor(random() * 3); k++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      const cut = random() < 0.2 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
      if (cut.equals(der)) continue;
      const got = parseCsr(toPem("CERTIFICATE REQUEST", cut));
      if (!got.ok) assert.match(got.error, /^csr: /);
    }
  });

  it("takes a plugged-in CA with its chain, and puts intermediates before the roots", async () => {
    const read = (name: string) => execFileSync("cat", [join(dir, name)], { encoding: "utf8" });
    const data = { "ca-cert.pem": read("int2.pem"), "ca-key.pem": read("int2.key"), "cert-chain.pem": read("int2.pem") + read("int1.pem") + read("root.pem"), "root-cert.pem": read("root.pem") };
    const loaded = loadAuthority(data, now);
    assert.ok(loaded.ok, JSON.stringify(loaded));
    const chain = await sign(csrOf(P256), 0n, loaded.value);
    assert.equal(chain.length, 4);
    writeFileSync(join(dir, "leaf.pem"), chain[0] ?? "");
    writeFileSync(join(dir, "untrusted.pem"), chain.slice(1, 3).join(""));
    writeFileSync(join(dir, "roots.pem"), chain[3] ?? "");
    assert.match(openssl("verify", "-CAfile", "roots.pem", "-untrusted", "untrusted.pem", "leaf.pem"), /OK/);
    const tls = loadAuthority({ "tls.crt": read("int2.pem") + read("int1.pem"), "tls.key": read("int2.key"), "ca.crt": read("root.pem"), "ca-cert.pem": "ignored" }, now);
    assert.ok(tls.ok);
    assert.equal(tls.value.intermediatesPem.length, 2);
  });

  it("refuses a CA Secret that does not hold together, by key", async () => {
    const read = (name: string) => execFileSync("cat", [join(dir, name)], { encoding: "utf8" });
    const problems = async (data: Record<string, string>, at = now) => {
      const r = loadAuthority(data, at);
      return r.ok ? [] : r.error.map((p) => `${p.path}: ${p.message}`);
    };
    assert.deepEqual(await problems({}), ["ca-cert.pem: is missing", "ca-key.pem: is missing"]);
    assert.deepEqual(await problems({ "ca-cert.pem": "x", "ca-key.pem": "y" }), ["ca-cert.pem: has no PEM certificate", "ca-key.pem: is not an unencrypted PEM private key"]);
    const int2 = { "ca-cert.pem": read("int2.pem"), "ca-key.pem": read("int2.key"), "root-cert.pem": read("root.pem") };
    assert.deepEqual(await problems(int2), ["root-cert.pem: no root in it issued CN=int2"]);
    assert.deepEqual(await problems({ ...int2, "cert-chain.pem": read("int1.pem"), "ca-key.pem": read("root.key") }), ["ca-key.pem: does not belong to the certificate in ca-cert.pem"]);
    assert.match((await problems({ ...int2, "cert-chain.pem": read("int1.pem") }, now + 400 * 86_400_000)).join(), /^ca-cert.pem: expired on /);
    const secret = authority.toSecret();
    assert.deepEqual(await problems({ ...secret }), []);
    const leaf = (await sign(csrOf(P256)))[0] ?? "";
    assert.match((await problems({ "ca-cert.pem": leaf, "ca-key.pem": read("key.pem"), "root-cert.pem": authority.rootsPem })).join(), /is not a CA certificate/);
  });
});

/** root.pem → int1.pem → int2.pem, each with its .key. */
function makeChain(openssl: (...args: string[]) => string, dir: string): void {
  const ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
  writeFileSync(join(dir, "ca.ext"), ca);
  openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=root", "-days", "3650");
  for (const [name, issuer] of [["int1", "root"], ["int2", "int1"]] as const) {
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${issuer}.pem`, "-CAkey", `${issuer}.key`, "-CAcreateserial", "-out", `${name}.pem`, "-days", "365", "-extfile", "ca.ext");
  }
}
