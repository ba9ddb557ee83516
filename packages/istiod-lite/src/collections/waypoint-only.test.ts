import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { buildMesh } from "./graph.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";

const object = (kind: string, name: string, more: object, metadata: object = {}): KubeObject => ({ kind, metadata: { name, namespace: "shop", ...metadata }, ...more });
const pod = (name: string, ip: string, labels: Record<string, string>, account = name): KubeObject => object("Pod", name, {
  spec: { nodeName: "n1", serviceAccountName: account, containers: [{ name: "c" }] }, status: { phase: "Running", podIP: ip, podIPs: [{ ip }], conditions: [{ type: "Ready", status: "True" }] },
}, { uid: name, labels });
const gateway = object("Gateway", "waypoint", {
  spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] }, status: { addresses: [{ type: "Hostname", value: "waypoint.shop.svc.cluster.local" }] },
});
const service = (name: string, labels: Record<string, string>): KubeObject => object("Service", name, { spec: { clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1"], selector: { app: name }, ports: [{ port: 80 }] } }, { labels });

function world(waypointOnly: boolean, objects: readonly KubeObject[]) {
  const mesh = buildMesh({ ...DEFAULT_SETTINGS, waypointOnly });
  mesh.batch(() => {
    mesh.sources.namespaces.set({ kind: "Namespace", metadata: { name: "shop" } });
    for (const o of objects) {
      const source = { Pod: "pods", Gateway: "gateways", Service: "services" }[o.kind ?? ""] as "pods" | "gateways" | "services";
      mesh.sources[source].set(o as never);
    }
  });
  const lists = (name: string): readonly string[] => mesh.addresses.list().flatMap((a) => (a.kind === "workload" && a.workload.name === name ? a.workload.authorizationPolicies : []));
  return { mesh, lists };
}
const bound = [service("web", { "istio.io/use-waypoint": "waypoint" }), service("free", {}), pod("web", "10.0.0.1", { app: "web" }), pod("free", "10.0.0.2", { app: "free" })];
const KEY = "shop/istio_allow_waypoint_shop_waypoint";

describe("only through the waypoint", () => {
  it("is off unless asked for", () => assert.deepEqual(world(false, [...bound, gateway]).lists("web"), []));

  it("attaches the waypoint's own policy to what is bound to it, and to nothing else", () => {
    const { mesh, lists } = world(true, [...bound, gateway, pod("waypoint-1", "10.0.0.9", { "gateway.networking.k8s.io/gateway-name": "waypoint" }, "waypoint")]);
    assert.deepEqual(lists("web"), [KEY]);
    assert.deepEqual(lists("free"), []);
    assert.deepEqual(lists("waypoint-1"), []);
    const policy = mesh.authorizations.get(KEY);
    assert.equal(policy?.action, "allow");
    assert.deepEqual(policy?.rules[0]?.clauses[0]?.matches[0]?.principals, [{ kind: "exact", value: "cluster.local/ns/shop/sa/waypoint" }]);
  });

  it("lets nobody in while the waypoint has no pods", () => {
    const { mesh, lists } = world(true, [...bound, gateway]);
    assert.deepEqual([lists("web"), mesh.authorizations.get(KEY)?.rules], [[KEY], []]);
  });

  it("stays closed when the Gateway is gone: the policy that is named is known to nobody", () => {
    const { mesh, lists } = world(true, bound);
    assert.deepEqual([lists("web"), mesh.authorizations.get(KEY)], [[KEY], undefined]);
  });
});
