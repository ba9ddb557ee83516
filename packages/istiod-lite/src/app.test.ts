import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { isNotFound, KINDS, type ConfigMap, type KubeObject, type Secret } from "@ambit/kube";
import { fakeCa } from "@ambit/testkit";
import { WEBHOOKS } from "./admission/webhook-writer.ts";
import type { App } from "./app.ts";
import { askDebug, Cluster, eventually, Proxy } from "./app.fixture.ts";

const WEB = "Kubernetes//Pod/app/web-1";
const SERVICE = "app/web.app.svc.cluster.local";

/** Endpoints may not be on loopback. */
const ownAddress = (): string => Object.values(networkInterfaces()).flatMap((i) => i ?? []).find((i) => i.family === "IPv4" && !i.internal)?.address ?? "127.0.0.1";

describe("the control plane on an API server", function () {
  this.timeout(60_000);
  const cluster = new Cluster();
  const apps: App[] = [];
  const proxies: Proxy[] = [];
  let token = "";

  const istiod = async (env?: Record<string, string>): Promise<App> => {
    const app = await cluster.istiod(env);
    apps.push(app);
    await app.readiness.whenReady();
    return app;
  };
  const proxy = async (app: App, name?: string): Promise<Proxy> => {
    const p = new Proxy(app, token, name);
    proxies.push(p);
    await p.client.whenReady();
    return p;
  };
  before(async () => {
    await cluster.start();
    await cluster.mesh();
    await cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: app}\n");
    const ztunnel = await cluster.runPod({ name: "ztunnel-1", namespace: "istio-system", node: "node-1", ip: "10.244.1.2", serviceAccount: "ztunnel", labels: { app: "ztunnel" } });
    token = await cluster.token("istio-system", "ztunnel", "istio-ca", ztunnel);
  });
  afterEach(async () => {
    for (const p of proxies.splice(0)) p.close();
    await Promise.all(apps.splice(0).map((a) => a.drain()));
  });
  after(() => cluster.remove());

  it("serves two proxies the same state, then only what changes", async () => {
    await cluster.runPod({ name: "web-1", namespace: "app", node: "node-1", ip: "10.244.1.5", serviceAccount: "web", labels: { app: "web" }, enrolled: true });
    await cluster.apply("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: app}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n");
    const app = await istiod();
    const [a, b] = [await proxy(app, "ztunnel-1"), await proxy(app, "ztunnel-2")];
    assert.equal(a.workload(WEB)?.tunnelProtocol, 1);
    assert.deepEqual([...a.addresses.keys()].sort(), [...b.addresses.keys()].sort());
    assert.ok(a.addresses.has(SERVICE));
    a.log.length = 0;
    b.log.length = 0;
    await cluster.runPod({ name: "web-2", namespace: "app", node: "node-2", ip: "10.244.2.5", serviceAccount: "web", labels: { app: "web" } });
    const second = "Kubernetes//Pod/app/web-2";
    await eventually("both hear of the second pod", () => a.workload(second) !== undefined && b.workload(second)?.status === 0);
    await cluster.admin.delete(KINDS.pods, "app", "web-2", { gracePeriodSeconds: 0 });
    await eventually("both hear that it is gone", () => !a.addresses.has(second) && !b.addresses.has(second));
    assert.deepEqual(new Set(a.log.map((l) => l.slice(1))), new Set([second]));
  });

  it("sends a policy before the workload that lists it, once its definition exists", async () => {
    const app = await istiod();
    const p = await proxy(app);
    assert.equal(p.policies.size, 0);
    await cluster.crd("istio/security.istio.io-authorizationpolicies.yaml");
    await cluster.crd("istio/security.istio.io-peerauthentications.yaml");
    p.log.length = 0;
    await cluster.apply(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-x, namespace: app}
spec: {action: DENY, selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/app/sa/x]}}]}]}
`);
    await eventually("the workload lists the policy", () => p.workload(WEB)?.authorizationPolicies.includes("app/deny-x") === true);
    assert.ok(p.log.indexOf("+app/deny-x") < p.log.indexOf(`+${WEB}`), p.log.join(" "));
    await cluster.apply("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: app}\nspec: {mtls: {mode: STRICT}}\n");
    await eventually("plaintext is refused", () => p.workload(WEB)?.authorizationPolicies.includes("istio-system/istio_converted_static_strict") === true);
    assert.ok(p.policies.has("istio-system/istio_converted_static_strict"));
  });

  it("writes conditions, follows the generation, and mends what others take away", async () => {
    await istiod();
    const policy = KINDS.authorizationPolicies;
    const condition = async () => {
      const o = await cluster.admin.get<KubeObject & { status?: { conditions?: { type: string; status: string; reason: string; message: string; observedGeneration: number }[] } }>(policy, "app", "deny-x");
      return { generation: o.metadata.generation, found: o.status?.conditions?.find((c) => c.type === "ZtunnelAccepted") };
    };
    await eventually("the policy is accepted", async () => (await condition()).found?.status === "True");
    await cluster.admin.patch(policy, "app", "deny-x", { spec: { rules: [{ from: [{ source: { ipBlocks: ["10.0.0.0/33"] } }] }] } });
    await eventually("the refusal is written", async () => (await condition()).found?.reason === "Invalid");
    const { generation, found } = await condition();
    assert.equal(found?.observedGeneration, generation);
    assert.match(found?.message ?? "", /spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[0\]/);
    await cluster.admin.patch(policy, "app", "deny-x", { status: null }, { subresource: "status" });
    await eventually("it is written again", async () => (await condition()).found?.reason === "Invalid");
  });

  it("writes a binding's condition on a Service and takes it away again", async () => {
    await istiod();
    const bound = async () => {
      const o = await cluster.admin.get<KubeObject & { status?: { conditions?: { type: string; reason: string }[] } }>(KINDS.services, "app", "web");
      return o.status?.conditions?.map((c) => `${c.type} ${c.reason}`) ?? [];
    };
    await cluster.admin.patch(KINDS.services, "app", "web", { metadata: { labels: { "istio.io/use-waypoint": "gone" } } });
    await eventually("it says that the waypoint is missing", async () => (await bound()).join() === "istio.io/WaypointBound WaypointIsNotReady");
    await cluster.admin.patch(KINDS.services, "app", "web", { metadata: { labels: { "istio.io/use-waypoint": null } } });
    await eventually("it says nothing any more", async () => (await bound()).length === 0);
  });

  it("denies everything that a refused policy selects", async () => {
    const p = await proxy(await istiod());
    assert.deepEqual(p.policies.get("app/deny-x")?.rules.map((r) => r.clauses.length), [0]);
    assert.equal(p.policies.get("app/deny-x")?.action, 1);
  });

  it("keeps the trust anchor in every namespace, also new and tampered ones", async () => {
    const app = await istiod();
    const anchor = async (namespace: string) => {
      try {
        return (await cluster.admin.get<ConfigMap>(KINDS.configMaps, namespace, "istio-ca-root-cert")).data?.["root-cert.pem"];
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    };
    await eventually("the old namespace has it", async () => (await anchor("app")) === app.rootsPem);
    await cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: later}\n");
    await eventually("the new namespace has it", async () => (await anchor("later")) === app.rootsPem);
    await cluster.admin.patch(KINDS.configMaps, "later", "istio-ca-root-cert", { data: { "root-cert.pem": "other" } });
    await eventually("it is mended", async () => (await anchor("later")) === app.rootsPem);
    await cluster.admin.delete(KINDS.configMaps, "app", "istio-ca-root-cert");
    await eventually("it is made again", async () => (await anchor("app")) === app.rootsPem);
  });

  it("has one root for two replicas that start together, and one leader", async () => {
    await cluster.admin.delete(KINDS.secrets, "istio-system", "istio-ca-secret");
    const [one, two] = await Promise.all([istiod({ POD_NAME: "one" }), istiod({ POD_NAME: "two" })]);
    assert.equal(one.rootsPem, two.rootsPem);
    const secret = await cluster.admin.get<Secret>(KINDS.secrets, "istio-system", "istio-ca-secret");
    assert.equal(secret.type, "istio.io/ca-root");
    assert.deepEqual(Object.keys(secret.data ?? {}).sort(), ["ca-cert.pem", "ca-key.pem"]);
    await eventually("a replica leads", async () => {
      const lease = await cluster.admin.get<KubeObject & { spec: { holderIdentity: string } }>(KINDS.leases, "istio-system", "istio-status-leader");
      return /^(one|two)_/.test(lease.spec.holderIdentity);
    });
  });

  it("takes a plugged-in authority, and refuses one that cannot sign", async () => {
    const ca = fakeCa("plugged in");
    // What was trusted before stays while it may be in use: this authority is to be the first.
    await cluster.admin.delete(KINDS.secrets, "istio-system", "ambit-ca-roots").catch(() => undefined);
    const secret = (data: Record<string, string>) => ({ apiVersion: "v1", kind: "Secret", metadata: { name: "cacerts", namespace: "istio-system" }, data: Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString("base64")])) });
    await cluster.admin.create(KINDS.secrets, "istio-system", secret({ "ca-cert.pem": ca.rootPem, "ca-key.pem": fakeCa().rootKeyPem, "root-cert.pem": ca.rootPem, "cert-chain.pem": ca.rootPem }));
    await assert.rejects(cluster.istiod(), /Secret istio-system\/cacerts is not a usable authority: ca-key\.pem: does not belong/);
    await cluster.admin.patch(KINDS.secrets, "istio-system", "cacerts", { data: { "ca-key.pem": Buffer.from(ca.rootKeyPem).toString("base64") } });
    const app = await istiod();
    assert.equal(app.rootsPem.trim(), ca.rootPem.trim());
    await proxy(app);
    await cluster.admin.delete(KINDS.secrets, "istio-system", "cacerts");
  });

  it("follows an authority that is plugged in while it runs: both roots are told, the old one signs until everybody knows the new, the list of revoked is told", async () => {
    await cluster.admin.delete(KINDS.secrets, "istio-system", "ambit-ca-roots").catch(() => undefined);
    const app = await istiod();
    const before = app.rootsPem;
    const p = await proxy(app);
    const ca = fakeCa("plugged in later");
    const crl = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    const data = { "ca-cert.pem": ca.rootPem, "ca-key.pem": ca.rootKeyPem, "root-cert.pem": ca.rootPem, "ca-crl.pem": crl };
    // A certificate is out: its holder does not know the new root.
    await app.authority.current().issue({ publicKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" }), uri: "spiffe://cluster.local/ns/a/sa/b", notBefore: Date.now(), notAfter: Date.now() + 3_600_000 });
    await cluster.admin.create(KINDS.secrets, "istio-system", { apiVersion: "v1", kind: "Secret", metadata: { name: "cacerts", namespace: "istio-system" }, data: Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString("base64")])) });
    await app.authority.refresh();
    const { current, status } = app.authority;
    assert.equal(app.rootsPem.trim(), `${ca.rootPem.trim()}\n${before.trim()}`);
    assert.equal(current.call(app.authority).roots.size, 2);
    assert.notEqual(current.call(app.authority).anchor, new X509Certificate(ca.rootPem).fingerprint256);
    assert.match(status.call(app.authority).waiting.join(), /does not sign yet/);
    const written = async (name: string, key: string) => (await cluster.admin.get<ConfigMap>(KINDS.configMaps, "app", name).catch(() => undefined))?.data?.[key];
    await eventually("the roots are in the ConfigMap", async () => (await written("istio-ca-root-cert", "root-cert.pem")) === app.rootsPem);
    await eventually("the list of revoked is, too", async () => (await written("istio-ca-crl", "ca-crl.pem")) === crl);
    assert.equal(p.client.connected, true);
    // Another replica that starts now knows only what is stored: it keeps both roots, too.
    const other = await istiod({ POD_NAME: "other" });
    assert.equal(other.authority.current().roots.size, 2);
    await cluster.admin.delete(KINDS.secrets, "istio-system", "cacerts");
    await cluster.admin.delete(KINDS.secrets, "istio-system", "ambit-ca-roots").catch(() => undefined);
  });

  it("rolls its own root when asked by an annotation, with the old key kept in the Secret", async () => {
    const one = await istiod();
    const first = one.authority.current().anchor;
    await one.authority.current().issue({ publicKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" }), uri: "spiffe://cluster.local/ns/a/sa/b", notBefore: Date.now(), notAfter: Date.now() + 3_600_000 });
    await cluster.admin.patch(KINDS.secrets, "istio-system", "istio-ca-secret", { metadata: { annotations: { "ambit.istio.io/roll-root": "now" } } });
    await apps.shift()?.drain();
    const app = await istiod();
    const secret = () => cluster.admin.get<Secret>(KINDS.secrets, "istio-system", "istio-ca-secret");
    await eventually("the Secret has a new root and the previous one", async () => Object.keys((await secret()).data ?? {}).includes("previous-ca-key.pem"));
    assert.equal((await secret()).metadata.annotations?.["ambit.istio.io/roll-root"], undefined);
    await app.authority.refresh();
    assert.deepEqual([app.authority.current().roots.size, app.authority.current().anchor], [2, first]);
    const anew = await istiod({ POD_NAME: "anew" });
    assert.deepEqual([anew.authority.current().roots.size, anew.authority.current().anchor], [2, first]);
    await cluster.admin.delete(KINDS.secrets, "istio-system", "istio-ca-secret");
    await cluster.admin.delete(KINDS.secrets, "istio-system", "ambit-ca-roots").catch(() => undefined);
  });

  it("follows a definition to another version without letting go of its policies", async () => {
    const p = await proxy(await istiod());
    const definition = "authorizationpolicies.security.istio.io";
    p.log.length = 0;
    const served = async (v1: boolean) => {
      const o = await cluster.admin.get<KubeObject & { spec: { versions: { name: string; served: boolean }[] } }>(KINDS.customResourceDefinitions, undefined, definition);
      await cluster.admin.replace(KINDS.customResourceDefinitions, { ...o, spec: { ...o.spec, versions: o.spec.versions.map((v) => (v.name === "v1" ? { ...v, served: v1 } : v)) } });
    };
    await served(false);
    await cluster.admin.create({ ...KINDS.authorizationPolicies, version: "v1beta1" }, "app", { apiVersion: "security.istio.io/v1beta1", kind: "AuthorizationPolicy", metadata: { name: "later", namespace: "app" }, spec: {} });
    await eventually("the new policy arrives by the other version", () => p.policies.has("app/later"));
    assert.ok(p.policies.has("app/deny-x"));
    assert.deepEqual(p.log.filter((l) => l.startsWith("-")), []);
    await served(true);
    await cluster.admin.delete(KINDS.authorizationPolicies, "app", "later");
    await eventually("and is gone", () => !p.policies.has("app/later"));
  });

  it("allocates addresses to entries without any, and serves them", async () => {
    await cluster.crd("istio/networking.istio.io-serviceentries.yaml");
    const p = await proxy(await istiod());
    const entry = (name: string, extra = "") => cluster.apply(`apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ${name}, namespace: app}\nspec: {hosts: [${name}.example.com], ports: [{number: 80, name: http}], resolution: DNS${extra}}\n`);
    await entry("auto");
    const vips = () => { const t = p.addresses.get("app/auto.example.com")?.type; return t?.case === "service" ? t.value.addresses.length : 0; };
    await eventually("the service has a VIP of each family", () => vips() === 2);
    await entry("auto", ", addresses: [198.51.100.7]");
    await eventually("a chosen address takes their place", () => vips() === 1);
    await eventually("the status is cleared", async () => {
      const o = await cluster.admin.get<KubeObject & { status?: { addresses?: unknown[] } }>(KINDS.serviceEntries, "app", "auto");
      return o.status?.addresses?.length === 0;
    });
  });

  it("follows mesh-wide settings while it runs, and keeps the last good ones", async () => {
    const p = await proxy(await istiod());
    const config = (mesh: string) => cluster.apply(JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "istio", namespace: "istio-system" }, data: { mesh } }));
    await config("trustDomain: example.org\ntrustDomainAliases: [cluster.local]\n");
    await eventually("workloads have the new trust domain", () => p.workload(WEB)?.trustDomain === "example.org");
    cluster.warnings.length = 0;
    await config("trustDomain: other.org\nnoSuchSetting: 1\n");
    await eventually("the refusal is logged", () => cluster.warnings.some((w) => w.includes("data.mesh.noSuchSetting")));
    assert.equal(p.workload(WEB)?.trustDomain, "example.org");
    await cluster.admin.delete(KINDS.configMaps, "istio-system", "istio");
    await eventually("it is as the environment says again", () => p.workload(WEB)?.trustDomain === "");
  });

  it("answers istioctl's question over xDS, and over HTTP with a token only", async () => {
    const app = await istiod();
    const p = await proxy(app);
    await eventually("what was sent is acknowledged", async () => {
      const answer = await fetch(`http://127.0.0.1:${app.monitoringPort}/debug/syncz`, { headers: { authorization: `Bearer ${token}` } });
      const [status] = (await answer.json()) as { proxy: string; resources: Record<string, { sent: string; acked: string }> }[];
      return status?.proxy.includes("ztunnel-1.istio-system") === true && Object.values(status.resources).length === 2 && Object.values(status.resources).every((r) => r.sent !== "" && r.sent === r.acked);
    });
    await eventually("its proxy has applied the policy", async () => {
      const answer = await fetch(`http://127.0.0.1:${app.monitoringPort}/debug/appliedz`, { headers: { authorization: `Bearer ${token}` } });
      const found = ((await answer.json()) as { policy: string; applied: number; connected: number }[]).find((a) => a.policy === "app/deny-x");
      return found?.connected === 1 && found.applied === 1;
    });
    assert.equal((await fetch(`http://127.0.0.1:${app.monitoringPort}/debug/syncz`)).status, 401);
    const ask = (authorization: string) => askDebug(app, authorization, { typeUrl: "istio.io/debug/syncz", resources: [] });
    const answer = await ask(`Bearer ${token}`);
    assert.ok(answer.includes("type.googleapis.com/envoy.service.status.v3.ClientConfig") && answer.includes("ztunnel-1.istio-system"));
    await assert.rejects(ask("Bearer nonsense"), /UNAUTHENTICATED/);
    p.close();
  });

  it("makes the classes of its gateways, and leaves alone what others made", async () => {
    await cluster.crd("gateway-api/gateway.networking.k8s.io-gatewayclasses.yaml");
    await cluster.apply("apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: other}\nspec: {controllerName: example.com/other}\n");
    await istiod();
    type Class = KubeObject & { spec: { controllerName: string }; status?: { conditions?: { type: string; status: string; reason: string }[]; supportedFeatures?: { name: string }[] } };
    const get = async (name: string): Promise<Class | undefined> => (await cluster.admin.list<Class>(KINDS.gatewayClasses)).items.find((c) => c.metadata.name === name);
    await eventually("the class is there and accepted", async () => (await get("istio-waypoint"))?.status?.conditions?.some((c) => c.type === "Accepted" && c.status === "True") === true);
    const made = await get("istio-waypoint");
    assert.equal(made?.spec.controllerName, "istio.io/mesh-controller");
    assert.ok(made?.status?.supportedFeatures?.some((f) => f.name === "HTTPRoute"));
    assert.notEqual((await get("other"))?.status?.conditions?.[0]?.status, "True");
    await cluster.admin.delete(KINDS.gatewayClasses, undefined, "ambit-waypoint");
    await eventually("it is made again", async () => (await get("ambit-waypoint"))?.status?.conditions?.some((c) => c.status === "True") === true);
  });

  it("runs the waypoints of its revision, and leaves those of others to others", async () => {
    await cluster.crd("gateway-api/gateway.networking.k8s.io-gateways.yaml");
    const gateway = (name: string, labels: string) => cluster.apply(`apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: ${name}, namespace: app, labels: {${labels}}}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n`);
    await gateway("theirs", "istio.io/rev: green");
    await gateway("everybodys", "");
    await istiod();
    const deployments = async () => (await cluster.admin.list(KINDS.deployments, "app")).items.map((d) => d.metadata.name);
    await eventually("its own is run", async () => (await deployments()).includes("everybodys"));
    assert.deepEqual(await deployments(), ["everybodys"]);
    const leases = (await cluster.admin.list(KINDS.leases, "istio-system")).items.map((l) => l.metadata.name);
    assert.ok(leases.includes("istio-status-leader"));
  });

  it("serves its last state while the API server is away, and follows again when it is back", async () => {
    const app = await istiod();
    const p = await proxy(app);
    await cluster.stop();
    assert.equal(app.readiness.ready, true);
    assert.ok(p.workload(WEB));
    await cluster.start();
    await cluster.runPod({ name: "after", namespace: "app", node: "node-1", ip: "10.244.1.9", serviceAccount: "web" });
    await eventually("the change arrives", () => p.workload("Kubernetes//Pod/app/after") !== undefined);
    assert.equal(p.client.connected, true);
  });

  it("admission: open until it is proven, then closed, also when nobody answers", async () => {
    await cluster.crd("istio/networking.istio.io-workloadentries.yaml");
    const app = await istiod({ LISTEN_ADDRESS: "0.0.0.0" });
    const name = "istio-validator-istio-system";
    const policyNow = async () => {
      const o = await cluster.admin.get<KubeObject & { webhooks: { failurePolicy: string; clientConfig: { caBundle?: string } }[] }>(WEBHOOKS, undefined, name);
      return { failure: o.webhooks[0]?.failurePolicy, roots: Buffer.from(o.webhooks[0]?.clientConfig.caBundle ?? "", "base64").toString() };
    };
    await eventually("our roots are in it", async () => (await policyNow()).roots === app.rootsPem);
    assert.equal((await policyNow()).failure, "Ignore", "nobody can be asked yet");
    const entry = (address: string) => cluster.apply(`apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, namespace: app}\nspec: {address: "${address}"}\n`);
    await entry("*bad*");
    // The Service's endpoint, as its controller would write it.
    await cluster.admin.create(KINDS.endpointSlices, "istio-system", {
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { name: "istiod-1", namespace: "istio-system", labels: { "kubernetes.io/service-name": "istiod" } },
      addressType: "IPv4", endpoints: [{ addresses: [ownAddress()], conditions: { ready: true } }], ports: [{ name: "https-webhook", port: app.httpsPort, protocol: "TCP" }],
    });
    await eventually("it fails closed", async () => (await policyNow()).failure === "Fail");
    await assert.rejects(entry("*other*"), /denied the request: WorkloadEntry app\/vm is not understood: spec\.address/);
    await entry("192.0.2.1");
    await app.drain();
    await assert.rejects(entry("192.0.2.2"), /failed calling webhook/);
    await cluster.admin.delete(WEBHOOKS, undefined, name);
    await cluster.admin.delete(KINDS.endpointSlices, "istio-system", "istiod-1");
  });

  it("refuses proxies without a good token", async () => {
    const app = await istiod();
    const wrongAudience = await cluster.token("istio-system", "ztunnel", undefined);
    cluster.warnings.length = 0;
    for (const bad of ["", "nonsense", wrongAudience]) {
      const p = new Proxy(app, bad);
      proxies.push(p);
      await eventually("the stream is refused", () => cluster.warnings.some((w) => w.includes("stream not authenticated")));
      cluster.warnings.length = 0;
      p.close();
      assert.equal(p.addresses.size, 0);
    }
  });

  it("says in its readiness what it waits for", async () => {
    const app = await cluster.istiod();
    apps.push(app);
    const before = await fetch(`http://127.0.0.1:${app.httpPort}/ready`);
    await app.readiness.whenReady();
    const after = await fetch(`http://127.0.0.1:${app.httpPort}/ready`);
    assert.deepEqual([before.status, after.status], [500, 200]);
    assert.match(await before.text(), /sources synced/);
    const metrics = await fetch(`http://127.0.0.1:${app.monitoringPort}/metrics`);
    assert.equal(metrics.status, 200);
    assert.match(await metrics.text(), /^process_open_fds [1-9]\d*$/m);
    assert.equal((await fetch(`http://127.0.0.1:${app.monitoringPort}/config_dump`)).status, 404);
    assert.equal((await fetch(`http://127.0.0.1:${app.debugPort}/config_dump`)).status, 200);
  });
});
