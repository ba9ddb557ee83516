import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import fc from "fast-check";
import { jwtRule } from "../plan/plan.fixture.ts";
import { b64, jwksOf, publicJwk, publicPem, tokenOf } from "./issuer.fixture.ts";
import { repeatsName } from "./jwt.ts";
import { KeySets, parseKeySet } from "./key-set.ts";
import { verifyTokens } from "./verify-token.ts";

const NOW = 1_700_000_000_000;
const EXP = NOW / 1000 + 1000;
const ALL = jwksOf("RSA", "P-256", "P-384", "P-521", "Ed25519");
const CLAIMS = { iss: "https://issuer", sub: "me", exp: EXP };
const RULE = jwtRule({ jwks: ALL });
const keySets = new KeySets();
const verify = (token: string, rules = [RULE]): string => {
  const outcome = verifyTokens(rules, { fields: ["authorization", `Bearer ${token}`], now: NOW }, undefined, keySets);
  return outcome.kind === "valid" ? outcome.tokens.map((t) => `${t.issuer}/${t.subject}`).join(" ") : outcome.kind === "none" ? "none" : outcome.reason;
};
const VALID = "https://issuer/me";

describe("a token verifies", () => {
  for (const algorithm of ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
    it(algorithm, () => {
      assert.equal(verify(tokenOf(algorithm, CLAIMS)), VALID);
      const [head, , signature] = tokenOf(algorithm, CLAIMS).split(".");
      assert.equal(verify(`${head}.${b64({ ...CLAIMS, sub: "you" })}.${signature}`), "Jwt verification fails");
    });
  const cases: [string, string, string][] = [
    ["without kid every key that fits is tried", tokenOf("RS256", CLAIMS, { kid: undefined }), VALID],
    ["without exp (Envoy)", tokenOf("RS256", { iss: "https://issuer", sub: "me" }), VALID],
    ["expired within the skew", tokenOf("RS256", { ...CLAIMS, exp: NOW / 1000 - 59 }), VALID],
    ["expired", tokenOf("RS256", { ...CLAIMS, exp: NOW / 1000 - 61 }), "Jwt is expired"],
    ["not yet", tokenOf("RS256", { ...CLAIMS, nbf: NOW / 1000 + 61 }), "Jwt not yet valid"],
    ["another issuer", tokenOf("RS256", { ...CLAIMS, iss: "https://other" }), "Jwt issuer is not configured"],
    ["exp is a text", tokenOf("RS256", { ...CLAIMS, exp: "never" }), "Jwt payload [exp] field is not a number"],
    ["sub is a list", tokenOf("RS256", { ...CLAIMS, sub: ["me"] }), "Jwt payload [sub] field is not a string"],
  ];
  for (const [name, token, expected] of cases) it(name, () => assert.equal(verify(token), expected));
});

describe("S38: a token that lies about its signature", () => {
  const hmac = (key: string): string => { const signed = `${b64({ alg: "HS256", kid: "RSA" })}.${b64(CLAIMS)}`; return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`; };
  const cases: [string, string, string][] = [
    ["alg none", `${b64({ alg: "none" })}.${b64(CLAIMS)}.`, "Jwt signature is an invalid Base64url encoded"],
    ["alg none with a signature", `${b64({ alg: "none" })}.${b64(CLAIMS)}.AAAA`, "Jwt header [alg] is not supported"],
    ["alg nOnE", `${b64({ alg: "nOnE" })}.${b64(CLAIMS)}.AAAA`, "Jwt header [alg] is not supported"],
    ["HS256 with the public key as its secret", hmac(publicPem("RSA")), "Jwt header [alg] is not supported"],
    ["ES256 with kid of an RSA key", tokenOf("ES256", CLAIMS, { kid: "RSA" }), "Jwks doesn't have key to match kid or alg from Jwt"],
    ["RS256 said to be PS256", tokenOf("RS256", CLAIMS, { alg: "PS256" }), "Jwt verification fails"],
    ["kid is a path", tokenOf("RS256", CLAIMS, { kid: "../../etc/passwd" }), "Jwks doesn't have key to match kid or alg from Jwt"],
    ["kid is no text", tokenOf("RS256", CLAIMS, { kid: 1 }), "Jwt header [kid] field is not a string"],
    ["a key inside the token is not used", tokenOf("ES256", CLAIMS, { jwk: publicJwk("P-256"), kid: "P-384" }), "Jwks doesn't have key to match kid or alg from Jwt"],
    ["critical extensions", tokenOf("RS256", CLAIMS, { crit: ["exp"] }), "Jwt header has critical extensions"],
    ["duplicate claims", tokenOf("RS256", `{"iss":"https://issuer","sub":"me","sub":"you"}`), "Jwt payload is an invalid JSON"],
    ["duplicate claims by escapes", tokenOf("RS256", `{"iss":"https://issuer","sub":"me","s\\u0075b":"you"}`), "Jwt payload is an invalid JSON"],
    ["a megabyte", `${b64({ alg: "RS256" })}.${"A".repeat(1_000_000)}.AAAA`, "Jwt is too long"],
    ["deep JSON", tokenOf("RS256", "[".repeat(5000) + "]".repeat(5000)), "Jwt payload is an invalid JSON"],
    ["two parts", "a.b", "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"],
    ["padding", `${tokenOf("RS256", CLAIMS)}=`, "Jwt signature is an invalid Base64url encoded"],
    ["claims that are a text", tokenOf("RS256", `"x"`), "Jwt payload is an invalid JSON"],
    ["prototype of objects is no issuer", tokenOf("RS256", `{"__proto__":{"iss":"https://issuer"}}`), "Jwt issuer is not configured"],
  ];
  for (const [name, token, expected] of cases) it(name, () => assert.equal(verify(token), expected));
  it("no text at all crashes it", () => {
    const part = fc.oneof(fc.string(), fc.json().map(b64), fc.constant(b64({ alg: "RS256" })), fc.base64String());
    fc.assert(fc.property(fc.array(part, { maxLength: 4 }), (parts) => { assert.notEqual(verify(parts.join(".")), VALID); }), { numRuns: 500, seed: 3 });
  });
});

describe("audiences", () => {
  const cases: [unknown, readonly string[], string][] = [
    ["a", ["a", "b"], VALID], [["x", "b"], ["a", "b"], VALID], ["x", ["a"], "Audiences in Jwt are not allowed"], [undefined, ["a"], "Audiences in Jwt are not allowed"], [undefined, [], VALID],
    ["https://a/", ["a"], VALID], [{ a: 1 }, ["a"], "Audiences in Jwt are not allowed"],
  ];
  for (const [aud, audiences, expected] of cases) it(`${JSON.stringify(aud)} for ${JSON.stringify(audiences)}`, () => assert.equal(verify(tokenOf("ES256", { ...CLAIMS, aud }), [jwtRule({ jwks: ALL, audiences })]), expected));
});

describe("several rules (l7-authz 4)", () => {
  const other = jwtRule({ issuer: "https://other", jwks: ALL });
  it("one that verifies is enough", () => assert.equal(verify(tokenOf("ES256", CLAIMS), [RULE, other]), VALID));
  it("an issuer that nobody knows is refused", () => assert.equal(verify(tokenOf("ES256", { ...CLAIMS, iss: "x" }), [RULE, other]), "Jwt issuer is not configured"));
  it("the reason is that of the issuer's own rule", () => assert.equal(verify(tokenOf("ES256", { ...CLAIMS, iss: "https://other", exp: 1 }), [RULE, other]), "Jwt is expired"));
  it("of two valid tokens the one of the first rule is first", () => {
    const outcome = verifyTokens([RULE, { ...other, fromHeaders: [{ name: "x-token", prefix: "" }] }], { now: NOW, fields: ["x-token", tokenOf("ES256", { ...CLAIMS, iss: "https://other" }), "authorization", `Bearer ${tokenOf("ES256", CLAIMS)}`] }, undefined, keySets);
    assert.deepEqual(outcome.kind === "valid" && outcome.tokens.map((t) => [t.issuer, t.rule, t.location]), [["https://issuer", 0, { kind: "header", name: "authorization" }], ["https://other", 1, { kind: "header", name: "x-token" }]]);
  });
  it("more tokens than anybody needs are refused", () => {
    const fields = Array.from({ length: 20 }, () => ["authorization", "Bearer x"]).flat();
    assert.deepEqual(verifyTokens([RULE], { fields, now: NOW }, undefined, keySets), { kind: "invalid", reason: "Jwt: too many tokens" });
  });
});

describe("a token that comes again", () => {
  it("is judged by its claims again, and by new keys anew", () => {
    const token = tokenOf("RS256", { ...CLAIMS, exp: NOW / 1000 });
    const at = (now: number, jwks = ALL): string => { const o = verifyTokens([jwtRule({ jwks })], { fields: ["authorization", `Bearer ${token}`], now }, undefined, keySets); return o.kind === "invalid" ? o.reason : o.kind; };
    assert.deepEqual([at(NOW), at(NOW), at(NOW + 61_000), at(NOW, jwksOf("P-256"))], ["valid", "valid", "Jwt is expired", "Jwks doesn't have key to match kid or alg from Jwt"]);
    const [head, payload] = token.split(".");
    assert.equal(verify(`${head}.${payload}.${Buffer.from("forged").toString("base64url")}`), "Jwt verification fails");
  });
  it("more of them than are kept are still verified", () => {
    const tokens = Array.from({ length: 600 }, (_, i) => tokenOf("EdDSA", { ...CLAIMS, sub: `u${i}` }));
    for (const [i, t] of [...tokens, ...tokens.slice(0, 5)].entries()) assert.equal(verify(t), `https://issuer/u${i % 600}`);
  });
});

describe("S36: keys", () => {
  const cases: [string, string | undefined, string][] = [
    ["not to be had: every token fails", undefined, "Jwks remote fetch is failed"], ["not readable", "{", "Jwks is invalid"], ["empty", `{"keys":[]}`, "Jwks is invalid"],
    ["too short", jwksOf("short"), "Jwks is invalid"], ["symmetric", JSON.stringify({ keys: [{ kty: "oct", k: "c2VjcmV0", alg: "HS256" }] }), "Jwks is invalid"],
    ["for encryption", JSON.stringify({ keys: [{ ...publicJwk("RSA"), use: "enc" }] }), "Jwks is invalid"],
    ["for another algorithm", JSON.stringify({ keys: [{ ...publicJwk("RSA"), alg: "RS512" }] }), "Jwks doesn't have key to match kid or alg from Jwt"],
  ];
  for (const [name, jwks, expected] of cases) it(name, () => assert.equal(verify(tokenOf("RS256", CLAIMS), [jwtRule({ jwks })]), expected));
  it("bounded", () => {
    assert.ok(!parseKeySet(" ".repeat(300_000)).ok);
    assert.ok(!parseKeySet(JSON.stringify({ keys: Array.from({ length: 101 }, () => publicJwk("P-256")) })).ok);
  });
});

describe("scope is a list", () => {
  it("scope, permission, and what the rule names", () => {
    const outcome = verifyTokens([jwtRule({ jwks: ALL, spaceDelimitedClaims: ["groups"] })], { now: NOW, fields: ["authorization", `Bearer ${tokenOf("ES256", { ...CLAIMS, scope: "a b", groups: "c d", other: "e f" })}`] }, undefined, keySets);
    assert.ok(outcome.kind === "valid");
    const { scope, groups, other } = outcome.tokens[0]?.claims ?? {};
    assert.deepEqual([scope, groups, other], [["a", "b"], ["c", "d"], "e f"]);
  });
});

describe("repeatsName", () => {
  const cases: [string, boolean][] = [[`{"a":1,"b":{"a":2}}`, false], [`{"a":[{"b":1},{"b":2}]}`, false], [`{"a":{"b":1,"b":2}}`, true], [`{"a":"a","b":"a"}`, false], [`{"a":"\\",\\"a\\":","b":1}`, false], [`[{"a":1,"a":1}]`, true], [`{"a":[1,"a"],"a":2}`, true]];
  for (const [json, expected] of cases) it(json, () => assert.equal(repeatsName(json), expected));
  it("never of what JSON.stringify writes", () => { fc.assert(fc.property(fc.json(), (json) => { assert.equal(repeatsName(JSON.stringify(JSON.parse(json))), false); }), { numRuns: 300, seed: 5 }); });
});
