// The contract of lists: selectors, pages, versions, tables and bare metadata, collections that go at once.
import { contract, type Talk } from "./contract.fixture.ts";
import { configMap, deployment, PARTIAL, pod, service, TABLE } from "./objects.fixture.ts";
import { at } from "./masks.fixture.ts";
import type { Answer, Json, JsonObject } from "./wire.fixture.ts";

const items = (answer: Answer): JsonObject[] => at(answer.json, "items") as JsonObject[];
const names = (answer: Answer): Json => items(answer).map((item) => at(item, "metadata.name"));
const listMeta = { show: (body: Json) => ({ kind: at(body, "kind"), apiVersion: at(body, "apiVersion"), metadata: at(body, "metadata"), names: (at(body, "items") as JsonObject[]).map((item) => at(item, "metadata.name")) }) };

async function five(t: Talk): Promise<void> {
  await t.namespace();
  for (const [i, name] of ["a", "b", "c", "d", "e"].entries()) await t.quiet("POST", "~/secrets", { metadata: { name, labels: { n: String(i), odd: String(i % 2 === 1) } }, type: i < 3 ? "Opaque" : "example.com/own" });
}

contract("list", ({ it }) => {
  it("selects by labels", async (t) => {
    await five(t);
    for (const selector of ["n", "!n", "n=1", "n==1", "n!=1", "n in (1,2)", "n notin (1,2)", "n,odd=true", "odd=true,n in (1)", "n>2", "n<2", "missing!=x", "missing notin (x)", "n in ()", " n = 1 ", ""]) {
      t.note(selector, names(await t.raw("GET", `~/secrets?labelSelector=${encodeURIComponent(selector)}`)));
    }
    for (const bad of ["=", "a b", "n in", "n in (", "n in 1", "n=a b", "-x", "n>x", "a/b/c", "n=-", ","]) await t.ask("GET", `~/secrets?labelSelector=${encodeURIComponent(bad)}`, undefined, { loose: true, show: "code" });
  });

  it("selects by fields", async (t) => {
    await five(t);
    for (const selector of ["metadata.name=b", "metadata.name!=b", "metadata.namespace=other", "type=Opaque", "type!=Opaque,metadata.name!=d", "metadata.name==c", ""]) {
      t.note(selector, names(await t.raw("GET", `~/secrets?fieldSelector=${encodeURIComponent(selector)}`)));
    }
    for (const bad of ["metadata.labels.n=1", "data.a=b", "name=b", "x"]) await t.ask("GET", `~/secrets?fieldSelector=${encodeURIComponent(bad)}`);
    await t.quiet("POST", "~/pods", pod("p", {}, { labels: { a: "b" } }));
    for (const selector of ["status.phase=Pending", "spec.nodeName=", "spec.nodeName!=", "spec.schedulerName=nobody", "spec.restartPolicy=Always", "status.podIP=", "spec.serviceAccountName=default", "spec.hostNetwork=false", "status.nominatedNodeName="]) {
      t.note(selector, names(await t.raw("GET", `~/pods?fieldSelector=${encodeURIComponent(selector)}`)));
    }
  });

  it("pages through one state", async (t) => {
    await five(t);
    const first = await t.ask("GET", "~/secrets?limit=2", undefined, listMeta);
    await t.quiet("DELETE", "~/secrets/c");
    await t.quiet("POST", "~/secrets", { metadata: { name: "cc" } });
    const next = (answer: Answer) => encodeURIComponent(String(at(answer.json, "metadata.continue")));
    const second = await t.raw("GET", `~/secrets?limit=2&continue=${next(first)}`);
    t.note("second", [names(second), at(second.json, "metadata.remainingItemCount"), at(second.json, "metadata.resourceVersion") === at(first.json, "metadata.resourceVersion")]);
    const third = await t.raw("GET", `~/secrets?limit=2&continue=${next(second)}`);
    t.note("third", [names(third), at(third.json, "metadata.remainingItemCount"), at(third.json, "metadata.continue")]);
    const rest = await t.raw("GET", `~/secrets?continue=${next(first)}`);
    t.note("the rest without a limit", names(rest));
    const chosen = await t.raw("GET", "~/secrets?limit=1&labelSelector=odd%3Dfalse");
    t.note("selected pages count nothing", [names(chosen), at(chosen.json, "metadata.remainingItemCount")]);
    await t.ask("GET", `~/secrets?limit=2&continue=${next(first)}&resourceVersion=5`, undefined, { loose: true }).then(() => t.transcript.pop());
    const bad = await t.raw("GET", "~/secrets?limit=2&continue=nonsense");
    t.note("a foreign token", [bad.code, at(bad.json, "reason")]);
    await t.ask("GET", "~/secrets?limit=x");
    await t.ask("GET", "~/secrets?limit=-1", undefined, listMeta);
  });

  it("lists at versions", async (t) => {
    await t.namespace();
    await t.quiet("POST", "~/secrets", { metadata: { name: "a" } });
    const old = await t.raw("GET", "~/secrets");
    const version = String(at(old.json, "metadata.resourceVersion"));
    t.mask(version, "OLD");
    await t.quiet("POST", "~/secrets", { metadata: { name: "b" } });
    const list = async (label: string, query: string) => {
      const answer = await t.raw("GET", `~/secrets?${query}`);
      t.note(label, [answer.code, answer.code === 200 ? names(answer) : at(answer.json, "reason"), answer.code === 200 ? at(answer.json, "metadata.resourceVersion") === version : null]);
    };
    await list("not older than", `resourceVersion=${version}&resourceVersionMatch=NotOlderThan`);
    await list("an old version", `resourceVersion=${version}`);
    await list("exactly", `resourceVersion=${version}&resourceVersionMatch=Exact`);
    await list("exactly 0", "resourceVersion=0&resourceVersionMatch=Exact");
    await list("not older than nothing", "resourceVersionMatch=NotOlderThan");
    await list("an unknown match", `resourceVersion=${version}&resourceVersionMatch=Roughly`);
    await list("no number", "resourceVersion=abc");
    await t.ask("GET", "~/secrets?resourceVersionMatch=Exact", undefined);
    await t.ask("GET", "~/secrets?resourceVersion=1&resourceVersionMatch=Roughly", undefined);
    await t.ask("GET", "~/secrets?resourceVersion=abc");
    await t.ask("GET", "~/secrets?resourceVersion=0&resourceVersionMatch=Exact");
    await t.ask("GET", "~/secrets/a?resourceVersion=abc");
    t.note("get at an old version", (await t.raw("GET", `~/secrets/a?resourceVersion=${version}`)).code);
    t.note("get at 0", (await t.raw("GET", "~/secrets/a?resourceVersion=0")).code);
  });

  it("answers a version from the future with a time-out", async (t) => {
    await t.ask("GET", "~/secrets?resourceVersion=999999999999", undefined, { digits: true });
  });

  it("shows empty lists, and lists over all namespaces", async (t) => {
    await t.namespace();
    await t.ask("GET", "~/secrets");
    await t.ask("GET", "~apps/v1/deployments");
    await t.quiet("POST", "~/secrets", { metadata: { name: "only", labels: { mark: t.ns } } });
    const all = await t.raw("GET", `/api/v1/secrets?labelSelector=mark%3D${t.ns}`);
    t.note("all namespaces", [names(all), at(all.json, "kind")]);
    await t.ask("GET", `/api/v1/secrets?fieldSelector=metadata.namespace%3D${t.ns}`, undefined, { show: (body) => names({ json: body } as Answer) }).then(() => t.transcript.pop());
  });

  it("shows tables", async (t) => {
    await t.namespace();
    await t.quiet("POST", "~/configmaps", configMap("t", { a: "1", b: "2" }, { labels: { x: "y" } }));
    await t.quiet("POST", "~apps/v1/deployments", deployment("t"));
    await t.quiet("POST", "~/services", service("t", { clusterIP: "None", ports: [{ name: "a", port: 80 }, { name: "b", port: 53, protocol: "UDP" }] }));
    await t.quiet("POST", "~/secrets", { metadata: { name: "t" }, stringData: { a: "b" } });
    await t.quiet("POST", "~/pods", pod("t", { containers: [{ name: "a", image: "a" }, { name: "b", image: "b" }] }));
    await t.quiet("POST", "~rbac.authorization.k8s.io/v1/roles", { metadata: { name: "t" }, rules: [] });
    await t.quiet("POST", "~rbac.authorization.k8s.io/v1/rolebindings", { metadata: { name: "t" }, roleRef: { kind: "Role", name: "t", apiGroup: "rbac.authorization.k8s.io" }, subjects: [{ kind: "User", name: "u" }, { kind: "Group", name: "g" }, { kind: "ServiceAccount", name: "s", namespace: "n" }] });
    await t.quiet("POST", "~coordination.k8s.io/v1/leases", { metadata: { name: "t" }, spec: { holderIdentity: "me" } });
    await t.quiet("POST", "~networking.k8s.io/v1/networkpolicies", { metadata: { name: "t" }, spec: { podSelector: { matchLabels: { a: "b" } } } });
    await t.quiet("POST", "~networking.k8s.io/v1/ingresses", { metadata: { name: "t" }, spec: { ingressClassName: "c", tls: [{}], rules: [{ host: "h.example", http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "s", port: { number: 80 } } } }] } }] } });
    await t.quiet("POST", "~policy/v1/poddisruptionbudgets", { metadata: { name: "t" }, spec: { minAvailable: 1, selector: { matchLabels: { a: "b" } } } });
    await t.quiet("POST", "~batch/v1/cronjobs", { metadata: { name: "t" }, spec: { schedule: "0 0 1 1 *", suspend: true, jobTemplate: { spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "m", image: "m" }] } } } } } });
    await t.quiet("POST", "~autoscaling/v2/horizontalpodautoscalers", { metadata: { name: "t" }, spec: { maxReplicas: 3, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "none" } } });
    await t.quiet("POST", "~discovery.k8s.io/v1/endpointslices", { metadata: { name: "t" }, addressType: "IPv4", endpoints: [{ addresses: ["10.9.9.9"] }], ports: [{ port: 80 }] });
    await t.quiet("POST", "~/serviceaccounts", { metadata: { name: "t" } });
    const aged = (cell: Json): Json => (typeof cell === "string" && /^\d+s$/.test(cell) ? "AGE" : cell);
    const shape = (body: Json): Json => ({
      kind: at(body, "kind"), apiVersion: at(body, "apiVersion"),
      columns: ((at(body, "columnDefinitions") ?? []) as JsonObject[]).map((c) => [c["name"], c["type"], c["format"], c["priority"]] as Json),
      cells: ((at(body, "rows") ?? []) as JsonObject[]).map((row) => (at(row, "cells") as Json[]).map(aged)),
    });
    for (const path of ["configmaps/t", "services", "secrets/t", "pods", "serviceaccounts/t"]) await t.ask("GET", `~/${path}`, undefined, { accept: TABLE, show: shape });
    for (const path of [
      "apps/v1/deployments", "apps/v1/statefulsets", "apps/v1/daemonsets", "rbac.authorization.k8s.io/v1/roles/t", "rbac.authorization.k8s.io/v1/rolebindings", "coordination.k8s.io/v1/leases",
      "networking.k8s.io/v1/networkpolicies", "networking.k8s.io/v1/ingresses", "policy/v1/poddisruptionbudgets", "batch/v1/cronjobs", "batch/v1/jobs", "discovery.k8s.io/v1/endpointslices/t",
      "events.k8s.io/v1/events?labelSelector=none", "autoscaling/v2/horizontalpodautoscalers",
    ]) await t.ask("GET", `~${path}`, undefined, { accept: TABLE, show: path.startsWith("rbac.authorization.k8s.io/v1/roles") ? (body) => at(shape(body), "columns") : shape });
    for (const path of ["/api/v1/nodes?labelSelector=none", "/api/v1/namespaces?labelSelector=none", "/apis/scheduling.k8s.io/v1/priorityclasses", "/apis/networking.k8s.io/v1/ingressclasses", "/apis/storage.k8s.io/v1/storageclasses", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?labelSelector=none", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings?labelSelector=none"]) {
      await t.ask("GET", path, undefined, { accept: TABLE, show: (body) => ({ columns: at(shape(body), "columns") }) });
    }
    await t.ask("GET", "~/configmaps/t", undefined, { accept: TABLE, show: (body) => at(body, "rows.0.object") });
    await t.ask("GET", "~/configmaps/t?includeObject=Object", undefined, { accept: TABLE, show: (body) => at(body, "rows.0.object") });
    await t.ask("GET", "~/configmaps/t?includeObject=None", undefined, { accept: TABLE, show: (body) => ({ object: at(body, "rows.0.object"), cells: (at(body, "rows.0.cells") as Json[]).map(aged) }) });
    await t.ask("GET", "~/configmaps/t?includeObject=Some", undefined, { accept: TABLE });
    await t.ask("POST", "~/configmaps?dryRun=All", configMap("new"), { accept: TABLE, show: shape });
    await t.ask("GET", "~/configmaps/none", undefined, { accept: TABLE });
    await t.ask("GET", "~/configmaps/t", undefined, { accept: "application/json;as=Table;v=v9;g=meta.k8s.io", loose: true });
  });

  it("shows bare metadata", async (t) => {
    await t.quiet("POST", "~/configmaps", configMap("bare", { a: "1" }, { labels: { x: "y" } }));
    await t.ask("GET", "~/configmaps/bare", undefined, { accept: PARTIAL });
    await t.ask("GET", "~/configmaps?labelSelector=x", undefined, { accept: PARTIAL.replace("Metadata;", "MetadataList;"), show: (body) => ({ kind: at(body, "kind"), apiVersion: at(body, "apiVersion"), items: at(body, "items") }) });
    await t.ask("PATCH", "~/configmaps/bare", { data: { b: "2" } }, { type: "application/merge-patch+json", accept: PARTIAL });
    await t.ask("GET", "~/configmaps/bare", undefined, { accept: PARTIAL.replace("Metadata;", "MetadataList;") });
    await t.ask("GET", "~/configmaps?labelSelector=x", undefined, { accept: PARTIAL, show: ["kind"] });
  });

  it("deletes collections", async (t) => {
    await five(t);
    const gone = await t.ask("DELETE", "~/secrets?labelSelector=odd%3Dtrue", undefined, { show: (body) => ({ kind: at(body, "kind"), items: (at(body, "items") as Json[] | null)?.length ?? null, status: at(body, "status") }) });
    t.note("left", names(await t.raw("GET", "~/secrets")));
    t.note("code", gone.code);
    await t.ask("DELETE", "~/secrets?fieldSelector=metadata.name%3Da", undefined, { show: ["kind"] });
    await t.ask("DELETE", "~/secrets?dryRun=All", undefined, { show: ["kind"] });
    t.note("left", names(await t.raw("GET", "~/secrets")));
    await t.ask("DELETE", "~/secrets?limit=1", undefined, { show: ["kind"] });
    t.note("left", names(await t.raw("GET", "~/secrets")));
  });

  it("HEADs what it GETs", async (t) => {
    await t.quiet("POST", "~/configmaps", configMap("head"));
    const there = await t.raw("HEAD", "~/configmaps/head");
    const none = await t.raw("HEAD", "~/configmaps/none");
    t.note("codes", [there.code, there.text, none.code, none.text]);
    const options = await t.raw("OPTIONS", "~/configmaps/head");
    t.note("OPTIONS", options.code);
  });

  it("says how it answers in headers", async (t) => {
    const answer = await t.raw("GET", "~/configmaps");
    t.note("headers", ["content-type", "cache-control"].map((name) => answer.headers[name] ?? null) as Json);
    t.note("an id for the audit", typeof answer.headers["audit-id"] === "string");
    const missing = await t.raw("GET", "~/configmaps/none");
    t.note("of a refusal", missing.headers["content-type"] ?? null);
    const table = await t.raw("GET", "~/configmaps", undefined, { accept: TABLE });
    t.note("of a table", table.headers["content-type"] ?? null);
  });
});
