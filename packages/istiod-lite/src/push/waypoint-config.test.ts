// The way of a route from the API server to its waypoint, to nobody else, and of its status back.
import assert from "node:assert/strict";
import { decodeWaypointConfig, type WaypointConfig } from "@ambit/core";
import { KINDS, type KubeObject } from "@ambit/kube";
import { seededRandom, systemClock } from "@ambit/runtime";
import { createControlPlane, createXdsClient, proxyNode, WAYPOINT_TYPE, type ControlPlane, type XdsClient } from "@ambit/xds";
import type { App } from "../app.ts";
import { Cluster, eventually, quiet } from "../app.fixture.ts";

const SERVICE = "app/web.app.svc.cluster.local";
const BASE = `
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: app}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: app, labels: {istio.io/use-waypoint: waypoint}}, spec: {ports: [{name: http, port: 80}]}}
`;
const ROUTE = (service: string): string => `
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, namespace: app}, spec: {parentRefs: [{group: "", kind: Service, name: web, port: 80}], rules: [{backendRefs: [{name: ${service}, port: 80}]}]}}
`;

/** A waypoint's side of xDS. */
class Waypoint {
  config: WaypointConfig | undefined;
  readonly answer: Promise<string>;
  readonly client: XdsClient;
  readonly #plane: ControlPlane;

  constructor(app: App, token: string, name: string, namespace = "app") {
    this.#plane = createControlPlane({ address: `https://127.0.0.1:${app.grpcPort}`, roots: app.rootsPem, token, clusterId: "Kubernetes", altHostname: "istiod.istio-system.svc", clock: systemClock });
    this.client = createXdsClient({
      connect: this.#plane, clock: systemClock, random: seededRandom(1), log: quiet,
      node: proxyNode({ role: "waypoint", ip: "10.244.1.9", podName: "waypoint-1", podNamespace: namespace, nodeName: "node-1" }),
      types: [{ typeUrl: WAYPOINT_TYPE, onDemand: true }],
      handler: (_type, { upserts, removed }) => {
        for (const u of upserts) {
          const decoded = decodeWaypointConfig(new TextDecoder().decode(u.bytes));
          if (decoded.ok) this.config = decoded.value;
        }
        if (removed.length > 0) this.config = undefined;
        return [];
      },
    });
    this.answer = this.client.subscribe(WAYPOINT_TYPE, name);
  }

  close(): void {
    this.client.close();
    this.#plane.close();
  }
}

describe("a waypoint's configuration", function () {
  this.timeout(60_000);
  const cluster = new Cluster();
  const waypoints: Waypoint[] = [];
  let app: App;
  const waypoint = async (account: string, name: string): Promise<Waypoint> => {
    const w = new Waypoint(app, await cluster.token("app", account, "istio-ca"), name);
    waypoints.push(w);
    return w;
  };
  before(async () => {
    await cluster.start();
    await cluster.mesh();
    for (const k of ["gatewayclasses", "gateways", "httproutes"]) await cluster.crd(`gateway-api/gateway.networking.k8s.io-${k}.yaml`);
    await cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: app}}");
    for (const name of ["waypoint", "other"]) await cluster.apply(JSON.stringify({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: "app" } }));
    await cluster.apply(BASE);
    app = await cluster.istiod();
    await app.readiness.whenReady();
  });
  after(async () => {
    for (const w of waypoints) w.close();
    await app.drain();
    await cluster.remove();
  });

  it("comes to its own account, changes with its routes, and its routes say so", async () => {
    const w = await waypoint("waypoint", "app/waypoint");
    await eventually("the service is known", () => w.config?.services.has(SERVICE) === true);
    assert.ok((w.config?.sessionSecret?.length ?? 0) >= 32);
    await cluster.apply(ROUTE("web"));
    await eventually("the route is there", () => w.config?.services.get(SERVICE)?.producer.get(80)?.kind === "http");
    await cluster.apply(ROUTE("nobody"));
    const action = () => { const routes = w.config?.services.get(SERVICE)?.producer.get(80); return routes?.kind === "http" ? routes.routes[0]?.action : undefined; };
    await eventually("its backend is gone", () => { const a = action(); return a?.kind === "forward" && a.backends[0]?.kind === "invalid"; });
    type Status = { status?: { parents?: { controllerName: string; conditions: { type: string; status: string; reason: string; observedGeneration: number }[] }[] } };
    const parents = async () => (await cluster.admin.get<KubeObject & Status>(KINDS.httpRoutes, "app", "web")).status?.parents ?? [];
    await eventually("the status says which", async () => (await parents())[0]?.conditions.some((c) => c.type === "ResolvedRefs" && c.reason === "BackendNotFound" && c.observedGeneration === 2) === true);
    assert.deepEqual((await parents()).map((p) => [p.controllerName, p.conditions.map((c) => (c.type === "ResolvedWaypoints" ? c.type : `${c.type} ${c.status}`))]),
      [["istio.io/gateway-controller", ["Accepted True", "ResolvedRefs False", "ResolvedWaypoints"]]]);
    await cluster.admin.delete(KINDS.httpRoutes, "app", "web");
    await eventually("the service is on its own again", () => w.config?.services.get(SERVICE)?.producer.size === 0);
  });

  it("is refused to everybody else, whatever they ask for", async () => {
    const asked = await Promise.all(([["other", "app/waypoint"], ["waypoint", "istio-system/waypoint"], ["waypoint", "*"]] as const).map(([account, name]) => waypoint(account, name)));
    assert.ok(!(await Promise.all(asked.map((w) => w.answer))).includes("found"));
    assert.deepEqual(asked.map((w) => w.config), [undefined, undefined, undefined]);
  });
});
