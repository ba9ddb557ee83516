// Owns the tour's steps about waypoints: HTTP is routed, refused by method, and split by weight.
import { applyManifests, KINDS, type KubeClient, type KubeObject, type Pod } from "@ambit/kube";
import { systemClock } from "@ambit/runtime";
import { FIELD_MANAGER } from "../mesh.ts";
import { gatewayOf, summaryOf, USE_WAYPOINT } from "../waypoint/gateway.ts";
import { askFromPod, type Answer } from "./ask.ts";
import { timeOf, type PodLog } from "./pod-log.ts";

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
