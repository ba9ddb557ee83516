import assert from "node:assert/strict";
import fc from "fast-check";
import { formatIdentity, parseIdentity, principalOf, sameIdentity } from "./spiffe.ts";

describe("SPIFFE identities", () => {
  it("is read, written and named", () => {
    const parsed = parseIdentity("spiffe://cluster.local/ns/shop/sa/catalog");
    assert.ok(parsed.ok);
    assert.deepEqual(parsed.value, { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "catalog" });
    assert.equal(formatIdentity(parsed.value), "spiffe://cluster.local/ns/shop/sa/catalog");
    assert.equal(principalOf(parsed.value), "cluster.local/ns/shop/sa/catalog");
    assert.ok(sameIdentity(parsed.value, { ...parsed.value }));
    assert.ok(!sameIdentity(parsed.value, { ...parsed.value, trustDomain: "other" }));
  });
  for (const uri of [
    "", "cluster.local/ns/a/sa/b", "spiffe://cluster.local", "spiffe://cluster.local/ns/a/sa/b/c", "spiffe://cluster.local/ns/a/sa/b/", "spiffe://cluster.local/ns//sa/b",
    "spiffe://CLUSTER.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/..", "spiffe://cluster.local/ns/a/sa/b/../c", "spiffe://cluster.local/NS/a/sa/b", "spiffe://cluster.local/ns/a/sa/b\0x",
    "spiffe://user@cluster.local/ns/a/sa/b", "spiffe://cluster.local:80/ns/a/sa/b", "spiffe://cluster.local/ns/a%2f/sa/b", "SPIFFE://cluster.local/ns/a/sa/b", `spiffe://${"a".repeat(256)}/ns/a/sa/b`,
  ]) it(`${JSON.stringify(uri.slice(0, 60))} is refused`, () => assert.equal(parseIdentity(uri).ok, false));
  it("whatever is accepted is written back to the letter", () => fc.assert(fc.property(fc.string(), (s) => {
    const parsed = parseIdentity(s);
    if (parsed.ok) assert.equal(formatIdentity(parsed.value), s);
  })));
});
