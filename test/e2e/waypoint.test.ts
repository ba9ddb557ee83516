// Istio's own objects at a waypoint, in the shapes of its Bookinfo samples: routing by header, weight and path, faults, mirrors, timeouts, retries, L7
// policy, tokens; and what happens while waypoints come and go.
import assert from "node:assert/strict";
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { KINDS, type Condition, type KubeObject } from "@ambit/kube";
import { accountOf, documents } from "./client-log.fixture.ts";
import { echoPod, MeshBed, podOf, type Answer } from "../conformance/bed.fixture.ts";

const NS = "book";
const CLIENT = { namespace: NS, pod: podOf("productpage") };
const URL_ = "http://reviews:9080/";

const service = (name: string): object => ({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: NS, labels: { app: name, service: name } }, spec: { selector: { app: name }, ports: [{ port: 9080, name: "http", targetPort: 8080 }, { port: 9090, name: "tcp-echo" }] } });
const destinationRule = { apiVersion: "networking.istio.io/v1", kind: "DestinationRule", metadata: { name: "reviews", namespace: NS }, spec: { host: "reviews", subsets: ["v1", "v2", "v3"].map((version) => ({ name: version, labels: { version } })) } };
const virtualService = (http: readonly object[], name = "reviews"): object => ({ apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name, namespace: NS }, spec: { hosts: ["reviews"], http } });
const to = (subset: string, more: object = {}): object => ({ destination: { host: "reviews", subset }, ...more });
const policy = (name: string, spec: object): object => ({ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name, namespace: NS }, spec: { targetRefs: [{ group: "", kind: "Service", name: "reviews" }], ...spec } });

describe("Istio's objects at a waypoint", function () {
  this.timeout(240_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let bed: MeshBed;
  before(async () => {
    bed = await MeshBed.start({ echo: false });
    await bed.lab.apply(documents(
      JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: NS, labels: { "istio.io/dataplane-mode": "ambient" } } }),
      ...["reviews-v1", "reviews-v2", "reviews-v3", "productpage"].map((n) => accountOf(n, NS)), JSON.stringify(service("reviews")),
      ...["v1", "v2", "v3"].map((v, i) => echoPod(bed.lab, `reviews-${v}`, NS, i === 1 ? "node-2" : "node-1", { app: "reviews", version: v })), echoPod(bed.lab, "productpage", NS, "node-2", { app: "productpage" }),
    ));
    await bed.lab.ready(NS, { enrolled: true, count: 4 });
    const applied = await bed.ambit("waypoint", "apply", "-n", NS, "--enroll-namespace", "--wait");
    assert.equal(applied.code, 0, applied.err);
    await bed.lab.apply(JSON.stringify(destinationRule));
  });
  after(() => bed?.stop());

  const ask = (o: Parameters<MeshBed["ask"]>[1] & { readonly url?: string } = {}): Promise<Answer[]> => bed.ask(o.url ?? URL_, { from: CLIENT, count: 3, ...o });
  const servers = (answers: readonly Answer[]): string[] => [...new Set(answers.map((a) => a.seen?.server ?? a.error ?? String(a.status)))].sort();
  const statuses = (answers: readonly Answer[]): (number | string)[] => [...new Set(answers.map((a) => a.error ?? a.status))];
  const all = async (expected: string, o?: Parameters<typeof ask>[0]): Promise<void> => bed.eventually(async () => assert.deepEqual(servers(await ask(o)), [expected]));
  const answered = async (status: number, o?: Parameters<typeof ask>[0]): Promise<void> => bed.eventually(async () => assert.deepEqual(statuses(await ask(o)), [status]));

  it("a header sends one user to v2, everyone else to v1", () => bed.with([virtualService([
    { match: [{ headers: { "end-user": { exact: "jason" } } }], route: [to("v2")] }, { route: [to("v1")] },
  ])], async () => {
    await all("reviews-v1");
    await all("reviews-v2", { headers: { "end-user": "jason" } });
  }));

  it("weights split between v1 and v3", () => bed.with([virtualService([{ route: [to("v1", { weight: 50 }), to("v3", { weight: 50 })] }])], () => bed.eventually(async () => {
    const answers = await ask({ count: 200 });
    const share = answers.filter((a) => a.seen?.server === "reviews-v3").length / answers.length;
    assert.ok(answers.every((a) => a.seen?.server === "reviews-v1" || a.seen?.server === "reviews-v3") && Math.abs(share - 0.5) < 0.15, `${share}`);
  })));

  it("a path is matched and rewritten", () => bed.with([virtualService([
    { match: [{ uri: { prefix: "/api/v1/reviews" } }], rewrite: { uri: "/reviews" }, route: [to("v3")] }, { route: [to("v1")] },
  ])], () => bed.eventually(async () => {
    const [answer] = await ask({ url: `${URL_}api/v1/reviews/7` });
    assert.deepEqual([answer?.seen?.server, answer?.seen?.path, answer?.seen?.headers["x-envoy-original-path"]], ["reviews-v3", "/reviews/7", "/api/v1/reviews/7"]);
    assert.deepEqual(servers(await ask()), ["reviews-v1"]);
  })));

  it("a fault delays one user and aborts another", () => bed.with([virtualService([
    { match: [{ headers: { "end-user": { exact: "jason" } } }], fault: { delay: { percentage: { value: 100 }, fixedDelay: "1s" } }, route: [to("v1")] },
    { match: [{ headers: { "end-user": { exact: "tester" } } }], fault: { abort: { percentage: { value: 100 }, httpStatus: 500 } }, route: [to("v1")] },
    { route: [to("v1")] },
  ])], async () => {
    await answered(500, { headers: { "end-user": "tester" } });
    const begin = Date.now();
    assert.deepEqual(servers(await ask({ count: 1, headers: { "end-user": "jason" } })), ["reviews-v1"]);
    assert.ok(Date.now() - begin >= 1_000, `${Date.now() - begin} ms`);
    assert.deepEqual(servers(await ask()), ["reviews-v1"]);
  }));

  it("a mirror sees what v1 answers", () => bed.with([virtualService([{ route: [to("v1")], mirror: { host: "reviews", subset: "v2" }, mirrorPercentage: { value: 100 } }])], async () => {
    await all("reviews-v1");
    const marker = `mirrored-${process.pid}`;
    assert.deepEqual(servers(await ask({ headers: { "x-log": marker } })), ["reviews-v1"]);
    await bed.eventually(async () => assert.match(await bed.lab.kubectl("-n", NS, "logs", podOf("reviews-v2")), new RegExp(`"asked":"${marker}","host":"reviews-shadow`)));
  }));

  it("a timeout ends a slow request, retries overcome a failing one", () => bed.with([virtualService([
    { match: [{ uri: { prefix: "/slow" } }], timeout: "0.5s", route: [to("v1")] },
    { match: [{ uri: { prefix: "/flaky" } }], retries: { attempts: 3, perTryTimeout: "2s", retryOn: "5xx" }, route: [to("v1")] },
    { route: [to("v1")] },
  ])], async () => {
    await answered(504, { url: `${URL_}slow?delay=3000`, count: 1 });
    await answered(200, { url: `${URL_}flaky?status=503&fail-first=k${process.pid}:2`, count: 1 });
  }));

  it("consistent hashing by a header keeps one user at one endpoint", () => bed.with([{
    apiVersion: "networking.istio.io/v1", kind: "DestinationRule", metadata: { name: "sticky", namespace: NS },
    spec: { host: `reviews.${NS}.svc.cluster.local`, trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: "x-user" } } } },
  }], () => bed.eventually(async () => {
    for (const user of ["ann", "bob", "cid"]) assert.equal(servers(await ask({ count: 10, headers: { "x-user": user } })).length, 1, user);
  })));

  it("a session's cookie leads back to its endpoint, a forged one nowhere", () => bed.with([{
    apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name: "sessions", namespace: NS },
    spec: { parentRefs: [{ group: "", kind: "Service", name: "reviews", port: 9080 }], rules: [{ backendRefs: [{ name: "reviews", port: 9080 }], sessionPersistence: { sessionName: "seat", type: "Cookie" } }] },
  }], async () => {
    const seat = async (): Promise<{ readonly server: string | undefined; readonly cookie: string }> => {
      const [answer] = await ask({ count: 1 });
      const cookie = /seat=[^;]+/.exec(answer?.headers["set-cookie"] ?? "")?.[0];
      assert.ok(cookie !== undefined, "no cookie");
      return { server: answer?.seen?.server, cookie };
    };
    await bed.eventually(async () => void await seat());
    for (let i = 0; i < 3; i++) {
      const { server, cookie } = await seat();
      assert.deepEqual(servers(await ask({ count: 20, headers: { cookie } })), [server]);
    }
    const { cookie } = await seat();
    const [head = "", body = ""] = cookie.split(".");
    assert.ok(servers(await ask({ count: 40, headers: { cookie: `${head.slice(0, -4)}AAAA.${body}` } })).length > 1);
  }));

  it("CORS: a preflight is answered here, and the origin in other answers", () => bed.with([virtualService([
    { corsPolicy: { allowOrigins: [{ exact: "https://shop.example" }], allowMethods: ["PUT"], maxAge: "1h" }, route: [to("v1")] },
  ])], async () => {
    const preflight = (origin: string) => ({ method: "OPTIONS", headers: { Origin: origin, "Access-Control-Request-Method": "PUT" }, count: 1 });
    await bed.eventually(async () => {
      const [answer] = await ask(preflight("https://shop.example"));
      assert.deepEqual([answer?.status, answer?.headers["access-control-allow-origin"], answer?.headers["access-control-allow-methods"], answer?.headers["access-control-max-age"], answer?.seen], [200, "https://shop.example", "PUT", "3600", undefined]);
    });
    const [elsewhere] = await ask(preflight("https://evil.example"));
    assert.deepEqual([elsewhere?.seen?.method, elsewhere?.headers["access-control-allow-origin"]], ["OPTIONS", undefined]);
    const [plain] = await ask({ headers: { Origin: "https://shop.example" }, count: 1 });
    assert.equal(plain?.headers["access-control-allow-origin"], "https://shop.example");
  }));

  it("L7 policies: methods, paths, headers; the condition names who enforces", () => bed.with([
    policy("readers", { action: "ALLOW", rules: [{ to: [{ operation: { methods: ["GET"], paths: ["/public/*"] } }], from: [{ source: { principals: [`cluster.local/ns/${NS}/sa/productpage`] } }] }] }),
    policy("no-bots", { action: "DENY", rules: [{ when: [{ key: "request.headers[user-agent]", values: ["bot*"] }] }] }),
  ], async () => {
    await answered(200, { url: `${URL_}public/a` });
    await answered(403, { url: `${URL_}private/a` });
    await answered(403, { url: `${URL_}public/a`, method: "DELETE" });
    await answered(403, { url: `${URL_}public/a`, headers: { "user-agent": "bot/1" } });
    const [denied] = await ask({ url: `${URL_}public/%2e%2e/private`, count: 1 });
    assert.equal(denied?.status, 403, "an encoded way round is the way itself");
    const found = await bed.lab.client.get(KINDS.authorizationPolicies, NS, "readers");
    const condition = ((found["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? []).find((c) => c.type === "WaypointAccepted");
    assert.deepEqual([condition?.status, condition?.message?.includes(`${NS}/waypoint`)], ["True", true]);
  }));

  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "RS256", use: "sig" }] });
  const token = (claims: object): string => {
    const text = [{ alg: "RS256", kid: "k1" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${text}.${sign("sha256", Buffer.from(text), privateKey).toString("base64url")}`;
  };
  const bearer = (claims: object) => ({ Authorization: `Bearer ${token({ iss: "https://issuer.example", exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}` });
  const authenticationBy = (keys: object): object => ({ apiVersion: "security.istio.io/v1", kind: "RequestAuthentication", metadata: { name: "jwt", namespace: NS }, spec: { targetRefs: [{ group: "", kind: "Service", name: "reviews" }], jwtRules: [{ issuer: "https://issuer.example", ...keys }] } });

  it("tokens: none passes without a policy, a bad one is 401, a policy asks for the right one", () => {
    const authentication = authenticationBy({ jwks });
    const require_ = policy("needs-token", { action: "ALLOW", rules: [{ from: [{ source: { requestPrincipals: ["https://issuer.example/ann"] } }], when: [{ key: "request.auth.claims[groups]", values: ["staff"] }] }] });
    return bed.with([authentication], async () => {
      await answered(401, { headers: { Authorization: "Bearer nonsense" } });
      await answered(200);
      await bed.with([require_], async () => {
        await answered(403);
        await answered(200, { headers: bearer({ sub: "ann", groups: ["staff", "x"] }) });
        await answered(403, { headers: bearer({ sub: "ann", groups: ["x"] }) });
        await answered(403, { headers: bearer({ sub: "bob", groups: ["staff"] }) });
        await answered(401, { headers: bearer({ sub: "ann", exp: 1 }) });
      });
    });
  });

  it("tokens are good while their issuer is away and the control plane starts anew", () => bed.with([
    { apiVersion: "v1", kind: "Service", metadata: { name: "issuer", namespace: NS, labels: { "istio.io/use-waypoint": "none" } }, spec: { selector: { app: "issuer" }, ports: [{ name: "http", port: 8000 }] } },
    { apiVersion: "v1", kind: "Pod", metadata: { name: "issuer", namespace: NS, labels: { app: "issuer" } }, spec: { serviceAccountName: "reviews-v1", terminationGracePeriodSeconds: 0, containers: [{
      name: "issuer", image: "ambit/sample:lab", command: [bed.lab.nodePath, "-e", `require("http").createServer((_, res) => res.end(${JSON.stringify(jwks)})).listen(8000)`] }] } },
  ], () => bed.with([authenticationBy({ jwksUri: `http://issuer.${NS}.svc.cluster.local:8000/keys` })], async () => {
    const good = { headers: bearer({ sub: "ann" }) };
    await answered(200, good);
    await answered(401, { headers: { Authorization: "Bearer nonsense" } });
    await bed.eventually(async () => assert.match(await bed.lab.kubectl("-n", "istio-system", "get", "configmap", "ambit-jwks", "-o", "yaml"), /issuer\.book\.svc/));
    await bed.lab.kubectl("-n", NS, "delete", "pod", "issuer");
    await bed.lab.kubectl("-n", "istio-system", "rollout", "restart", "deployment/istiod");
    await bed.lab.kubectl("-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=60s");
    // The waypoint follows the new one: it enforces what only that one has told.
    await bed.with([policy("no-delete", { action: "DENY", rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }] })], async () => {
      await answered(403, { method: "DELETE" });
      for (let i = 0; i < 3; i++) assert.deepEqual(statuses(await ask(good)), [200]);
      await answered(401, { headers: { Authorization: "Bearer nonsense" } });
    });
  })));

  it("access lines only of what an expression says, and a tag of metrics read off each request", () => bed.with([
    { apiVersion: "telemetry.istio.io/v1", kind: "Telemetry", metadata: { name: "failures", namespace: NS }, spec: {
      targetRefs: [{ group: "", kind: "Service", name: "reviews" }], accessLogging: [{ filter: { expression: "response.code >= 400 && request.headers['x-marker'].startsWith('m-')" } }],
      metrics: [{ overrides: [{ match: { metric: "REQUEST_COUNT" }, tagOverrides: { asked: { value: "request.method + ' ' + request.url_path" } } }] }],
    } },
    virtualService([{ match: [{ uri: { prefix: "/gone" } }], directResponse: { status: 410, body: { string: "" } } }, { route: [to("v1")] }]),
  ], async () => {
    const marker = `m-${randomUUID()}`;
    await bed.eventually(async () => {
      for (const path of ["fine", "gone"]) await ask({ url: `${URL_}${path}`, headers: { "x-marker": marker } });
      const lines = (await bed.lab.kubectl("-n", NS, "logs", "deployment/waypoint", "--tail=200")).split("\n");
      assert.ok(lines.some((l) => /"GET \/gone HTTP\/1\.1" 410/.test(l)), "a line of what failed");
    });
    // From here on the expression holds.
    const other = randomUUID();
    await ask({ url: `${URL_}fine?${other}`, headers: { "x-marker": marker } });
    await ask({ url: `${URL_}gone?${other}` });
    await ask({ url: `${URL_}gone?last-${other}`, headers: { "x-marker": marker } });
    await bed.eventually(async () => {
      const lines = (await bed.lab.kubectl("-n", NS, "logs", "deployment/waypoint", "--tail=400")).split("\n").filter((l) => l.includes(other));
      assert.deepEqual(lines.map((l) => l.includes(`/gone?last-${other} `)), [true, true, true]);
    });
    const [waypoint] = (await bed.lab.client.list(KINDS.pods, NS, { labelSelector: "gateway.networking.k8s.io/gateway-name=waypoint" })).items;
    const ip = (waypoint?.["status"] as { podIP?: string } | undefined)?.podIP ?? "";
    const metrics = await bed.lab.kubectl("-n", NS, "exec", CLIENT.pod, "--", bed.lab.nodePath, "-e", `fetch("http://${ip}:15020/stats/prometheus").then(r=>r.text()).then(t=>process.stdout.write(t))`);
    assert.match(metrics, /istio_requests_total\{[^}]*asked="GET \/gone"/);
  }));

  const greeting = (pod = CLIENT.pod): Promise<string> => bed.lab.kubectl("-n", NS, "exec", pod, "--", bed.lab.nodePath, "-e",
    "const s=require('net').connect(9090,'reviews');s.setTimeout(4000,()=>s.destroy());s.once('data',d=>{process.stdout.write(String(d));s.destroy()});s.on('error',e=>process.stdout.write(e.code));s.on('close',()=>process.stdout.write('.'))");

  it("a connection whose server speaks first passes as TCP, and the L4 part of a policy holds for it", async () => {
    await bed.eventually(async () => assert.match(await greeting(), /hello from reviews-v\d/));
    await bed.with([policy("no-tcp", { action: "DENY", rules: [{ to: [{ operation: { ports: ["9090"] } }] }] })], () => bed.eventually(async () => assert.doesNotMatch(await greeting(), /hello/)));
  });

  it("CUSTOM asks providers over HTTP and gRPC, also about connections; one that is away denies", async () => {
    const provider = (name: string, kind: string, port: number, more: object = {}): object => ({ name, [kind]: { service: `authz.${NS}.svc.cluster.local`, port, timeout: "2s", ...more } });
    const providers = [
      provider("by-http", "envoyExtAuthzHttp", 8000, { pathPrefix: "/check", includeRequestHeadersInCheck: ["x-ext-authz"], headersToUpstreamOnAllow: ["x-ext-authz-result"], headersToDownstreamOnDeny: ["x-asked-*"] }),
      provider("by-grpc", "envoyExtAuthzGrpc", 9000), provider("away", "envoyExtAuthzGrpc", 9001),
    ];
    const custom = (name: string, to_: object): object => policy(`custom-${name}`, { action: "CUSTOM", provider: { name }, rules: [{ to: [{ operation: to_ }] }] });
    const allow = { "x-ext-authz": "allow", cookie: "secret=1" };
    const mesh = await bed.lab.client.get<KubeObject & { data: Record<string, string> }>(KINDS.configMaps, "istio-system", "istio");
    const configure = (text: string): Promise<string> => bed.lab.kubectl("-n", "istio-system", "patch", "configmap", "istio", "--type", "merge", "-p", JSON.stringify({ data: { mesh: text } }));
    await configure(`${mesh.data["mesh"] ?? ""}\nextensionProviders: ${JSON.stringify(providers)}\n`);
    try {
      await bed.with([
        { apiVersion: "v1", kind: "Service", metadata: { name: "authz", namespace: NS, labels: { "istio.io/use-waypoint": "none" } }, spec: { selector: { app: "authz" }, ports: [{ name: "http", port: 8000 }, { name: "grpc", port: 9000 }, { name: "grpc-away", port: 9001 }] } },
        { apiVersion: "v1", kind: "Pod", metadata: { name: "authz", namespace: NS, labels: { app: "authz" } }, spec: { serviceAccountName: "reviews-v1", terminationGracePeriodSeconds: 0, containers: [{ name: "authz", image: "ambit/sample:lab", command: bed.lab.program("authorizer") }] } },
      ], () => bed.with([custom("by-http", { paths: ["/http*"] }), custom("by-grpc", { paths: ["/grpc*"] }), custom("away", { paths: ["/away*"] })], async () => {
        await answered(200, { url: `${URL_}open` });
        await answered(418, { url: `${URL_}http/x` });
        const [denied] = await ask({ url: `${URL_}http/x?y=1`, headers: { cookie: "secret=1" }, count: 1 });
        assert.deepEqual([denied?.body, denied?.headers["x-asked-path"], denied?.headers["x-asked-cookie"], denied?.headers["x-ext-authz-result"]], ["denied over HTTP", "/check/http/x?y=1", "none", undefined]);
        const [passed] = await ask({ url: `${URL_}http/x`, headers: { ...allow, "x-ext-authz-result": "forged" }, count: 1 });
        assert.deepEqual([passed?.status, passed?.seen?.headers["x-ext-authz-result"]], [200, "allowed"]);

        await answered(403, { url: `${URL_}grpc/x` });
        const [checked] = await ask({ url: `${URL_}grpc/x`, headers: allow, count: 1 });
        assert.deepEqual([checked?.status, checked?.seen?.headers["x-principal"], checked?.headers["x-checked"]], [200, `spiffe://cluster.local/ns/${NS}/sa/productpage`, "grpc"]);
        await answered(403, { url: `${URL_}away/x`, headers: allow });
      }).then(() => bed.with([custom("by-grpc", { ports: ["9090"] })], async () => {
        await bed.eventually(async () => assert.doesNotMatch(await greeting(podOf("reviews-v1")), /hello/));
        await bed.eventually(async () => assert.match(await greeting(), /hello from reviews-v\d/));
      })));
    } finally {
      await configure(mesh.data["mesh"] ?? "");
    }
  });

  it("a waypoint that is taken away refuses, and one that comes back serves", async () => {
    const { kind: _kind, ...gateway } = await bed.lab.client.get<KubeObject>(KINDS.gateways, NS, "waypoint");
    await bed.lab.kubectl("-n", NS, "delete", "gateway", "waypoint");
    await bed.eventually(async () => assert.ok((await ask()).every((a) => a.error !== undefined), "nothing passes it by"));
    await bed.lab.apply(JSON.stringify({ apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: { name: "waypoint", namespace: NS }, spec: gateway["spec"] }));
    const status = await bed.ambit("waypoint", "status", "-n", NS);
    assert.equal(status.code, 0, status.out + status.err);
    await answered(200);
  });

  it("scale 1 to 3 to 1 and a rolling restart under load: no request fails", async () => {
    const load = bed.ask(`${URL_}?delay=20`, { from: CLIENT, count: 3_000 });
    for (const step of [["scale", "deployment/waypoint", "--replicas=3"], ["rollout", "status", "deployment/waypoint", "--timeout=60s"], ["rollout", "restart", "deployment/waypoint"], ["rollout", "status", "deployment/waypoint", "--timeout=90s"], ["scale", "deployment/waypoint", "--replicas=1"], ["rollout", "status", "deployment/waypoint", "--timeout=60s"]])
      await bed.lab.kubectl("-n", NS, ...step);
    const failed = (await load).filter((a) => a.status !== 200);
    assert.deepEqual(failed.slice(0, 5), []);
  });
});
