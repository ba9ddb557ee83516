import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { seededRandom } from "@ambit/runtime";
import { fakeCa } from "@ambit/testkit";
import { parseCrls, revokedOn, type Crl } from "./crl.ts";

const root = fakeCa("root");
const sub = root.sub("sub");
const lists = (...pems: string[]): readonly Crl[] => {
  const r = parseCrls(Buffer.from(pems.join("")));
  assert.ok(r.ok, !r.ok ? r.error : "");
  return r.value;
};
const x = (pem: string): X509Certificate => new X509Certificate(pem);

describe("certificate revocation lists", () => {
  const [good, bad, below] = [root.leaf("ns", "good"), root.leaf("ns", "bad"), sub.leaf("ns", "below")];
  const [ROOT, SUB] = [x(root.rootPem), x(below.chainPem.slice(below.certPem.length))];
  const cases: [string, string, X509Certificate[], readonly Crl[], RegExp | undefined][] = [
    ["on the list", bad.certPem, [ROOT], lists(root.crl([bad])), /^the certificate with serial number [0-9a-f]+ is on/],
    ["not on the list", good.certPem, [ROOT], lists(root.crl([bad])), undefined],
    ["an empty list", bad.certPem, [ROOT], lists(root.crl([])), undefined],
    ["no list at all", bad.certPem, [ROOT], [], undefined],
    ["on the second of two lists", bad.certPem, [ROOT], lists(sub.crl([good]), root.crl([bad])), /the certificate/],
    ["the serial number on another issuer's list", bad.certPem, [ROOT], lists(sub.crl([bad])), undefined],
    ["a list in the issuer's name that somebody else signed", bad.certPem, [ROOT], lists(root.crl([bad], fakeCa("evil"))), undefined],
    ["below an intermediate, revoked", below.certPem, [SUB, ROOT], lists(sub.crl([below])), /^the certificate/],
    ["below an intermediate that is revoked", below.certPem, [SUB, ROOT], lists(root.crl([{ ...below, der: SUB.raw }])), /^an intermediate certificate/],
    ["the issuer is not known: its name and the serial number must do", below.certPem, [ROOT], lists(sub.crl([below])), /^the certificate/],
    ["certificates that lead in a circle", ROOT.toString(), [ROOT, ROOT], lists(root.crl([bad])), undefined],
  ];
  for (const [name, leaf, others, crls, expected] of cases) it(name, () => {
    const found = revokedOn(x(leaf), others, crls);
    if (expected === undefined) assert.equal(found, undefined);
    else assert.match(found ?? "", expected);
  });

  it("are PEM or DER, several in a file, with other blocks beside them; an empty file has none", () => {
    const der = Buffer.from(root.crl([bad]).replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
    const parsed = (bytes: Buffer): number | string => { const r = parseCrls(bytes); return r.ok ? r.value.length : r.error; };
    assert.deepEqual([parsed(der), parsed(Buffer.from(root.rootPem + root.crl([]) + sub.crl([]))), parsed(Buffer.from("")), parsed(Buffer.from("\n"))], [1, 2, 0, 0]);
  });
  it("are refused whole when one is broken", () => {
    for (const text of ["not a list", `${root.crl([])}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n`]) assert.equal(parseCrls(Buffer.from(text)).ok, false);
  });
  it("survive hostile bytes: a reject or a list, never a throw", () => {
    const der = Buffer.from(root.crl([bad, good]).replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
    const random = seededRandom(5);
    for (let i = 0; i < 3_000; i++) {
      const torn = Buffer.from(der.subarray(0, Math.floor(random() * (der.length + 1))));
      for (let j = 0; j < 3 && torn.length > 0; j++) torn[Math.floor(random() * torn.length)] = Math.floor(random() * 256);
      parseCrls(torn);
    }
  });
});
