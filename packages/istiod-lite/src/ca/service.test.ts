import assert from "node:assert/strict";
import { X509Certificate, createPublicKey } from "node:crypto";
import { execFileSync } from "node:child_process";
import { connect } from "node:tls";
import { Client, credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { createLogger, Metrics, seededRandom, systemClock } from "@ambit/runtime";
import { createXdsServer } from "@ambit/xds";
import { startGrpc, type BoundGrpc, type GrpcOptions } from "../push/service.ts";
import type { PodFacts, PodLookup } from "./attest.ts";
import { createSelfSigned, type Authority } from "./authority.ts";
import { createCertificateMethod as method } from "./decode.ts";
import { createCaService, IN_FLIGHT_PER_CALLER_MAX } from "./service.ts";
import { createServingCertificate, servingNames, type ServingCertificate } from "./serving.ts";
import { decodeTokenReview, TokenGate, type Review } from "./token-review.ts";

const HOST = "istiod.istio-system.svc";
const pods: PodFacts[] = [
  { namespace: "istio-system", name: "ztunnel-a", uid: "u1", serviceAccount: "ztunnel", nodeName: "n1", phase: "Running" },
  { namespace: "shop", name: "cart-1", uid: "u2", serviceAccount: "cart", nodeName: "n1", phase: "Running" },
];
const lookup: PodLookup = {
  pod: (ns, name) => pods.find((p) => p.namespace === ns && p.name === name),
  onNode: (node, ns, sa) => pods.filter((p) => p.nodeName === node && p.namespace === ns && p.serviceAccount === sa),
};
const ztunnel = { namespace: "istio-system", serviceAccount: "ztunnel", podName: "ztunnel-a", podUid: "u1" };
const openssl = (...args: string[]) => execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

describe("certificate service over TLS gRPC", () => {
  let authority: Authority;
  let serving: ServingCertificate;
  let grpc: BoundGrpc;
  let options: GrpcOptions;
  let client: Client;
  let csr: string;
  let reviews: string[];
  let review: (token: string) => Promise<Review>;
  let log: Record<string, unknown>[];
  let metrics: Metrics;

  before(() => {
    csr = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/");
  });
  beforeEach(async () => {
    reviews = [];
    log = [];
    review = (token) => Promise.resolve(token === "good" ? { ok: true, reviewed: ztunnel } : { ok: false, error: "unknown token", unavailable: false });
    const logger = createLogger("ca", { write: (line) => log.push(JSON.parse(line) as Record<string, unknown>) });
    metrics = new Metrics();
    authority = await createSelfSigned("cluster.local", Date.now());
    serving = await createServingCertificate({ authority: () => authority, dnsNames: servingNames("istio-system"), clock: systemClock, log: logger });
    const ca = createCaService({
      authority: () => authority, clusterId: "Kubernetes", trustDomains: ["cluster.local"], trustedNodeAccounts: new Set(["istio-system/ztunnel"]),
      reviewToken: (token, audience) => { reviews.push(`${token}/${audience}`); return review(token); },
      pods: lookup, clock: systemClock, log: logger, metrics,
    });
    const xds = createXdsServer({ sources: [], authenticate: ca.authenticate, log: logger, clock: systemClock, metrics });
    options = { port: 0, host: "127.0.0.1", plaintextPort: 0, tls: serving, xds, ca, clock: systemClock };
    grpc = await startGrpc(options);
    client = channel(grpc.port);
  });
  afterEach(async () => {
    client.close();
    serving.close();
    await grpc.drain();
  });

  const channel = (port: number) => new Client(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(authority.rootsPem)), { "grpc.ssl_target_name_override": HOST, "grpc.use_local_subchannel_pool": 1 });
  interface Ask { token?: string; clusterId?: string; impersonated?: unknown; csrPem?: string; ttlSeconds?: bigint; authorization?: string }
  const ask = (a: Ask = {}, via = client): Promise<readonly string[]> => {
    const metadata = new Metadata();
    metadata.set("authorization", a.authorization ?? `Bearer ${a.token ?? "good"}`);
    if (a.clusterId !== "") metadata.set("clusterid", a.clusterId ?? "Kubernetes");
    const request = { csrPem: a.csrPem ?? csr, ttlSeconds: a.ttlSeconds ?? 3600n, impersonated: "impersonated" in a ? a.impersonated : "spiffe://cluster.local/ns/shop/sa/cart", certSigner: undefined };
    return new Promise((resolve, reject) =>
      via.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, metadata, (error, value) => (error === null ? resolve(value?.chain ?? []) : reject(error))));
  };
  const refusal = async (a: Ask): Promise<string> => ask(a).then(() => "issued", (e: ServiceError) => `${status[e.code]}: ${e.details}`);

  it("issues for a pod of the caller's node: leaf first, roots last", async () => {
    const chain = await ask();
    const leaf = new X509Certificate(chain[0] ?? "");
    assert.equal(leaf.subjectAltName, "URI:spiffe://cluster.local/ns/shop/sa/cart");
    assert.equal(chain.at(-1), authority.rootsPem);
    assert.ok(leaf.verify(createPublicKey(authority.rootsPem)));
    assert.deepEqual(reviews, ["good/istio-ca"]);
  });

  it("issues the caller's own identity without impersonation", async () => {
    const [leaf] = await ask({ impersonated: undefined, clusterId: "" });
    assert.equal(new X509Certificate(leaf ?? "").subjectAltName, "URI:spiffe://cluster.local/ns/istio-system/sa/ztunnel");
  });

  it("tells a refused caller one constant text, and the log the reason", async () => {
    assert.equal(await refusal({ impersonated: "spiffe://cluster.local/ns/shop/sa/pay" }), "UNAUTHENTICATED: request impersonation authentication failure");
    assert.equal(await refusal({ clusterId: "" }), "UNAUTHENTICATED: request impersonation authentication failure");
    assert.equal(await refusal({ token: "bad" }), "UNAUTHENTICATED: request authenticate failure");
    assert.equal(await refusal({ authorization: "bearer good" }), "UNAUTHENTICATED: request authenticate failure");
    assert.deepEqual(log.filter((l) => l["level"] === "warn").map((l) => l["error"]), [
      "no pod of shop/pay that could run is on node n1", "impersonation without clusterid metadata", "unknown token", "the authorization metadata is not a Bearer token",
    ]);
  });

  it("says Unavailable when tokens cannot be reviewed, so that callers retry", async () => {
    review = () => Promise.reject(new Error("connection refused"));
    assert.equal(await refusal({}), "UNAVAILABLE: tokens cannot be reviewed now");
  });

  it("names what is wrong with a request", async () => {
    assert.equal(await refusal({ csrPem: "nonsense" }), "INVALID_ARGUMENT: csr: no PEM block CERTIFICATE REQUEST");
    assert.equal(await refusal({ ttlSeconds: 8_000_000n }), "INVALID_ARGUMENT: validity_duration: 8000000 s is more than the 7776000 s allowed");
  });

  it("reviews a token once for calls that come together, and not again right after", async () => {
    await Promise.all(Array.from({ length: 8 }, () => ask()));
    await ask();
    assert.equal(reviews.length, 1);
    await refusal({ token: "bad" });
    await refusal({ token: "bad" });
    assert.equal(reviews.length, 3);
  });

  it("keeps a thousand requests that come at once, from many nodes, until it gets to them", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => { release = resolve; });
    review = async () => { await held; return { ok: true, reviewed: ztunnel }; };
    const nodes = Array.from({ length: 1024 / IN_FLIGHT_PER_CALLER_MAX }, () => channel(grpc.port));
    try {
      const all = Promise.all(nodes.flatMap((node) => Array.from({ length: IN_FLIGHT_PER_CALLER_MAX }, () => ask({}, node).then(() => "issued", (e: ServiceError) => e.details))));
      // None of them is answered before all have come.
      while (!/^citadel_server_csr_count 1024$/m.test(metrics.expose())) await new Promise((resolve) => setImmediate(resolve));
      release();
      assert.deepEqual([...new Set(await all)], ["issued"]);
    } finally {
      for (const node of nodes) node.close();
    }
  }).timeout(20_000);

  it("bounds what one caller has under way", async () => {
    let release: (r: Review) => void = () => undefined;
    review = () => new Promise((resolve) => (release = resolve));
    const all = Array.from({ length: IN_FLIGHT_PER_CALLER_MAX + 5 }, () => refusal({}));
    const early = await Promise.race(all);
    assert.equal(early, `RESOURCE_EXHAUSTED: more than ${IN_FLIGHT_PER_CALLER_MAX} requests of one caller at once`);
    release({ ok: true, reviewed: ztunnel });
    const answers = await Promise.all(all);
    assert.deepEqual([answers.filter((a) => a === "issued").length, answers.length], [IN_FLIGHT_PER_CALLER_MAX, IN_FLIGHT_PER_CALLER_MAX + 5]);
  });

  it("survives hostile messages and goes on issuing", async () => {
    const random = seededRandom(11);
    const good = method.requestSerialize({ csrPem: csr, ttlSeconds: 60n, impersonated: "spiffe://cluster.local/ns/shop/sa/cart", certSigner: undefined });
    const metadata = new Metadata();
    metadata.set("authorization", "Bearer good");
    metadata.set("clusterid", "Kubernetes");
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.from(good);
      for (let k = 0; k < 1 + random() * 4; k++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      await new Promise<void>((resolve) =>
        client.makeUnaryRequest(method.path, (b: Buffer) => b, (b: Buffer) => b, bytes, metadata, (error) => {
          if (error !== null) assert.ok([status.INVALID_ARGUMENT, status.UNAUTHENTICATED, status.INTERNAL].includes(error.code), `${error.code} ${error.details}`);
          resolve();
        }));
    }
    assert.equal((await ask()).length, 2);
    assert.deepEqual(log.filter((l) => l["level"] === "error"), []);
  });

  it("serves a renewed certificate to new connections while old ones go on", async () => {
    const serialOf = () => new Promise<string>((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: grpc.port, servername: HOST, ca: authority.rootsPem, ALPNProtocols: ["h2"] }, () => {
        resolve(socket.getPeerX509Certificate()?.serialNumber ?? "");
        socket.destroy();
      });
      socket.on("error", reject);
    });
    await ask();
    const first = await serialOf();
    assert.equal(await serialOf(), first);
    await serving.renew();
    assert.notEqual(await serialOf(), first);
    await ask();
  });

  it("says that it has expired, with both times, instead of signing", async () => {
    const expired = Date.now() - 1000;
    const good = authority;
    authority = { ...authority, notAfter: expired };
    assert.match(await refusal({}), new RegExp(`^UNAVAILABLE: the authority expired at ${new Date(expired).toISOString()}, the time here is `));
    authority = good;
    assert.equal((await ask()).length, 2);
  });

  it("serves plaintext with the same authentication where asked to", async () => {
    const plain = new Client(`127.0.0.1:${grpc.plaintextPort}`, credentials.createInsecure());
    assert.equal((await ask({}, plain)).length, 2);
    plain.close();
  });

  it("fails to start on a port that is taken, naming it", async () => {
    const again = startGrpc({ ...options, port: grpc.port });
    await assert.rejects(again, { message: `cannot listen on 127.0.0.1:${grpc.port}` });
  });
});

describe("the gate for tokens", () => {
  it("asks once for all that come while the answer is under way, and anew after a refusal", async () => {
    const answers: ((review: Review) => void)[] = [];
    const gate = new TokenGate(() => new Promise((resolve) => answers.push(resolve)), systemClock);
    const many = Array.from({ length: 8 }, () => gate.check("Bearer good"));
    assert.equal(answers.length, 1);
    answers[0]?.({ ok: false, error: "no", unavailable: false });
    assert.deepEqual((await Promise.all(many)).map((r) => r.ok), Array.from({ length: 8 }, () => false));
    void gate.check("Bearer good");
    assert.equal(answers.length, 2);
  });
});

describe("decodeTokenReview", () => {
  const user = (username: string, extra: object = {}) => ({ status: { authenticated: true, audiences: ["istio-ca"], user: { username, extra } } });
  const cases: [string, unknown, string][] = [
    ["a bound token", user("system:serviceaccount:shop:cart", { "authentication.kubernetes.io/pod-name": ["p"], "authentication.kubernetes.io/pod-uid": ["u"] }), "shop/cart p u"],
    ["an unbound token", user("system:serviceaccount:shop:cart"), "shop/cart undefined undefined"],
    ["two pod names", user("system:serviceaccount:shop:cart", { "authentication.kubernetes.io/pod-name": ["p", "q"] }), "shop/cart undefined undefined"],
    ["a user", user("alice"), "the token is not a service account's"],
    ["an odd service account", user("system:serviceaccount:shop:cart:x"), "the token is not a service account's"],
    ["another audience", { status: { authenticated: true, audiences: ["kubernetes"], user: {} } }, "the token is not for audience istio-ca"],
    ["no audience", { status: { authenticated: true, user: {} } }, "the token is not for audience istio-ca"],
    ["a refusal with a reason", { status: { authenticated: false, error: "token expired" } }, "token expired"],
    ["authenticated as a string", { status: { authenticated: "true" } }, "the token is not authenticated"],
    ["nothing", undefined, "the token is not authenticated"],
    ["a list", [], "the token is not authenticated"],
  ];
  for (const [name, answer, expected] of cases)
    it(name, () => {
      const r = decodeTokenReview(answer, "istio-ca");
      assert.equal(r.ok ? `${r.reviewed.namespace}/${r.reviewed.serviceAccount} ${r.reviewed.podName} ${r.reviewed.podUid}` : r.error, expected);
    });
});
