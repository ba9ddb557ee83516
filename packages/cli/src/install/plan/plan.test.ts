import assert from "node:assert/strict";
import type { KubeObject } from "@ambit/kube";
import { decodeInventory, encodeInventory, idOf, nameOf, withoutThose, type ObjectId } from "./inventory.ts";
import { compareVersions, foreignOwner, planCrds } from "./judge.ts";
import { isOurClass, keptByControlPlane, removalSteps } from "./removal.ts";

const live = (labels: Record<string, string>, annotations: Record<string, string> = {}): KubeObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x", labels, annotations } });
const id = (kind: string, name: string, apiVersion = "v1", namespace: string | undefined = "m"): ObjectId => ({ apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) });

describe("whose an object is", () => {
  const OWNERS: readonly (readonly [object: KubeObject, owner: string | undefined])[] = [
    [live({ "app.kubernetes.io/managed-by": "ambit" }), undefined],
    [live({ "app.kubernetes.io/managed-by": "Helm" }, { "meta.helm.sh/release-name": "mesh" }), "Helm's release mesh"],
    [live({}, { "argocd.argoproj.io/tracking-id": "ambit:apps/Deployment:istio-system/istiod" }), "Argo CD's application ambit"],
    [live({ "helm.toolkit.fluxcd.io/name": "ambit" }), "Flux's ambit"],
    [live({ "app.kubernetes.io/managed-by": "someone" }), "someone"],
    [live({}), "somebody who did not say so (no label app.kubernetes.io/managed-by)"],
  ];
  for (const [object, owner] of OWNERS) it(owner ?? "ours", () => assert.equal(foreignOwner(object), owner));
});

describe("versions", () => {
  for (const [a, b, sign] of [["0.1.0", "0.1.0", 0], ["0.2.0", "0.10.0", -1], ["1.0.0", "0.9.9", 1], ["1.0.0-rc.1", "1.0.0", -1], ["1.0.0", "1.0.0-rc.1", 1], ["v1.0.0", "1.0.0", 0], ["odd", "odd", 0]] as const)
    it(`${a} ${sign < 0 ? "<" : sign > 0 ? ">" : "="} ${b}`, () => assert.equal(Math.sign(compareVersions(a, b)), sign));
});

describe("definitions of custom kinds", () => {
  const crd = (name: string, labels: Record<string, string> = {}, annotations: Record<string, string> = {}): KubeObject => ({ kind: "CustomResourceDefinition", metadata: { name, labels, annotations } });
  const wanted = [crd("gateways.gateway.networking.k8s.io"), crd("httproutes.gateway.networking.k8s.io"), crd("telemetries.telemetry.istio.io")];
  const names = (live: readonly KubeObject[]): unknown => { const plan = planCrds(wanted, live); return [plan.apply.map((c) => c.metadata.name.split(".")[0]), plan.reused]; };
  it("are installed where there are none", () => assert.deepEqual(names([]), [["gateways", "httproutes", "telemetries"], []]));
  it("are brought to this version where they are ours", () => assert.deepEqual(names([crd("gateways.gateway.networking.k8s.io", { "app.kubernetes.io/managed-by": "ambit" })]), [["gateways", "httproutes", "telemetries"], []]));
  it("of a family that somebody else installed are all left alone", () => assert.deepEqual(names([crd("gateways.gateway.networking.k8s.io", {}, { "gateway.networking.k8s.io/bundle-version": "v1.4.0" })]), [["telemetries"], [{ family: "the Gateway API", owner: "v1.4.0" }]]));
  it("that nobody asks for do not count", () => assert.deepEqual(names([crd("wasmplugins.extensions.istio.io")]), [["gateways", "httproutes", "telemetries"], []]));
});

describe("the record of an installation", () => {
  const inventory = { version: "1.2.3", values: { global: { tag: "x" }, cni: { resources: null } }, objects: [id("Service", "istiod"), id("Namespace", "m", "v1", undefined)] };
  it("comes back as it was written", () => assert.deepEqual(decodeInventory(encodeInventory(inventory, "m", "default")), inventory));
  it("has a name for each revision", () => assert.deepEqual([encodeInventory(inventory, "m", "default"), encodeInventory(inventory, "m", "canary")].map((o) => o.metadata.name), ["ambit-install", "ambit-install-canary"]));
  const record = (data: unknown): KubeObject => ({ metadata: { name: "x" }, data });
  for (const [what, data] of [["nothing", undefined], ["no objects", { version: "1", values: "{}" }], ["no JSON", { version: "1", values: "{", objects: "" }], ["a list of values", { version: "1", values: "[]", objects: "" }], ["an object without a name", { version: "1", values: "{}", objects: '{"apiVersion":"v1","kind":"X"}' }], ["null", { version: "1", values: "null", objects: "" }]] as const)
    it(`is not believed when it has ${what}`, () => assert.ok("problem" in decodeInventory(record(data))));
  it("an object in another version of its API is the same", () => assert.deepEqual(withoutThose([id("A", "a", "g/v1"), id("A", "b", "g/v1"), id("A", "a", "v1")], [id("A", "a", "g/v2")]).map((x) => `${x.apiVersion} ${x.name}`), ["g/v1 b", "v1 a"]));
  it("ids are what objects are called", () => assert.equal(nameOf(idOf({ apiVersion: "v1", kind: "Service", metadata: { name: "a", namespace: "b" } })), "Service b/a"));
});

describe("taking away", () => {
  it("admission, agents, ztunnel, control plane, the rest backwards; never the namespace", () => {
    const steps = removalSteps([id("Namespace", "m"), id("ServiceAccount", "a"), id("Role", "r"), id("Deployment", "istiod"), id("ValidatingWebhookConfiguration", "w"), id("DaemonSet", "istio-cni-node"), id("DaemonSet", "ztunnel")]);
    assert.deepEqual(steps.map((s) => [s.objects.map((o) => o.name).join(), s.until]), [["w", undefined], ["istio-cni-node", "k8s-app=istio-cni-node"], ["ztunnel", "app=ztunnel"], ["istiod", "app=istiod"], ["r,a", undefined]]);
  });
  it("a second control plane leaves the keys to the first", () => assert.deepEqual([keptByControlPlane("m", "canary"), keptByControlPlane("m", "default")].map((l) => l.map((o) => o.name)), [["istio-status-leader-canary", "ambit-jwks-canary"], ["istio-status-leader", "ambit-jwks", "istio-ca-secret", "ambit-ca-roots"]]));
  it("classes of others stay", () => {
    const c = (name: string, controllerName: string): KubeObject => ({ metadata: { name }, spec: { controllerName } });
    assert.deepEqual([c("istio-waypoint", "istio.io/mesh-controller"), c("istio", "istio.io/gateway-controller"), c("istio-waypoint", "somebody.else/x"), c("mine", "istio.io/mesh-controller")].map(isOurClass), [true, false, false, false]);
  });
});
