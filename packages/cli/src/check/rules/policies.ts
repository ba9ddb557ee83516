// Decides which objects the mesh does not do as written: negative conditions, policies without anybody who enforces them.
import type { Condition, KubeObject } from "@ambit/kube";
import { finding, type Finding } from "../model/finding.ts";
import { conditionsOf, isCaptured, isGoing, isRunning, isWaypointPod, isYoung, keyOf, labelsOf, list, MESH_NAMESPACE, record, stringMap, text, type Facts } from "../model/facts.ts";
import { hasLabels } from "./selectors.ts";

/** Told better elsewhere: that the Gateway is missing, or does not run. */
const ELSEWHERE = ["WaypointIsNotReady"];
/** Of a Service only what the mesh writes: others use conditions, too. */
const OF_SERVICES = /^(istio\.io\/|Accepted$)/;

export const judgePolicies = (f: Facts): Finding[] => [...conditions(f), ...unenforced(f), ...misunderstood(f)];

function conditions(f: Facts): Finding[] {
  const o = f.objects;
  const all = [...o.authorizationPolicies, ...o.peerAuthentications, ...o.requestAuthentications, ...o.virtualServices, ...o.destinationRules, ...o.telemetries, ...o.serviceEntries, ...o.workloadEntries,
    ...o.services, ...o.httpRoutes, ...o.grpcRoutes, ...o.tlsRoutes, ...o.tcpRoutes, ...o.backendTlsPolicies];
  return all.filter((x) => !isGoing(x)).flatMap((x) => {
    const status = record(x["status"]);
    const said = [...conditionsOf(status), ...[...list(status["parents"]), ...list(status["ancestors"])].flatMap((p) => conditionsOf(p))].filter((c) => isNegative(c) && (x.kind !== "Service" || OF_SERVICES.test(c.type)) && !ELSEWHERE.includes(c.reason ?? ""));
    return said.map((c) => finding("AMB0701", `${x.kind} ${keyOf(x)}`, `${c.type}=${c.status} ${c.reason ?? ""}: ${c.message ?? ""}`,
      `change what the message names (kubectl -n ${x.metadata.namespace} edit ${x.kind?.toLowerCase()} ${x.metadata.name}); ambit analyze -f FILE says beforehand what will be understood`));
  });
}

const isNegative = (c: Condition): boolean => (c.type === "istio.io/WaypointMissing" ? c.status === "True" : c.status === "False" || c.reason === "UnsupportedValue" || c.reason === "PartiallyInvalid");

function unenforced(f: Facts): Finding[] {
  const enforcing = f.objects.pods.filter((p) => isRunning(p) && isCaptured(p) && !isWaypointPod(p));
  return f.objects.authorizationPolicies.filter((p) => !isYoung(f, p) && !isGoing(p) && !isForWaypoint(p)).flatMap((p) => {
    const selector = stringMap(record(record(p["spec"])["selector"])["matchLabels"]);
    const { namespace } = p.metadata;
    const everywhere = namespace === MESH_NAMESPACE;
    if (enforcing.some((x) => (everywhere || x.metadata.namespace === namespace) && hasLabels(selector, labelsOf(x)))) return [];
    // Machines outside the cluster may be in the mesh by an entry: their labels are not looked at.
    if (f.objects.workloadEntries.some((w) => everywhere || w.metadata.namespace === namespace)) return [];
    const selected = f.objects.pods.filter((x) => isRunning(x) && (everywhere || x.metadata.namespace === namespace) && hasLabels(selector, labelsOf(x)));
    return [finding("AMB0702", `AuthorizationPolicy ${keyOf(p)}`, selected.length === 0 ? "it selects no pod: nobody enforces it" : `it selects ${selected.length} pods and none of them is in the mesh: nobody enforces it`,
      selected.length === 0 ? "compare spec.selector with kubectl get pods --show-labels" : `enrol them: kubectl label namespace ${namespace} istio.io/dataplane-mode=ambient`)];
  });
}

const isForWaypoint = (p: KubeObject): boolean => {
  const spec = record(p["spec"]);
  return list(spec["targetRefs"]).length > 0 || text(record(spec["targetRef"])["name"]) !== "";
};

const misunderstood = (f: Facts): Finding[] => f.misunderstood.map((m) => finding("AMB0703", m.object, m.message, "ambit analyze names every such place; what is not understood is refused, never ignored"));
