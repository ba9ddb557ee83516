// Owns the tour: a small application, and one real check per claim of the mesh, each with the evidence it rests on.
import { applyManifests, KINDS, Reflector, type KubeClient, type Pod } from "@ambit/kube";
import { systemClock, withTimeout } from "@ambit/runtime";
import { readManifests } from "../install/charts-on-disk.ts";
import { FIELD_MANAGER } from "../install/cluster-objects.ts";
import { isEnrolled, isReady } from "../pods.ts";
import type { Progress } from "../progress.ts";
import { UsageError } from "../usage-error.ts";
import { isTls13, tlsVersionChosen } from "./pcap.ts";
import { PodLog, timeOf, type Line } from "./pod-log.ts";
import { denyByMethod, fault, split, trace, waypoint, type WaypointStage } from "./waypoint-steps.ts";
import { LinkWatch } from "./watch-link.ts";

export interface TourOptions { readonly client: KubeClient; /** Writes what passes the link of node-1 to stdout, as tcpdump -w does. */ readonly listen: readonly string[]; readonly progress: Progress; readonly signal: AbortSignal }

export const TOUR_NAMESPACE = "shop";
const MARKER = "in-clear-from-visitor";
const READY_TIMEOUT_MS = 60_000;
const STEP_TIMEOUT_MS = 20_000;
/** The promise: a connection that a policy now forbids is closed within this. */
const REVOKE_LIMIT_MS = 2_000;
/** Long enough for a dozen requests of each client. */
const OBSERVE_MS = 1_000;

interface Cast { readonly visitor: Pod; readonly intruder: Pod; readonly catalog: Pod; readonly storefront: Pod }
interface Stage extends TourOptions { readonly cast: Cast; readonly pods: Reflector<Pod>; readonly visitor: PodLog; readonly intruder: PodLog; readonly ztunnels: ReadonlyMap<string, PodLog> }

/** True when every step proved its claim. */
export async function runTour(options: TourOptions): Promise<boolean> {
  const { progress, client } = options;
  progress.step("deploying the sample application");
  await applyManifests(client, readManifests("samples"), { fieldManager: FIELD_MANAGER });
  const pods = new Reflector<Pod>(client, KINDS.pods).start();
  await pods.whenSynced();
  const logs: PodLog[] = [];
  try {
    const cast = await castReady(pods);
    const open = (pod: Pod, container: string) => { const log = new PodLog(client, pod.metadata.namespace ?? "", pod.metadata.name, container); logs.push(log); return log; };
    const ztunnels = new Map(pods.items().filter((p) => p.metadata.labels?.["app"] === "ztunnel").map((p) => [p.spec.nodeName ?? "", open(p, "istio-proxy")]));
    const stage: Stage = { ...options, cast, pods, visitor: open(cast.visitor, "visitor"), intruder: open(cast.intruder, "intruder"), ztunnels };
    progress.done(`sample application: visitor and intruder on ${cast.visitor.spec.nodeName}, catalog on ${cast.catalog.spec.nodeName}, requests every 50 ms`);
    let proved = true;
    for (const [title, step] of STEPS) {
      progress.step(title);
      const { ok, evidence } = await step(stage);
      if (ok) progress.done(title);
      else progress.fail(title);
      for (const line of evidence) progress.line(`    ${line}`);
      proved &&= ok;
    }
    progress.line(proved ? "every step proved its claim" : "at least one step did not prove its claim");
    return proved;
  } finally {
    for (const log of logs) log.close();
    await pods.stop();
  }
}

type Step = (stage: Stage) => Promise<{ ok: boolean; evidence: string[] }>;
const STEPS: readonly (readonly [string, Step])[] = [
  ["1. not enrolled: a request can be read on the link between the nodes", inClear],
  ["2. enrol the namespace: running pods join, none restarts, no connection is refused", enrol],
  ["3. the same request in a tunnel: nothing readable, TLS 1.3, both identities proven, the client's own address kept", tunnelled],
  ["4. an AuthorizationPolicy: one client refused and told why, the other served, its open connection cut", policy],
  ["5. a waypoint for the namespace: HTTP passes it, nobody notices", (stage) => waypoint(waypointStage(stage))],
  ["6. an AuthorizationPolicy by HTTP method: POST refused, GET served", (stage) => denyByMethod(waypointStage(stage))],
  ["7. a canary: 90 % to one version, 10 % to the other", (stage) => split(waypointStage(stage))],
  ["8. a fault: every request to the storefront delayed", (stage) => fault(waypointStage(stage))],
  ["9. a trace: one request through two services", (stage) => trace(waypointStage(stage))],
];

const waypointStage = (stage: Stage): WaypointStage =>
  ({ client: stage.client, namespace: TOUR_NAMESPACE, visitor: stage.visitor });

async function inClear(stage: Stage): Promise<{ ok: boolean; evidence: string[] }> {
  const begin = Date.now();
  const link = await LinkWatch.start(stage.listen);
  await stage.visitor.waitFor((l) => l["ok"] === true && timeOf(l) > begin + OBSERVE_MS, begin, STEP_TIMEOUT_MS);
  await pollSegments(link, (s) => s.payload.includes(MARKER));
  const readable = (await link.stop()).filter((s) => s.payload.includes(MARKER));
  const [first] = readable;
  if (first === undefined) return { ok: false, evidence: [`the marker "${MARKER}" was not seen on the link`, lastLine(stage.visitor)] };
  return { ok: true, evidence: [
    `${first.source}:${first.sourcePort} → ${first.destination}:${first.destinationPort} in clear, ${readable.length} such requests in ${OBSERVE_MS / 1000} s:`,
    first.payload.toString("latin1").split("\r\n").filter((l) => /^(GET|x-marker)/i.test(l)).join(" | "),
  ] };
}

async function enrol(stage: Stage): Promise<{ ok: boolean; evidence: string[] }> {
  const restartsBefore = restarts(stage);
  const uidsBefore = Object.values(stage.cast as unknown as Record<string, Pod>).map((p) => p.metadata.uid);
  const begin = Date.now();
  await stage.client.patch(KINDS.namespaces, undefined, TOUR_NAMESPACE, { metadata: { labels: { "istio.io/dataplane-mode": "ambient" } } });
  const enrolled = () => shopPods(stage).length > 0 && shopPods(stage).every((p) => isEnrolled(p));
  if (!(await until(stage.pods, enrolled))) return { ok: false, evidence: [`not enrolled: ${shopPods(stage).filter((p) => !isEnrolled(p)).map((p) => p.metadata.name).join(", ")}`] };
  const took = Date.now() - begin;
  await stage.visitor.waitFor((l) => l["kind"] === "request" && timeOf(l) > begin + took + OBSERVE_MS, begin, STEP_TIMEOUT_MS);
  const failed = [...stage.visitor.since(begin), ...stage.intruder.since(begin)].filter((l) => l["ok"] === false || l["event"] === "closed");
  const requests = [...stage.visitor.since(begin), ...stage.intruder.since(begin)].filter((l) => l["kind"] === "request").length;
  const same = restarts(stage) === restartsBefore && uidsBefore.every((uid) => shopPods(stage).some((p) => p.metadata.uid === uid));
  return { ok: failed.length === 0 && same, evidence: [
    `kubectl label namespace ${TOUR_NAMESPACE} istio.io/dataplane-mode=ambient: ${shopPods(stage).length} pods enrolled after ${took} ms`,
    `${requests} requests meanwhile and after, ${failed.length} failed; ${same ? "the same pods, no restarts" : "PODS WERE RESTARTED"}`,
    ...failed.slice(0, 3).map((l) => JSON.stringify(l)),
  ] };
}

async function tunnelled(stage: Stage): Promise<{ ok: boolean; evidence: string[] }> {
  const begin = Date.now();
  const link = await LinkWatch.start(stage.listen);
  const outbound = stage.ztunnels.get(stage.cast.visitor.spec.nodeName ?? "");
  const access = await outbound?.waitFor((l) => l["direction"] === "outbound" && l["src.workload"] === stage.cast.visitor.metadata.name && typeof l["src.identity"] === "string", begin, STEP_TIMEOUT_MS);
  const answer = await stage.visitor.waitFor((l) => l["ok"] === true && timeOf(l) > begin + OBSERVE_MS, begin, STEP_TIMEOUT_MS);
  // A fresh tunnel shows its handshake: the pooled ones were opened before we listened.
  await stage.client.delete(KINDS.pods, TOUR_NAMESPACE, stage.cast.intruder.metadata.name, { gracePeriodSeconds: 0 });
  await until(stage.pods, () => shopPods(stage).some((p) => p.metadata.labels?.["app"] === "intruder" && p.metadata.uid !== stage.cast.intruder.metadata.uid && isReady(p) && isEnrolled(p)));
  const hello = await pollSegments(link, (s) => s.sourcePort === 15008 && tlsVersionChosen(s.payload) !== undefined);
  const seen = await link.stop();
  const readable = seen.filter((s) => s.payload.includes(MARKER));
  const hbone = seen.filter((s) => s.destinationPort === 15008 && s.payload.length > 0);
  const clientIp = stage.cast.visitor.status?.podIP;
  const version = hello === undefined ? undefined : tlsVersionChosen(hello.payload);
  const ok = readable.length === 0 && hbone.length > 0 && isTls13(version) && access !== undefined && typeof access["dst.identity"] === "string" && answer?.["client"] === clientIp;
  return { ok, evidence: [
    `${hbone.length} segments to port 15008 on the link, ${readable.length} of all ${seen.length} readable`,
    `a new tunnel's handshake: server at ${hello?.source ?? "?"} chose ${version === undefined ? "nothing seen" : isTls13(version) ? "TLS 1.3" : `version 0x${version.toString(16)}`}`,
    `from ${String(access?.["src.identity"] ?? "no access line seen")} to ${String(access?.["dst.identity"] ?? "?")}`,
    `the server saw ${String(answer?.["client"])}, the visitor's address is ${clientIp}`,
  ] };
}

const POLICY = {
  apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy",
  metadata: { name: "no-intruder", namespace: TOUR_NAMESPACE },
  spec: { selector: { matchLabels: { app: "catalog" } }, action: "DENY", rules: [{ from: [{ source: { principals: [`cluster.local/ns/${TOUR_NAMESPACE}/sa/intruder`] } }] }] },
};

async function policy(stage: Stage): Promise<{ ok: boolean; evidence: string[] }> {
  const pod = shopPods(stage).find((p) => p.metadata.labels?.["app"] === "intruder" && isReady(p));
  if (pod === undefined) return { ok: false, evidence: ["the intruder is not running"] };
  const intruder = new PodLog(stage.client, TOUR_NAMESPACE, pod.metadata.name, "intruder");
  try {
    if ((await intruder.waitFor((l) => l["event"] === "echo", 0, STEP_TIMEOUT_MS)) === undefined) return { ok: false, evidence: ["the intruder never held a connection"] };
    const begin = Date.now();
    await applyManifests(stage.client, [POLICY], { fieldManager: FIELD_MANAGER });
    const refused = await intruder.waitFor((l) => l["kind"] === "request" && l["ok"] === false, begin, STEP_TIMEOUT_MS);
    const cut = await intruder.waitFor((l) => l["event"] === "closed", begin, STEP_TIMEOUT_MS);
    const inbound = stage.ztunnels.get(stage.cast.catalog.spec.nodeName ?? "");
    const said = await inbound?.waitFor((l) => typeof l["error"] === "string" && l["error"].includes(`${TOUR_NAMESPACE}/no-intruder`), begin, STEP_TIMEOUT_MS);
    const after = refused === undefined ? begin : timeOf(refused);
    const served = await stage.visitor.waitFor((l) => l["ok"] === true && timeOf(l) > after, after, STEP_TIMEOUT_MS);
    const visitorFailed = stage.visitor.since(begin).filter((l) => l["ok"] === false || l["event"] === "closed");
    const cutAfter = cut === undefined ? Infinity : timeOf(cut) - begin;
    const ok = refused !== undefined && said !== undefined && served !== undefined && visitorFailed.length === 0 && cutAfter <= REVOKE_LIMIT_MS;
    return { ok, evidence: [
      `DENY from principal ${POLICY.spec.rules[0]?.from[0]?.source.principals[0]}: the intruder's next request: ${String(refused?.["error"] ?? "was not refused")}`,
      `ztunnel on ${stage.cast.catalog.spec.nodeName}: ${String(said?.["error"] ?? "did not name the policy")}`,
      `its open connection was closed ${cutAfter === Infinity ? "NOT AT ALL" : `after ${cutAfter} ms`}; the visitor: ${served === undefined ? "not served" : `still served, ${visitorFailed.length} failures`}`,
    ] };
  } finally {
    intruder.close();
  }
}

async function castReady(pods: Reflector<Pod>): Promise<Cast> {
  const find = (app: string) => pods.items().find((p) => p.metadata.namespace === TOUR_NAMESPACE && p.metadata.labels?.["app"] === app && p.metadata.deletionTimestamp === undefined && isReady(p));
  const apps = ["visitor", "intruder", "catalog", "storefront"];
  if (!(await until(pods, () => apps.every((a) => find(a) !== undefined), READY_TIMEOUT_MS)))
    throw new UsageError(`the sample application is not ready after ${READY_TIMEOUT_MS / 1000} s: ${apps.filter((a) => find(a) === undefined).join(", ")}; see kubectl -n ${TOUR_NAMESPACE} describe pods`);
  return Object.fromEntries(apps.map((a) => [a, find(a)])) as unknown as Cast;
}

const shopPods = (stage: Stage): Pod[] => stage.pods.items().filter((p) => p.metadata.namespace === TOUR_NAMESPACE && p.metadata.deletionTimestamp === undefined);
const restarts = (stage: Stage): number => shopPods(stage).flatMap((p) => (p.status?.["containerStatuses"] as { restartCount: number }[] | undefined) ?? []).reduce((n, c) => n + c.restartCount, 0);
const lastLine = (log: PodLog): string => `last line of ${log.name}: ${JSON.stringify(log.lines.at(-1) ?? ({} as Line))}`;

/** True as soon as `test` holds, looked at after every event; false after the limit. */
async function until(pods: Reflector<Pod>, test: () => boolean, limitMs = STEP_TIMEOUT_MS): Promise<boolean> {
  let over = false;
  const held = new Promise<true>((resolve) => {
    const look = () => { if (!over && test()) resolve(true); };
    pods.handle({ onAdd: look, onUpdate: look, onDelete: look });
    look();
  });
  try {
    return await withTimeout(systemClock, limitMs, held, () => new Error("not in time"));
  } catch {
    return false;
  } finally {
    over = true;
  }
}

/** tcpdump writes to a pipe: what it saw arrives a little later. */
async function pollSegments(link: LinkWatch, test: (s: ReturnType<LinkWatch["seen"]>[number]) => boolean): Promise<ReturnType<LinkWatch["seen"]>[number] | undefined> {
  const deadline = systemClock.monotonic() + STEP_TIMEOUT_MS;
  for (;;) {
    const found = link.seen().find(test);
    if (found !== undefined || systemClock.monotonic() > deadline) return found;
    await systemClock.sleep(100);
  }
}
