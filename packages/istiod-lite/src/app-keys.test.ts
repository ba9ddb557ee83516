// Keys of issuers over the control plane's own restarts, with the API server of the lab and an issuer that goes away.
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { networkInterfaces } from "node:os";
import type { AddressInfo } from "node:net";
import { KINDS, type ConfigMap } from "@ambit/kube";
import type { App } from "./app.ts";
import { Cluster, eventually } from "./app.fixture.ts";

const KEYS = JSON.stringify({ keys: [{ kty: "EC", crv: "P-256", kid: "k1", x: "AA", y: "AA" }] });
/** Keys are not fetched from loopback. */
const address = Object.values(networkInterfaces()).flatMap((i) => i ?? []).find((i) => i.family === "IPv4" && !i.internal)?.address;

describe("keys of issuers over restarts of the control plane", function () {
  this.timeout(60_000);
  const cluster = new Cluster();
  const apps: App[] = [];
  let issuer: Server | undefined;
  let asked = 0;

  const istiod = async (name: string): Promise<App> => {
    // Where there is no other address, loopback is allowed for once.
    const app = await cluster.istiod({ POD_NAME: name, AMBIT_JWKS_ALLOWED_CIDRS: address === undefined ? "127.0.0.0/8" : "" });
    apps.push(app);
    await app.readiness.whenReady();
    return app;
  };
  const keysOf = (app: App): string | undefined => app.mesh.waypointConfigs.get("app/waypoint")?.config.authentications[0]?.rules[0]?.jwks;
  const record = async (): Promise<ConfigMap | undefined> => cluster.admin.get<ConfigMap>(KINDS.configMaps, "istio-system", "ambit-jwks").catch(() => undefined);
  const written = async (): Promise<Record<string, unknown>[]> => JSON.parse((await record())?.data?.["keys.json"] ?? "[]") as Record<string, unknown>[];
  const end = async (app: App): Promise<void> => { apps.splice(apps.indexOf(app), 1); await app.drain(); };
  const issuerEnds = async (): Promise<void> => {
    const server = issuer;
    issuer = undefined;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  };

  before(async () => {
    const server = createServer((_, res) => { asked++; res.end(KEYS); });
    issuer = server;
    await new Promise<void>((resolve) => server.listen(0, address ?? "127.0.0.1", resolve));
    const uri = `http://${address ?? "127.0.0.1"}:${(server.address() as AddressInfo).port}/keys`;
    await cluster.start();
    await cluster.mesh();
    await cluster.crd("gateway-api/gateway.networking.k8s.io-gateways.yaml");
    await cluster.crd("istio/security.istio.io-requestauthentications.yaml");
    await cluster.apply(`apiVersion: v1
kind: Namespace
metadata: {name: app}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: app}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: app}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}], jwtRules: [{issuer: "https://issuer.example", jwksUri: "${uri}"}]}
`);
  });
  after(async () => {
    await Promise.all(apps.map((a) => a.drain()));
    await issuerEnds();
    await cluster.remove();
  });

  it("are written down by the leader, and not again by who finds them as they are", async () => {
    const app = await istiod("one");
    await eventually("they are in the ConfigMap", async () => (await written()).some((k) => k["jwks"] === KEYS));
    const version = (await record())?.metadata.resourceVersion;
    const before = asked;
    await end(app);
    const next = await istiod("two");
    assert.equal(keysOf(next), KEYS);
    assert.ok(asked > before);
    await eventually("it leads", async () => (await cluster.admin.get(KINDS.leases, "istio-system", "istio-status-leader")).metadata.resourceVersion !== undefined && next.readiness.ready);
    assert.equal((await record())?.metadata.resourceVersion, version);
  });

  it("are told to waypoints by a control plane that starts while the issuer is away, also by a second replica", async () => {
    await issuerEnds();
    for (const app of [...apps]) await end(app);
    const [one, two] = await Promise.all([istiod("three"), istiod("four")]);
    assert.deepEqual([keysOf(one), keysOf(two)], [KEYS, KEYS], "when ready");
  });

  it("are refused when they are too old, or not keys: every token fails, and the policy says why", async () => {
    for (const spoil of [(k: Record<string, unknown>): Record<string, unknown> => ({ ...k, goodAt: Date.now() - 8 * 24 * 3_600_000 }), (k: Record<string, unknown>): Record<string, unknown> => ({ ...k, jwks: "{}" })]) {
      const good = await written();
      for (const app of [...apps]) await end(app);
      const put = (keys: unknown) => cluster.admin.patch(KINDS.configMaps, "istio-system", "ambit-jwks", { data: { "keys.json": JSON.stringify(keys) } });
      await put(good.map(spoil));
      const app = await istiod("five");
      assert.equal(keysOf(app), undefined);
      assert.match(JSON.stringify(app.mesh.statuses.list()), /no keys of https:\/\/issuer\.example yet/);
      await end(app);
      await put(good);
    }
  });
});
