// The contract of server-side apply: who manages which field, conflicts, force, giving up and taking over, and updates beside it.
import { contract, type Talk } from "./contract.fixture.ts";
import { APPLY, configMap, deployment, MERGE, pod, service, STRATEGIC } from "./objects.fixture.ts";
import type { JsonObject } from "./wire.fixture.ts";

const OWNED = { show: ["data", "metadata.managedFields"], managed: true } as const;

contract("apply", ({ it }) => {
  const apply = (t: Talk, name: string, manager: string, data: JsonObject, query = "") =>
    t.ask("PATCH", `~/configmaps/${name}?fieldManager=${manager}${query}`, configMap(name, data), { ...APPLY, ...OWNED });

  it("creates, and says who manages what", async (t) => {
    await apply(t, "a", "one", { x: "1", y: "2" });
    await apply(t, "a", "one", { x: "1", y: "2" });
    await apply(t, "a", "one", { x: "1" });
    await apply(t, "a", "two", { z: "3" });
    await t.ask("GET", "~/configmaps/a", undefined, OWNED);
  });

  it("refuses to take over, and shares what is equal", async (t) => {
    await apply(t, "b", "one", { x: "1", y: "2" });
    await apply(t, "b", "two", { x: "9" });
    await apply(t, "b", "two", { x: "9", y: "9" });
    await apply(t, "b", "two", { x: "1" });
    await apply(t, "b", "three", { x: "8" });
    await apply(t, "b", "two", { x: "9" }, "&force=true");
    await apply(t, "b", "one", { y: "2" });
  });

  it("hands a field over", async (t) => {
    await apply(t, "c", "one", { x: "1", y: "2" });
    await apply(t, "c", "two", { x: "1" });
    await apply(t, "c", "one", { y: "2" });
    await apply(t, "c", "two", { x: "5" });
    await apply(t, "c", "two", {});
  });

  it("takes over from updates by force only", async (t) => {
    await t.ask("POST", "~/configmaps?fieldManager=maker", configMap("d", { x: "1", y: "2" }), OWNED);
    await apply(t, "d", "one", { x: "1" });
    await apply(t, "d", "one", { x: "2" });
    await apply(t, "d", "one", { x: "2" }, "&force=true");
    await t.ask("PATCH", "~/configmaps/d?fieldManager=editor", { data: { x: "3" } }, { ...MERGE, ...OWNED });
    await t.ask("PATCH", "~/configmaps/d?fieldManager=editor", { data: { y: null } }, { ...MERGE, ...OWNED });
    await apply(t, "d", "one", { x: "2" });
    await t.ask("PUT", "~/configmaps/d?fieldManager=putter", configMap("d", { q: "1" }), OWNED);
  });

  it("keeps lists by key", async (t) => {
    const app = (containers: JsonObject[]): JsonObject => ({ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "lists" }, spec: { selector: { matchLabels: { a: "b" } }, template: { metadata: { labels: { a: "b" } }, spec: { schedulerName: "nobody", containers } } } });
    const at = (manager: string) => `~apps/v1/deployments/lists?fieldManager=${manager}`;
    const show = { ...APPLY, managed: true, show: ["metadata.managedFields", "spec.template.spec.containers"] };
    await t.ask("PATCH", at("one"), { ...app([{ name: "a", image: "a:1", env: [{ name: "X", value: "1" }], ports: [{ containerPort: 80, protocol: "TCP" }] }]), spec: { ...(app([])["spec"] as JsonObject), replicas: 0, template: { metadata: { labels: { a: "b" } }, spec: { schedulerName: "nobody", containers: [{ name: "a", image: "a:1", env: [{ name: "X", value: "1" }], ports: [{ containerPort: 80, protocol: "TCP" }] }] } } } }, show);
    const part = (containers: JsonObject[]): JsonObject => ({ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "lists" }, spec: { template: { spec: { containers } } } });
    await t.ask("PATCH", at("two"), part([{ name: "a", env: [{ name: "Y", value: "2" }] }]), show);
    await t.ask("PATCH", at("two"), part([{ name: "a", env: [{ name: "X", value: "2" }] }]), show);
    await t.ask("PATCH", at("three"), part([{ name: "b", image: "b:1" }]), show);
    await t.ask("PATCH", at("three"), part([]), show);
    await t.ask("PATCH", at("two"), part([{ name: "a", image: "other:1" }]), show);
  });

  it("applies to a status apart", async (t) => {
    await t.quiet("POST", "~/pods?fieldManager=maker", pod("st"));
    const status = (status: JsonObject): JsonObject => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "st" }, status });
    const show = { ...APPLY, managed: true, show: (body: unknown) => ({ status: (body as JsonObject)["status"] ?? null, managers: ((body as { metadata: { managedFields: JsonObject[] } }).metadata.managedFields).map((entry) => [entry["manager"] ?? null, entry["operation"] ?? null, entry["subresource"] ?? null]) }) };
    await t.ask("PATCH", "~/pods/st/status?fieldManager=one", status({ conditions: [{ type: "Ready", status: "False" }] }), show);
    await t.ask("PATCH", "~/pods/st/status?fieldManager=two", status({ conditions: [{ type: "Ready", status: "True" }] }), show);
    await t.ask("PATCH", "~/pods/st/status?fieldManager=two", status({ conditions: [{ type: "Other", status: "True" }] }), show);
    await t.ask("PATCH", "~/pods/st/status?fieldManager=one", status({}), show);
    await t.ask("PATCH", "~/pods/none/status?fieldManager=one", { apiVersion: "v1", kind: "Pod", metadata: { name: "none" }, status: {} }, APPLY);
  });

  it("follows scale", async (t) => {
    await t.quiet("PATCH", "~apps/v1/deployments/sc?fieldManager=one", deployment("sc"), APPLY);
    await t.ask("PATCH", "~apps/v1/deployments/sc/scale?fieldManager=scaler", { spec: { replicas: 1 } }, { ...MERGE, show: ["spec"] });
    await t.ask("PATCH", "~apps/v1/deployments/sc?fieldManager=one", deployment("sc"), APPLY);
  });

  it("refuses what is not whole", async (t) => {
    const to = (name: string, query: string, body: unknown) => t.ask("PATCH", `~/configmaps/${name}${query}`, body, { ...APPLY, loose: true });
    await to("e", "", configMap("e"));
    await to("e", "?fieldManager=one", { metadata: { name: "e" } });
    await to("e", "?fieldManager=one", { apiVersion: "v1", kind: "Secret", metadata: { name: "e" } });
    await to("e", "?fieldManager=one", configMap("other"));
    await to("e", "?fieldManager=one", configMap("e", {}, { namespace: "other" }));
    await to("e", "?fieldManager=one", configMap("e", {}, { managedFields: [{ manager: "x" }] }));
    await to("e", "?fieldManager=one", configMap("e", {}, { uid: "0-0" }));
    await to("e", "?fieldManager=one", configMap("e", {}, { resourceVersion: "1" }));
    await to("e", "?fieldManager=one", "]: not yaml");
    await to("e", "?fieldManager=one", { ...configMap("e"), spec: { unknown: true } });
    await to("e", "?fieldManager=one&fieldValidation=Strict", { ...configMap("e"), spec: { unknown: true } });
    await to("e", "?fieldManager=one", { ...configMap("e"), data: "text" });
    await to("e", "?fieldManager=one&dryRun=All", configMap("e", { a: "b" }));
    await t.ask("GET", "~/configmaps/e");
  });

  it("refuses two items of one key", async (t) => {
    await t.ask("PATCH", "~/services/twice?fieldManager=one", service("twice", { ports: [{ port: 1, name: "a" }, { port: 1, name: "b" }] }), { ...APPLY, loose: true });
    const made = service("ports", { clusterIP: "None", ports: [{ port: 53, name: "a", protocol: "UDP" }, { port: 53, name: "b", protocol: "TCP" }] });
    await t.ask("PATCH", "~/services/ports?fieldManager=one", made, { ...APPLY, managed: true, show: ["spec.ports", "metadata.managedFields"] });
  });

  it("gives the managers up on request", async (t) => {
    await apply(t, "f", "one", { x: "1" });
    await t.ask("PATCH", "~/configmaps/f?fieldManager=x", { metadata: { managedFields: [{}] } }, { ...MERGE, ...OWNED });
    await apply(t, "f", "two", { x: "2" });
    await t.ask("PATCH", "~/configmaps/f?fieldManager=x", { metadata: { managedFields: [] } }, { ...MERGE, ...OWNED });
  });

  it("takes over from kubectl's annotation", async (t) => {
    const annotations = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(configMap("g", { x: "1", y: "2" })) };
    await t.quiet("POST", "~/configmaps?fieldManager=kubectl-client-side-apply", configMap("g", { x: "1", y: "2" }, { annotations }));
    await t.ask("PATCH", "~/configmaps/g?fieldManager=kubectl", configMap("g", { x: "3" }), { ...APPLY, ...OWNED });
    await t.ask("PATCH", "~/configmaps/g?fieldManager=kubectl&force=true", configMap("g", { x: "3" }), { ...APPLY, ...OWNED });
  });

  it("changes metadata that is applied", async (t) => {
    const labelled = (labels: JsonObject, annotations: JsonObject): JsonObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "h", labels, annotations, finalizers: ["a.b/c"] } });
    const show = { ...APPLY, managed: true, show: ["metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.managedFields"] };
    await t.ask("PATCH", "~/configmaps/h?fieldManager=one", labelled({ a: "1", b: "2" }, { c: "3" }), show);
    await t.ask("PATCH", "~/configmaps/h?fieldManager=one", labelled({ a: "1" }, {}), show);
    await t.ask("PATCH", "~/configmaps/h?fieldManager=two", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "h", finalizers: ["a.b/d"] } }, show);
    await t.ask("PATCH", "~/configmaps/h?fieldManager=one", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "h" } }, show);
    await t.ask("PATCH", "~/configmaps/h?fieldManager=two", { metadata: { finalizers: null } }, { ...MERGE, show: "code" });
  });

  it("tracks updates by creating, replacing and patching", async (t) => {
    const managers = { managed: true, show: ["metadata.managedFields"] };
    await t.ask("POST", "~apps/v1/deployments?fieldManager=m", deployment("tracked"), managers);
    await t.ask("PATCH", "~apps/v1/deployments/tracked?fieldManager=n", { spec: { template: { spec: { containers: [{ name: "main", env: [{ name: "A", value: "b" }] }] } } } }, { ...STRATEGIC, ...managers });
    await t.ask("POST", "~/services?fieldManager=m", service("tracked", { clusterIP: "None" }), managers);
    await t.ask("POST", "~/configmaps", configMap("agent", { a: "b" }), { ...managers, headers: { "user-agent": "tool/1.2 (linux)" } });
    await t.ask("POST", "~/configmaps", configMap("agentless", { a: "b" }), { ...managers, headers: { "user-agent": "" }, show: "code" });
  });
});
