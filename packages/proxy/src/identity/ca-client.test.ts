import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials, status, type Metadata, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { auth } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { systemClock } from "@ambit/runtime";
import { fakeCa } from "@ambit/testkit";
import { createControlPlane } from "@ambit/xds";
import { createCaClient, type CaClient } from "./ca-client.ts";

const HOST = "istiod.istio-system.svc";
const identity = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart" };
const uri = "spiffe://cluster.local/ns/shop/sa/cart";

interface Asked { csr: string; ttl: bigint; metadata: unknown; call: Metadata }

describe("createCaClient", () => {
  const ca = fakeCa();
  const other = fakeCa();
  let dir: string;
  let server: Server;
  let port: number;
  let client: CaClient;
  let plane: ReturnType<typeof createControlPlane>;
  let asked: Asked[];
  let answer: (a: Asked) => string[] | status;

  /** Signs the request with openssl, so that its form is judged by somebody else. */
  const sign = (csr: string, san = `URI:${uri}`, days = "1") => {
    writeFileSync(join(dir, "in.csr"), csr);
    writeFileSync(join(dir, "ext"), `subjectAltName=critical,${san}\n`);
    return execFileSync("openssl", ["x509", "-req", "-in", "in.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "ext"], { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "ambit-ca-client-"));
    writeFileSync(join(dir, "ca.pem"), ca.rootPem);
    writeFileSync(join(dir, "ca.key"), ca.rootKeyPem);
    writeFileSync(join(dir, "token"), "secret-token\n");
    server = new Server();
    server.addService({
      createCertificate: {
        path: "/istio.v1.auth.IstioCertificateService/CreateCertificate", requestStream: false, responseStream: false,
        requestSerialize: () => Buffer.alloc(0), responseDeserialize: () => [],
        requestDeserialize: (b: Buffer) => fromBinary(auth.IstioCertificateRequestSchema, b),
        responseSerialize: (chain: string[]) => Buffer.from(toBinary(auth.IstioCertificateResponseSchema, create(auth.IstioCertificateResponseSchema, { certChain: chain }))),
      },
    }, {
      createCertificate: (call: ServerUnaryCall<auth.IstioCertificateRequest, string[]>, callback: sendUnaryData<string[]>) => {
        const a = { csr: call.request.csr, ttl: call.request.validityDuration, metadata: call.request.metadata, call: call.metadata };
        asked.push(a);
        const given = answer(a);
        if (Array.isArray(given)) callback(null, given);
        else callback({ code: given, details: "request impersonation authentication failure" });
      },
    });
    const serving = ca.issue({ dnsNames: [HOST] });
    const creds = ServerCredentials.createSsl(null, [{ private_key: Buffer.from(serving.keyPem), cert_chain: Buffer.from(serving.certPem) }]);
    port = await new Promise((resolve, reject) => server.bindAsync("127.0.0.1:0", creds, (e, p) => (e === null ? resolve(p) : reject(e))));
  });
  after(async () => {
    rmSync(dir, { recursive: true });
    server.forceShutdown();
    await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  });
  beforeEach(() => {
    asked = [];
    plane = createControlPlane({ address: `https://127.0.0.1:${port}`, roots: ca.rootPem, token: join(dir, "token"), clusterId: "Kubernetes", altHostname: HOST, clock: systemClock });
    client = createCaClient({ connect: plane, ttlMs: 3_600_000, clock: systemClock });
  });
  afterEach(() => {
    client.close();
    plane.close();
  });

  it("asks in Istio's form and takes a good chain", async () => {
    answer = (a) => [sign(a.csr), ca.rootPem];
    const got = await client.request(identity);
    const [a] = asked;
    assert.deepEqual([a?.ttl, a?.metadata], [3600n, { ImpersonatedIdentity: uri }]);
    assert.deepEqual(a?.call.get("authorization"), ["Bearer secret-token"]);
    assert.deepEqual(a?.call.get("clusterid"), ["Kubernetes"]);
    assert.equal(got.rootsPem, ca.rootPem);
    assert.match(got.chainPem, /^-----BEGIN CERTIFICATE-----/);
    assert.ok(got.notAfter > Date.now() && got.notBefore <= Date.now());
    assert.match(got.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });

  const refused: [string, (a: Asked) => string[] | status, RegExp][] = [
    ["no root", (a) => [sign(a.csr)], /1 chain element\(s\)/],
    ["another identity", (a) => [sign(a.csr, "URI:spiffe://cluster.local/ns/shop/sa/other"), ca.rootPem], /certified spiffe:\/\/cluster.local\/ns\/shop\/sa\/other/],
    ["two identities", (a) => [sign(a.csr, `URI:${uri},URI:spiffe://x/ns/a/sa/b`), ca.rootPem], /2 URI names instead of one/],
    ["another key", () => [ca.leaf("shop", "cart").certPem, ca.rootPem], /for another key/],
    ["roots that did not sign it", (a) => [sign(a.csr), other.rootPem], /does not lead to the roots/],
    ["one that has ended, naming both times", (a) => [sign(a.csr, undefined, "-1"), ca.rootPem], /expired at \d{4}-\d\d-\d\dT.*Z, the time here is \d{4}-/],
    ["garbage", () => ["x", "y"], /cannot be parsed/],
    ["a refusal", () => status.UNAUTHENTICATED, /UNAUTHENTICATED: request impersonation authentication failure/],
  ];
  for (const [name, given, expected] of refused)
    it(`refuses ${name}`, async () => {
      answer = given;
      await assert.rejects(client.request(identity), expected);
    });

  it("says what is wrong on the way: no token file, a server of another CA, nobody there", async () => {
    const reach = async (o: { roots?: string; token?: string; port?: number }) => {
      const p = createControlPlane({ address: `https://127.0.0.1:${o.port ?? port}`, roots: o.roots ?? ca.rootPem, token: o.token ?? "t", clusterId: "c", altHostname: HOST, clock: systemClock });
      const c = createCaClient({ connect: p, ttlMs: 1000, clock: systemClock });
      try {
        return await c.request(identity).then(() => "issued", (e: Error) => e.message);
      } finally {
        c.close();
        p.close();
      }
    };
    assert.match(await reach({ token: "/nonexistent/token" }), /cannot read the token \(no such file\) \/nonexistent\/token/);
    assert.match(await reach({ roots: "/nonexistent/root.pem" }), /cannot read the root certificates \/nonexistent\/root.pem/);
    assert.match(await reach({ roots: other.rootPem }), /UNAVAILABLE/);
    assert.match(await reach({ port: 1 }), /UNAVAILABLE/);
    assert.deepEqual(asked, []);
  });
});
