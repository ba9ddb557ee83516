// Owns the tour's steps about waypoints: HTTP is routed, refused by method, split by weight, delayed, and traced.
import { applyManifests, KINDS, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { FIELD_MANAGER } from "../install/cluster-objects.ts";
import { gatewayOf, summaryOf, USE_WAYPOINT } from "../waypoint/gateway.ts";
import { askFromPod, type Answer } from "./ask.ts";
import { isReady } from "../pods.ts";
import { PodLog, timeOf, type Line } from "./pod-log.ts";

export interface WaypointStage { readonly client: KubeClient; readonly namespace: string; readonly visitor: PodLog }
export interface Outcome { readonly ok: boolean; readonly evidence: string[] }

const URL_OF_CATALOG = "http://catalog:8080/";
const READY_MS = 60_000;
const SETTLE_MS = 15_000;
const POLL_MS = 200;
const OBSERVE_MS = 1_000;
const SPLIT_REQUESTS = 400;
/** Percentage points around the 10 % of the canary: four standard deviations of 400 draws. */
const SPLIT_TOLERANCE = 6;

/** `ambit waypoint apply --enroll-namespace --wait`, and who asks the catalog from then on. */
export async function waypoint({ client, namespace, visitor }: WaypointStage): Promise<Outcome> {
  const wanted = gatewayOf({ name: "waypoint", namespace, traffic: undefined, serviceAccount: undefined, revision: undefined }) as KubeObject;
  const begin = Date.now();
  await applyManifests(client, [wanted], { fieldManager: FIELD_MANAGER });
  const programmed = await eventually(READY_MS, async () => summaryOf(await client.get(KINDS.gateways, namespace, "waypoint")).programmed === "True");
  if (!programmed) return { ok: false, evidence: [`the waypoint is not ready: ${summaryOf(await client.get(KINDS.gateways, namespace, "waypoint")).message}`] };
  const took = Date.now() - begin;
  const labelled = Date.now();
  await client.patch(KINDS.namespaces, undefined, namespace, { metadata: { labels: { [USE_WAYPOINT]: "waypoint" } } });
  const { items } = await client.list<Pod>(KINDS.pods, namespace, { labelSelector: "gateway.networking.k8s.io/gateway-name=waypoint" });
  const addresses = items.map((p) => p.status?.podIP);
  const through = await visitor.waitFor((l) => l["ok"] === true && addresses.includes(String(l["client"])), labelled, SETTLE_MS);
  await visitor.waitFor((l) => l["kind"] === "request" && timeOf(l) > labelled + OBSERVE_MS, labelled, SETTLE_MS);
  const said = visitor.since(begin).filter((l) => l["kind"] === "request");
  const failed = said.filter((l) => l["ok"] === false);
  return { ok: through !== undefined && failed.length === 0, evidence: [
    `ambit waypoint apply -n ${namespace} --enroll-namespace --wait: ready after ${took} ms`,
    `${said.length} requests meanwhile and after, ${failed.length} failed`,
    through === undefined ? "the catalog NEVER saw the waypoint" : `${timeOf(through) - labelled} ms after the label the catalog is asked by the waypoint, ${String(through["client"])}`,
    ...failed.slice(0, 3).map((l) => JSON.stringify(l)),
  ] };
}

const NO_POST = (namespace: string): KubeObject => ({
  apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "read-only", namespace },
  spec: { targetRefs: [{ group: "", kind: "Service", name: "catalog" }], action: "DENY", rules: [{ to: [{ operation: { methods: ["POST"] } }] }] },
});

/** One method refused, the other served, and the policy named by whom it concerns. */
export async function denyByMethod({ client, namespace }: WaypointStage): Promise<Outcome> {
  await applyManifests(client, [NO_POST(namespace)], { fieldManager: FIELD_MANAGER });
  let post: readonly Answer[] = [];
  const refused = await eventually(SETTLE_MS, async () => {
    post = await askFromPod(client, { namespace, url: URL_OF_CATALOG, method: "POST", count: 2 });
    return post.length > 0 && post.every((a) => a.status === 403);
  });
  const get = await askFromPod(client, { namespace, url: URL_OF_CATALOG, count: 2 });
  const condition = await conditionOf(client, namespace, "read-only");
  return { ok: refused && get.length > 0 && get.every((a) => a.status === 200) && condition.includes("True"), evidence: [
    `DENY method POST on Service catalog: POST ${shown(post)}, GET ${shown(get)}`, `the policy says: ${condition}`,
  ] };
}

/** Two versions behind one Service, 90 to 10. */
export async function split({ client, namespace }: WaypointStage): Promise<Outcome> {
  await applyManifests(client, [...versionOf(namespace, "catalog-v1"), ...versionOf(namespace, "catalog-v2")], { fieldManager: FIELD_MANAGER });
  const running = await eventually(READY_MS, async () => {
    const { items } = await client.list(KINDS.deployments, namespace);
    return ["catalog-v1", "catalog-v2"].every((name) => items.some((d) => d.metadata.name === name && ((d["status"] as { readyReplicas?: number } | undefined)?.readyReplicas ?? 0) > 0));
  });
  if (!running) return { ok: false, evidence: ["catalog-v1 and catalog-v2 are not ready"] };
  await applyManifests(client, [{
    apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name: "catalog", namespace },
    spec: { parentRefs: [{ group: "", kind: "Service", name: "catalog", port: 8080 }], rules: [{ backendRefs: [{ name: "catalog-v1", port: 8080, weight: 90 }, { name: "catalog-v2", port: 8080, weight: 10 }] }] },
  }], { fieldManager: FIELD_MANAGER });
  let answers: readonly Answer[] = [];
  let share = 0;
  const held = await eventually(SETTLE_MS, async () => {
    answers = await askFromPod(client, { namespace, url: URL_OF_CATALOG, count: SPLIT_REQUESTS });
    const by = (name: string): number => answers.filter((a) => a.status === 200 && (a.body ?? "").includes(`"service":"${name}"`)).length;
    share = (by("catalog-v2") * 100) / Math.max(1, answers.length);
    return by("catalog-v1") + by("catalog-v2") === answers.length && answers.length === SPLIT_REQUESTS && Math.abs(share - 10) <= SPLIT_TOLERANCE;
  });
  return { ok: held, evidence: [`HTTPRoute on Service catalog, weights 90 and 10: ${answers.length} requests, ${share.toFixed(1)} % to catalog-v2`] };
}

const FAULT_MS = 300;

/** Istio's VirtualService, as its samples have it. */
export async function fault({ client, namespace }: WaypointStage): Promise<Outcome> {
  const url = "http://storefront:8080/";
  const before = await askFromPod(client, { namespace, url, count: 5 });
  await applyManifests(client, [{
    apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata: { name: "storefront", namespace },
    spec: { hosts: ["storefront"], http: [{ fault: { delay: { percentage: { value: 100 }, fixedDelay: `${FAULT_MS}ms` } }, route: [{ destination: { host: "storefront" } }] }] },
  }], { fieldManager: FIELD_MANAGER });
  let after: readonly Answer[] = [];
  const slow = await eventually(SETTLE_MS, async () => {
    after = await askFromPod(client, { namespace, url, count: 5 });
    return after.length === 5 && after.every((a) => a.status === 200 && a.ms >= FAULT_MS);
  });
  await client.delete({ group: "networking.istio.io", version: "v1", plural: "virtualservices", kind: "VirtualService", namespaced: true }, namespace, "storefront");
  const fastest = (answers: readonly Answer[]): number => Math.min(...answers.map((a) => a.ms));
  return { ok: slow && before.every((a) => a.status === 200), evidence: [`VirtualService with fixedDelay ${FAULT_MS}ms on storefront: the fastest of 5 requests took ${fastest(before)} ms before, ${fastest(after)} ms with it`] };
}

/** One request through two services, as the waypoint's spans tell it. */
export async function trace({ client, namespace }: WaypointStage): Promise<Outcome> {
  const labels = { app: "collector" };
  const mesh = (await client.get<KubeObject & { data?: Record<string, string> }>(KINDS.configMaps, "istio-system", "istio")).data?.["mesh"] ?? "";
  const configure = (text: string) => client.patch(KINDS.configMaps, "istio-system", "istio", { data: { mesh: text } });
  // Somebody else's settings stay, and stand again afterwards.
  await configure(`${mesh.trimEnd()}\n${MESH_CONFIG(namespace)}`);
  await applyManifests(client, [
    { apiVersion: "v1", kind: "Service", metadata: { name: "collector", namespace }, spec: { selector: labels, ports: [{ name: "http-otlp", port: 4318 }] } },
    { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "collector", namespace }, spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: {
      containers: [{ name: "collector", image: "ambit/sample:lab", args: ["collect", "--port", "4318"], readinessProbe: { tcpSocket: { port: 4318 }, periodSeconds: 1 } }],
    } } } },
    { apiVersion: "telemetry.istio.io/v1", kind: "Telemetry", metadata: { name: "traces", namespace }, spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "waypoint" }], tracing: [{ providers: [{ name: "collector" }], randomSamplingPercentage: 100 }] } },
  ], { fieldManager: FIELD_MANAGER });
  let pod: Pod | undefined;
  await eventually(READY_MS, async () => {
    pod = (await client.list<Pod>(KINDS.pods, namespace, { labelSelector: "app=collector" })).items.find(isReady);
    return pod !== undefined;
  });
  const log = pod === undefined ? undefined : new PodLog(client, namespace, pod.metadata.name, "collector");
  try {
    if (log === undefined) return { ok: false, evidence: ["the collector is not ready"] };
    let spans: readonly Line[] = [];
    const whole = await eventually(SETTLE_MS, async () => {
      await askFromPod(client, { namespace, url: "http://storefront:8080/", count: 2 });
      const outer = await log.waitFor((l) => l["kind"] === "span" && String(l["name"]).startsWith("storefront."), 0, SPAN_WAIT_MS);
      if (outer === undefined) return false;
      await log.waitFor((l) => l["traceId"] === outer["traceId"] && String(l["name"]).startsWith("catalog."), 0, SPAN_WAIT_MS);
      spans = log.lines.filter((l) => l["kind"] === "span" && l["traceId"] === outer["traceId"]);
      return spans.length >= 2;
    });
    const tag = (l: Line, name: string): string => String((l["attributes"] as Record<string, unknown> | undefined)?.[name] ?? "?");
    return { ok: whole, evidence: spans.length === 0 ? ["no span arrived at the collector"] : [
      `trace ${String(spans[0]?.["traceId"])}, as the waypoint told the collector over OTLP:`,
      ...[...spans].sort((a, b) => Number(b["ms"]) - Number(a["ms"])).map((l) => `${tag(l, "istio.source_workload")} → ${String(l["name"])} ${tag(l, "http.method")} ${tag(l, "http.status_code")}, ${String(l["ms"])} ms`),
    ] };
  } finally {
    log?.close();
    await client.delete(KINDS.telemetries, namespace, "traces");
    await configure(mesh);
  }
}

const SPAN_WAIT_MS = 3_000;
const MESH_CONFIG = (namespace: string): string => `extensionProviders:
- name: collector
  opentelemetry:
    service: collector.${namespace}.svc.cluster.local
    port: 4318
    http:
      path: /v1/traces
`;

function versionOf(namespace: string, name: string): KubeObject[] {
  const labels = { app: name };
  return [
    { apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec: { selector: labels, ports: [{ name: "http", port: 8080 }] } },
    { apiVersion: "apps/v1", kind: "Deployment", metadata: { name, namespace }, spec: { selector: { matchLabels: labels }, template: {
      metadata: { labels },
      spec: { serviceAccountName: "catalog", nodeSelector: { "kubernetes.io/hostname": "node-2" }, containers: [{ name: "catalog", image: "ambit/sample:lab", args: ["serve", "--name", name], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }] },
    } } },
  ];
}

async function conditionOf(client: KubeClient, namespace: string, name: string): Promise<string> {
  let text = "it has no condition WaypointAccepted";
  await eventually(SETTLE_MS, async () => {
    const policy = await client.get(KINDS.authorizationPolicies, namespace, name);
    const found = ((policy["status"] as { conditions?: { type: string; status: string; reason?: string; message?: string }[] } | undefined)?.conditions ?? []).find((c) => c.type === "WaypointAccepted");
    if (found !== undefined) text = `${found.type}=${found.status} (${found.reason ?? ""}) ${found.message ?? ""}`;
    return found?.status === "True";
  });
  return text;
}

const shown = (answers: readonly Answer[]): string => (answers[0] === undefined ? "was not answered" : answers[0].status === undefined ? String(answers[0].error) : `${answers[0].status}${answers[0].status === 200 ? "" : ` ${(answers[0].body ?? "").trim()}`}`);

/** True as soon as `test` holds; false after the limit. */
async function eventually(limitMs: number, test: () => Promise<boolean>): Promise<boolean> {
  const end = systemClock.monotonic() + limitMs;
  for (;;) {
    if (await test()) return true;
    if (systemClock.monotonic() > end) return false;
    await systemClock.sleep(POLL_MS);
  }
}
