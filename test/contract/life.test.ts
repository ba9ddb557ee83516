// The contract of ends: finalizers, owners and what goes with them, namespaces, pods, evictions, events and leases.
import { contract, type Talk } from "./contract.fixture.ts";
import { at } from "./masks.fixture.ts";
import { configMap, deployment, JSON_PATCH, MERGE, pod } from "./objects.fixture.ts";
import type { JsonObject } from "./wire.fixture.ts";

const owned = (t: Talk, name: string, owner: JsonObject, more: JsonObject = {}): Promise<JsonObject> =>
  t.quiet("POST", "~/configmaps", configMap(name, {}, { ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: String(at(owner, "metadata.name")), uid: String(at(owner, "metadata.uid")), ...more }] }));
const meta = { show: ["metadata.finalizers", "metadata.deletionGracePeriodSeconds", "metadata.ownerReferences"] } as const;

contract("life", ({ it }) => {
  it("holds what has finalizers", async (t) => {
    await t.quiet("POST", "~/configmaps", configMap("held", {}, { finalizers: ["example.com/a", "example.com/b"] }));
    await t.ask("DELETE", "~/configmaps/held", undefined, { show: ["kind", "metadata.finalizers", "metadata.deletionGracePeriodSeconds"] });
    await t.ask("DELETE", "~/configmaps/held", undefined, { show: ["kind", "metadata.finalizers"] });
    await t.ask("POST", "~/configmaps", configMap("held"));
    await t.ask("PATCH", "~/configmaps/held", { data: { still: "here" } }, { ...MERGE, show: ["data"] });
    await t.ask("PATCH", "~/configmaps/held", { metadata: { finalizers: ["example.com/a", "example.com/c"] } }, MERGE);
    await t.ask("PATCH", "~/configmaps/held", [{ op: "remove", path: "/metadata/finalizers/0" }], { ...JSON_PATCH, ...meta });
    await t.ask("PATCH", "~/configmaps/held", { metadata: { finalizers: null } }, { ...MERGE, show: ["metadata.name", "metadata.finalizers"] });
    await t.ask("GET", "~/configmaps/held");
  });

  it("collects what has lost its owner", async (t) => {
    const owner = await t.quiet("POST", "~/configmaps", configMap("owner"));
    const child = await owned(t, "child", owner);
    await owned(t, "grandchild", child);
    await t.ask("DELETE", "~/configmaps/owner");
    await t.until("~/configmaps/child", "its end", (answer) => answer.code === 404, { show: "code" });
    await t.until("~/configmaps/grandchild", "its end", (answer) => answer.code === 404, { show: "code" });
  });

  it("collects what has another owner's identity", async (t) => {
    await t.quiet("POST", "~/configmaps", configMap("other"));
    await t.quiet("POST", "~/configmaps", configMap("stray", {}, { ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "other", uid: "00000000-0000-0000-0000-000000000001" }] }));
    await t.until("~/configmaps/stray", "its end", (answer) => answer.code === 404, { show: "code" });
    await t.ask("GET", "~/configmaps/other", undefined, { show: "code" });
  });

  it("keeps what has one owner left", async (t) => {
    const one = await t.quiet("POST", "~/configmaps", configMap("one"));
    const two = await t.quiet("POST", "~/configmaps", configMap("two"));
    const reference = (object: JsonObject): JsonObject => ({ apiVersion: "v1", kind: "ConfigMap", name: String(at(object, "metadata.name")), uid: String(at(object, "metadata.uid")) });
    await t.quiet("POST", "~/configmaps", configMap("shared", {}, { ownerReferences: [reference(one), reference(two)] }));
    await t.quiet("DELETE", "~/configmaps/one");
    await t.until("~/configmaps/shared", "one owner", (answer) => (at(answer.json, "metadata.ownerReferences") as JsonObject[] | null)?.length === 1, { show: ["metadata.ownerReferences"] });
  });

  it("waits for dependents in the foreground", async (t) => {
    const owner = await t.quiet("POST", "~/configmaps", configMap("front"));
    await t.quiet("POST", "~/configmaps", configMap("blocker", {}, { finalizers: ["example.com/hold"], ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "front", uid: owner.metadata["uid"] ?? "", blockOwnerDeletion: true }] }));
    await t.ask("DELETE", "~/configmaps/front", { propagationPolicy: "Foreground" }, meta);
    await t.until("~/configmaps/blocker", "its deletion", (answer) => at(answer.json, "metadata.deletionTimestamp") !== null);
    await t.ask("GET", "~/configmaps/front", undefined, meta);
    await t.quiet("PATCH", "~/configmaps/blocker", { metadata: { finalizers: null } }, MERGE);
    await t.until("~/configmaps/front", "its end", (answer) => answer.code === 404, { show: "code" });
  });

  it("leaves orphans", async (t) => {
    const owner = await t.quiet("POST", "~/configmaps", configMap("parent"));
    await owned(t, "orphan", owner);
    await t.ask("DELETE", "~/configmaps/parent?propagationPolicy=Orphan", undefined, meta);
    await t.until("~/configmaps/parent", "its end", (answer) => answer.code === 404, { show: "code" });
    await t.until("~/configmaps/orphan", "no owner", (answer) => at(answer.json, "metadata.ownerReferences") === null, meta);
  });

  it("takes a deployment's replica sets along, or not", async (t) => {
    for (const [name, policy] of [["back", "Background"], ["front", "Foreground"], ["left", "Orphan"]] as const) {
      await t.quiet("POST", "~apps/v1/deployments", deployment(name));
      const sets = () => t.until(`~apps/v1/replicasets?labelSelector=app%3D${name}`, `a set of ${name}`, (answer) => (at(answer.json, "items") as JsonObject[]).length === 1);
      const [set] = at((await sets()).json, "items") as JsonObject[];
      await t.quiet("DELETE", `~apps/v1/deployments/${name}`, { propagationPolicy: policy });
      await t.until(`~apps/v1/deployments/${name}`, "its end", (answer) => answer.code === 404);
      const path = `~apps/v1/replicasets/${String(at(set, "metadata.name"))}`;
      if (policy === "Orphan") await t.until(path, "no owner", (answer) => at(answer.json, "metadata.ownerReferences") === null);
      else await t.until(path, "its end", (answer) => answer.code === 404);
      t.note(name, policy);
    }
  });

  it("ends a namespace with all that is in it", async (t) => {
    await t.namespace();
    const path = `/api/v1/namespaces/${t.ns}`;
    await t.quiet("POST", "~/configmaps", configMap("held", {}, { finalizers: ["example.com/hold"] }));
    await t.quiet("POST", "~/secrets", { metadata: { name: "s" } });
    await t.ask("DELETE", path, undefined, { show: (body) => ({ kind: at(body, "kind"), spec: at(body, "spec"), phase: at(body, "status.phase"), deleted: at(body, "metadata.deletionTimestamp") !== null }) });
    await t.ask("POST", "~/configmaps", configMap("late"));
    await t.ask("PATCH", "~/configmaps/late?fieldManager=x", configMap("late"), { type: "application/apply-patch+yaml" });
    await t.until("~/secrets/s", "its end", (answer) => answer.code === 404, { show: "code" });
    await t.until(path, "what remains", (answer) => JSON.stringify(at(answer.json, "status.conditions") ?? "").includes("SomeFinalizersRemain"), { show: (body) => (at(body, "status.conditions") as JsonObject[]).map((c) => [c["type"], c["status"], c["reason"]].join(" ")).filter((text) => !/ContentDeletion|DiscoveryFailure|GroupVersion/.test(text)).sort() });
    await t.ask("PATCH", "~/configmaps/held", { data: { a: "b" } }, { ...MERGE, show: ["data"] });
    await t.quiet("PATCH", "~/configmaps/held", { metadata: { finalizers: null } }, MERGE);
    await t.until(path, "its end", (answer) => answer.code === 404, { show: "code" });
    await t.ask("POST", "~/configmaps", configMap("after"));
  });

  it("keeps the namespaces every cluster has", async (t) => {
    for (const name of ["default", "kube-system", "kube-public"]) await t.ask("DELETE", `/api/v1/namespaces/${name}?dryRun=All`);
    await t.ask("GET", "/api/v1/namespaces/kube-node-lease", undefined, { show: ["metadata.labels", "spec", "status"] });
  });

  it("gives every namespace its own", async (t) => {
    await t.namespace();
    await t.until("~/configmaps/kube-root-ca.crt", "the root", (answer) => answer.code === 200, { show: (body) => ({ keys: Object.keys(at(body, "data") as JsonObject), annotations: at(body, "metadata.annotations") }) });
    await t.quiet("DELETE", "~/serviceaccounts/default");
    await t.until("~/serviceaccounts/default", "another", (answer) => answer.code === 200, { show: "code" });
  });

  it("evicts, deletes and binds pods", async (t) => {
    await t.quiet("POST", "~/pods", pod("p", {}, { labels: { app: "evict" } }));
    await t.ask("POST", "~/pods/p/eviction", { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "p" } });
    await t.ask("GET", "~/pods/p");
    await t.ask("POST", "~/pods/none/eviction", { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "none" } });
    await t.quiet("POST", "~/pods", pod("b"));
    await t.ask("DELETE", "~/pods/b?gracePeriodSeconds=0", undefined, { show: ["kind", "metadata.name"] });
    await t.quiet("POST", "~/pods", pod("n"));
    await t.ask("POST", "~/pods/n/binding", { apiVersion: "v1", kind: "Binding", metadata: { name: "n" }, target: { kind: "Node", name: "no-such-node" } });
    await t.ask("POST", "~/pods/n/binding", { apiVersion: "v1", kind: "Binding", metadata: { name: "n" }, target: { kind: "Node", name: "other" } });
    await t.quiet("DELETE", "~/pods/n?gracePeriodSeconds=0");
  });

  it("writes events in both forms", async (t) => {
    const about = { kind: "Pod", name: "x", namespace: t.ns, apiVersion: "v1" };
    await t.quiet("POST", "~/events", { metadata: { name: "old.1" }, involvedObject: about, reason: "Because", message: "m", type: "Normal", source: { component: "me" }, firstTimestamp: "2026-01-02T03:04:05Z", lastTimestamp: "2026-01-02T03:04:05Z", count: 2 });
    await t.ask("GET", "~events.k8s.io/v1/events/old.1");
    await t.ask("POST", "~events.k8s.io/v1/events", { metadata: { name: "new.1" }, regarding: about, reason: "Because", note: "n", type: "Warning", action: "Do", eventTime: "2026-01-02T03:04:05.000000Z", reportingController: "c", reportingInstance: "i" });
    await t.ask("GET", "~/events/new.1");
    await t.ask("GET", "~/events?fieldSelector=involvedObject.name%3Dx,type%3DWarning", undefined, { show: (body) => (at(body, "items") as JsonObject[]).map((item) => at(item, "metadata.name")) });
    await t.ask("PATCH", "~/events/old.1", { count: 3 }, { ...MERGE, show: ["count"] });
  });

  it("holds leases by version", async (t) => {
    const leases = "~coordination.k8s.io/v1/leases";
    const spec = { holderIdentity: "a", leaseDurationSeconds: 15, acquireTime: "2026-01-02T03:04:05.123456Z", renewTime: "2026-01-02T03:04:05.123456Z", leaseTransitions: 0 };
    const made = await t.ask("POST", leases, { metadata: { name: "l" }, spec });
    await t.ask("PUT", `${leases}/l`, { ...(made.json as JsonObject), spec: { ...spec, holderIdentity: "b", leaseTransitions: 1 } }, { show: ["spec.holderIdentity"] });
    await t.ask("PUT", `${leases}/l`, { ...(made.json as JsonObject), spec: { ...spec, holderIdentity: "c" } });
  });
});
