// What must not be in a report is not, in whatever text or object it stands; and what is needed to help stays.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { isSecretName, REDACTED, redactObject, redactText } from "./redact.ts";

const SECRET = "hunter2hunter2";
const KEY = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const BODY = KEY.split("\n")[1] ?? "";
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgI\n-----END CERTIFICATE-----\n";
const JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJlc2lnbmF0dXJl";

describe("a report holds no secret", () => {
  const texts: readonly (readonly [string, string, string])[] = [
    ["a private key", `before\n${KEY}after`, BODY], ["one of RSA", KEY.replaceAll("PRIVATE", "RSA PRIVATE"), BODY], ["a private key in a JSON string", JSON.stringify({ a: KEY }), BODY], ["a key whose end is cut off", KEY.slice(0, 100), BODY.slice(0, 20)],
    ["a key in base64", `a: ${Buffer.from(KEY).toString("base64")}`, Buffer.from(KEY).toString("base64").slice(60, 90)], ["a certificate and its key in base64", Buffer.from(CERTIFICATE + KEY).toString("base64"), Buffer.from(CERTIFICATE + KEY).toString("base64").slice(150, 180)],
    ["a key after a long chain, in base64", Buffer.from(CERTIFICATE.repeat(200) + KEY).toString("base64"), Buffer.from(CERTIFICATE.repeat(200) + KEY).toString("base64").slice(-60)], ["a key that ends in the middle of a certificate", `${KEY.slice(0, 100)}\n${CERTIFICATE.slice(30)}`, BODY.slice(0, 20)], ["a token", `got ${JWT}.`, JWT], ["a header", `authorization: Bearer ${SECRET}`, SECRET], ["basic authentication", `x Basic ${SECRET}`, SECRET], ["a URL", `postgres://app:${SECRET}@db/x`, SECRET],
    ["a line of YAML", `password: ${SECRET}`, SECRET], ["a variable", `DB_PASSWORD=${SECRET}`, SECRET], ["JSON", `{"clientSecret": "${SECRET}"}`, SECRET], ["JSON in JSON", JSON.stringify({ a: `apiKey='${SECRET}'` }), SECRET], ["JSON in JSON in JSON", JSON.stringify(JSON.stringify({ password: SECRET })), SECRET], ["a quote in the value", '{"password":"a\\"hunter2hunter2"}', SECRET], ["a block of YAML", `password: |\n  first\n  ${SECRET}\nnext: x`, SECRET], ["a flag", `--token=${SECRET}`, SECRET],
    ["a query", `GET /x?access_token=${SECRET}&a=b`, SECRET], ["a header in a log's field", `{"x-api-key":"${SECRET}"}`, SECRET], ["a value with blanks", `{"password":"${SECRET} and more"}`, "more"],
    ["a symmetric key of a JWK", `{"keys":[{"kty":"oct","k":"${SECRET}${SECRET}"}]}`, SECRET], ["a key of AWS", "AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"], ["a token of GitHub", "ghp_0123456789abcdefghij0123", "0123456789abc"],
  ];
  for (const [name, text, secret] of texts)
    it(`text: ${name}`, () => {
      assert.ok(text.includes(secret), "the case holds its secret");
      const said = redactText(text);
      assert.ok(!said.includes(secret), said);
      assert.ok(said.includes(REDACTED));
      assert.equal(redactText(said), said, "twice is once");
    });

  it("keeps what helps: certificates, identities, codes, names of Secrets, public keys", () => {
    for (const text of [CERTIFICATE, Buffer.from(CERTIFICATE).toString("base64"), "spiffe://cluster.local/ns/shop/sa/web", '{"code":"tunnel-timeout","token_ttl":"1h"}', "secretName: web-tls", "AUTH_TOKEN_PATH=/var/run/x", '{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx","e":"AQAB"}', "http://istiod.istio-system.svc:15012/x", "automountServiceAccountToken: false"])
      assert.equal(redactText(text), text);
  });

  it("takes time in proportion to the text, whatever the text is", function () {
    this.timeout(20_000);
    const size = 1_000_000;
    for (const piece of ["a", "a-", "a.", "\\", "eyJ", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "LS0tLS1CRUdJTi", '"', "password:", "password: |\n ", " ", "http://", "Bearer ", ":=", "token='"])
      assert.ok(redactText(piece.repeat(Math.ceil(size / piece.length))).length > 0, piece);
  });

  it("leaves Secrets out whole", () => assert.equal(redactObject({ kind: "Secret", metadata: { name: "x" }, data: { a: SECRET } }), undefined));

  it("an application's pod keeps only what the mesh reads of it", () => {
    const pod = redactObject({
      kind: "Pod", metadata: { name: "p", managedFields: [{}], annotations: { "kubectl.kubernetes.io/last-applied-configuration": SECRET, "ambient.istio.io/redirection": "enabled" } },
      spec: { nodeName: "n", imagePullSecrets: [{ name: SECRET }], volumes: [{ secret: { secretName: SECRET } }], containers: [{ name: "c", image: "i", ports: [{ containerPort: 80 }], env: [{ name: "X", value: SECRET }], args: [SECRET], command: [SECRET] }] }, status: { podIP: "10.0.0.1" },
    });
    assert.deepEqual(pod, { kind: "Pod", metadata: { name: "p", annotations: { "ambient.istio.io/redirection": "enabled" } }, spec: { nodeName: "n", containers: [{ name: "c", image: "i", ports: [{ containerPort: 80 }] }] }, status: { podIP: "10.0.0.1" } });
  });

  it("a part of the mesh keeps its settings, without secrets", () => {
    const env = [{ name: "TRUST_DOMAIN", value: "cluster.local" }, { name: "DB_PASSWORD", value: SECRET }];
    const pod = redactObject({ kind: "Pod", metadata: { name: "istiod" }, spec: { containers: [{ name: "c", env, args: [`--token=${SECRET}`] }] } }, true);
    assert.deepEqual(pod?.["spec"], { containers: [{ name: "c", env: [env[0], { name: "DB_PASSWORD", value: REDACTED }], args: [`--token=${REDACTED}`] }] });
  });

  it("fields and headers of other objects are looked through", () => {
    const said = JSON.stringify(redactObject({ kind: "ConfigMap", metadata: { name: "istio" }, data: { mesh: `extensionProviders:\n- name: x\n  headers:\n    x-api-key: ${SECRET}\n`, token: SECRET }, list: [{ name: "Authorization", value: `Custom ${SECRET}` }] }));
    assert.ok(!said.includes(SECRET), said);
    assert.match(said, /extensionProviders/);
  });

  it("names: secret ones in every spelling, and not their neighbours", () => {
    for (const name of ["password", "DB_PASSWORD", "dbPassword", "api-key", "apiKey", "X-Api-Key", "clientSecret", "AWS_SECRET_ACCESS_KEY", "authToken", "authorization", "Cookie"]) assert.ok(isSecretName(name), name);
    for (const name of ["name", "secretName", "tokenPath", "key", "path", "principals", "audiences", "compass", "monkey"]) assert.ok(!isSecretName(name), name);
  });
});
