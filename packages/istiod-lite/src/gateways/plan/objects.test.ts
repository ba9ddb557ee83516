import assert from "node:assert/strict";
import { load } from "js-yaml";
import type { KubeObject } from "@ambit/kube";
import { podSecurityViolations, type PodSpecLike } from "@ambit/testkit";
import { waypointObjects, type ManagedKind, type Overlays, type WaypointTemplate } from "./objects.ts";
import { overlay } from "./overlay.ts";

const template: WaypointTemplate = { image: "ambit/waypoint:1", controlPlane: "istiod.istio-system.svc:15012", clusterId: "Kubernetes", trustDomain: "cluster.local", revision: "default" };
const gateway = (spec: object = {}, metadata: object = {}): KubeObject => ({
  apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: { name: "waypoint", namespace: "shop", uid: "u1", generation: 3, ...metadata },
  spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }], ...spec },
});
function made(g: KubeObject, overlays: readonly Overlays[] = []): Record<ManagedKind, KubeObject> {
  const objects = waypointObjects(g, template, overlays, (yaml) => load(yaml));
  assert.ok(objects.ok, JSON.stringify(objects));
  return Object.fromEntries(objects.value.map((o) => [o.kind, o.body])) as Record<ManagedKind, KubeObject>;
}
const at = (value: unknown, ...path: (string | number)[]): unknown => path.reduce<unknown>((v, k) => (v as Record<string | number, unknown> | undefined)?.[k], value);

describe("the objects of a waypoint", () => {
  it("are a service account, a deployment and a service, named as the Gateway and owned by it", () => {
    const objects = made(gateway());
    assert.deepEqual(Object.keys(objects), ["serviceAccounts", "deployments", "services"]);
    for (const body of Object.values(objects)) {
      assert.equal(body.metadata.name, "waypoint");
      assert.deepEqual(body.metadata.ownerReferences, [{ apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", name: "waypoint", uid: "u1" }]);
      assert.equal(body.metadata.labels?.["gateway.istio.io/managed"], "istio.io-mesh-controller");
    }
  });

  it("keep the waypoint's own pods out of the mesh, and unprivileged", () => {
    const pod = at(made(gateway()).deployments, "spec", "template");
    assert.equal(at(pod, "metadata", "labels", "istio.io/dataplane-mode"), "none");
    assert.equal(at(pod, "metadata", "labels", "gateway.networking.k8s.io/gateway-name"), "waypoint");
    assert.equal(at(pod, "spec", "containers", 0, "securityContext", "runAsNonRoot"), true);
    assert.equal(at(pod, "spec", "containers", 0, "securityContext", "readOnlyRootFilesystem"), true);
    // They run in users' namespaces, which may be held to this.
    assert.deepEqual(podSecurityViolations(at(pod, "spec") as PodSpecLike, "restricted"), []);
  });

  it("list each listener as a port with its protocol in lower case", () => {
    assert.deepEqual(at(made(gateway()).services, "spec", "ports"), [
      { name: "status-port", port: 15021, protocol: "TCP", appProtocol: "tcp" }, { name: "mesh", port: 15008, protocol: "TCP", appProtocol: "hbone" },
    ]);
  });

  it("have the infrastructure's labels and annotations", () => {
    const objects = made(gateway({ infrastructure: { labels: { team: "shop" }, annotations: { note: "x" } } }));
    for (const body of Object.values(objects)) {
      assert.equal(body.metadata.labels?.["team"], "shop");
      assert.equal(body.metadata.annotations?.["note"], "x");
    }
    assert.equal(at(objects.deployments, "spec", "template", "metadata", "labels", "team"), "shop");
  });

  it("take other names from annotations, and the service's type", () => {
    const objects = made(gateway({}, { annotations: { "gateway.istio.io/name-override": "wp", "gateway.istio.io/service-account": "shop-edge", "networking.istio.io/service-type": "NodePort" } }));
    assert.equal(objects.deployments.metadata.name, "wp");
    assert.equal(objects.serviceAccounts.metadata.name, "shop-edge");
    assert.equal(at(objects.deployments, "spec", "template", "spec", "serviceAccountName"), "shop-edge");
    assert.equal(at(objects.services, "spec", "type"), "NodePort");
  });

  it("are customised by the class's ConfigMap first, then by the Gateway's", () => {
    const objects = made(gateway(), [
      { name: "class", data: { deployment: "spec: {replicas: 2, template: {spec: {containers: [{name: istio-proxy, resources: {requests: {cpu: 2}}}]}}}" } },
      { name: "own", data: { deployment: "spec: {replicas: 3}" } },
    ]);
    assert.equal(at(objects.deployments, "spec", "replicas"), 3);
    assert.equal(at(objects.deployments, "spec", "template", "spec", "containers", 0, "resources", "requests", "cpu"), 2);
    assert.equal(at(objects.deployments, "spec", "template", "spec", "containers", 0, "image"), "ambit/waypoint:1");
  });

  it("gain an autoscaler and a disruption budget only from an overlay, pointed at the deployment", () => {
    const objects = made(gateway(), [{ name: "own", data: { horizontalPodAutoscaler: "spec: {minReplicas: 2, maxReplicas: 5}", podDisruptionBudget: "spec: {minAvailable: 1}" } }]);
    assert.deepEqual(at(objects.horizontalPodAutoscalers, "spec"), { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "waypoint" }, maxReplicas: 5, minReplicas: 2 });
    assert.deepEqual(at(objects.podDisruptionBudgets, "spec"), { selector: { matchLabels: { "gateway.networking.k8s.io/gateway-name": "waypoint" } }, minAvailable: 1 });
  });

  it("do not let an overlay change name, owner or the managed label", () => {
    const objects = made(gateway(), [{ name: "own", data: { deployment: "metadata: {name: other, namespace: kube-system, ownerReferences: [], labels: {gateway.istio.io/managed: nobody}}" } }]);
    assert.equal(objects.deployments.metadata.name, "waypoint");
    assert.equal(objects.deployments.metadata.namespace, "shop");
    assert.equal(objects.deployments.metadata.ownerReferences?.length, 1);
    assert.equal(objects.deployments.metadata.labels?.["gateway.istio.io/managed"], "istio.io-mesh-controller");
  });

  for (const [name, data, message] of [
    ["an unknown key", { pod: "{}" }, /ConfigMap own: pod/], ["text that is not YAML", { deployment: "a: [" }, /is not YAML/], ["a list", { deployment: "[1]" }, /not a mapping/],
    ["an item without its name", { deployment: "spec: {template: {spec: {containers: [{image: x}]}}}" }, /has no name/],
    ["a directive that is not understood", { deployment: "spec: {$retainKeys: [a]}" }, /directive is not supported/],
  ] as const)
    it(`are refused whole for an overlay with ${name}`, () => {
      const objects = waypointObjects(gateway(), template, [{ name: "own", data }], (yaml) => load(yaml));
      assert.ok(!objects.ok);
      assert.match(objects.error.map((p) => `${p.path}: ${p.message}`).join(), message);
    });
});

describe("an overlay", () => {
  const cases: [string, object, object, object][] = [
    ["merges maps", { a: { b: 1, c: 2 } }, { a: { c: 3 } }, { a: { b: 1, c: 3 } }],
    ["deletes with null", { a: 1, b: 2 }, { a: null }, { b: 2 }],
    ["replaces plain lists", { args: ["a", "b"] }, { args: ["c"] }, { args: ["c"] }],
    ["merges environment by name", { env: [{ name: "A", value: "1" }] }, { env: [{ name: "B", value: "2" }, { name: "A", value: "3" }] }, { env: [{ name: "A", value: "3" }, { name: "B", value: "2" }] }],
    ["merges ports of a Service by port", { ports: [{ port: 80, name: "a" }] }, { ports: [{ port: 80, nodePort: 30080 }] }, { ports: [{ port: 80, name: "a", nodePort: 30080 }] }],
    ["deletes an item", { env: [{ name: "A" }, { name: "B" }] }, { env: [{ name: "A", $patch: "delete" }] }, { env: [{ name: "B" }] }],
    ["replaces a map when told", { a: { b: 1 } }, { a: { $patch: "replace", c: 2 } }, { a: { c: 2 } }],
  ];
  for (const [name, base, patch, expected] of cases)
    it(name, () => assert.deepEqual(overlay(base as Record<string, unknown>, patch as Record<string, unknown>), { value: expected, problems: [] }));
});
