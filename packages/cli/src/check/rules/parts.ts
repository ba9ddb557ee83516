// Decides whether the parts of the mesh are there, ready, of one version, one on each node, and led.
import type { KubeObject, Pod } from "@ambit/kube";
import { finding, names, type Finding } from "../model/finding.ts";
import { canRead, isGoing, isReadyPod, isYoung, keyOf, labelsOf, list, MESH_NAMESPACE, MODE_LABEL, partOf, record, stringMap, text, type Facts, type Part } from "../model/facts.ts";
import { letsThrough, policiesFor } from "./network-policy.ts";
import { imagesOf } from "./platform.ts";
import { hasLabels } from "./selectors.ts";

const PARTS: readonly { readonly part: Part; readonly kind: "deployments" | "daemonSets"; readonly chart: string }[] = [
  { part: "istiod", kind: "deployments", chart: "istiod-lite" },
  { part: "istio-cni-node", kind: "daemonSets", chart: "cni" },
  { part: "ztunnel", kind: "daemonSets", chart: "ztunnel" },
];
const XDS_PORT = 15012;
/** Namespaces whose pods the mesh itself, or the cluster, stands on. */
const SYSTEM = ["kube-system", MESH_NAMESPACE];

const setsOf = (f: Facts, { part, kind }: (typeof PARTS)[number]): readonly KubeObject[] =>
  f.objects[kind].filter((d) => d.metadata.namespace === MESH_NAMESPACE && (part === "istiod" ? labelsOf(d)["app"] === "istiod" : d.metadata.name === part || labelsOf(d)["app"] === part));
const readable = (f: Facts): boolean => canRead(f, "deployments") && canRead(f, "daemonSets");

export const isInstalled = (f: Facts): boolean => !readable(f) || PARTS.some((p) => setsOf(f, p).length > 0) || f.objects.pods.some((p) => partOf(p) !== undefined);

export function judgeParts(f: Facts): Finding[] {
  return [...missing(f), ...notReady(f), ...perNode(f), ...versions(f), ...leader(f), ...systemEnrolled(f), ...service(f), ...plugin(f), ...unreachable(f)];
}

const missing = (f: Facts): Finding[] => PARTS.filter((p) => readable(f) && setsOf(f, p).length === 0)
  .map(({ part, kind, chart }) => finding("AMB0201", `${kind === "deployments" ? "Deployment" : "DaemonSet"} ${MESH_NAMESPACE}/${part}`, "it is not there", `ambit install, or with Helm: helm upgrade --install ${chart} manifests/charts/${chart} -n ${MESH_NAMESPACE}`));

function notReady(f: Facts): Finding[] {
  return f.objects.pods.filter((p) => partOf(p) !== undefined && !isGoing(p) && !isReadyPod(p) && !isYoung(f, p)).map((p) =>
    finding("AMB0202", `Pod ${keyOf(p)}`, `it is not ready${p.spec.nodeName === undefined ? "" : ` on ${p.spec.nodeName}`}: ${whyNotReady(p)}`, `kubectl -n ${MESH_NAMESPACE} logs ${p.metadata.name}; kubectl -n ${MESH_NAMESPACE} describe pod ${p.metadata.name}`));
}

function whyNotReady(p: Pod): string {
  for (const c of list(p.status?.["containerStatuses"])) {
    const { waiting, terminated } = record(record(c)["state"]);
    const said = record(waiting ?? terminated);
    if (text(said["reason"]) !== "") return `${text(said["reason"])}${text(said["message"]) === "" ? "" : `: ${text(said["message"])}`}`;
  }
  const condition = p.status?.conditions?.find((c) => (c.type === "PodScheduled" || c.type === "Ready") && c.status === "False");
  return condition?.message ?? condition?.reason ?? p.status?.phase ?? "it says nothing";
}

function perNode(f: Facts): Finding[] {
  if (!canRead(f, "nodes") || !canRead(f, "pods")) return [];
  const linux = f.objects.nodes.filter((n) => (stringMap(record(n.status)["nodeInfo"])["operatingSystem"] ?? "linux") === "linux" && !isYoung(f, n));
  return PARTS.filter((p) => p.kind === "daemonSets" && setsOf(f, p).length > 0).flatMap(({ part }) => {
    const without = linux.filter((n) => !f.objects.pods.some((p) => partOf(p) === part && p.spec.nodeName === n.metadata.name && !isGoing(p))).map((n) => n.metadata.name);
    return without.length === 0 ? [] : [finding("AMB0203", names(without.map((n) => `Node ${n}`)), `no ${part} there: pods of enrolled namespaces do not start, or are not in the mesh`, `kubectl -n ${MESH_NAMESPACE} describe daemonset ${part} says why (nodeSelector, tolerations, quota)`)];
  });
}

const tagOf = (image: string): string => /[:@]([^:/@]+)$/.exec(image.replace(/@sha256:.*/, ""))?.[1] ?? image;
function versions(f: Facts): Finding[] {
  const tags = PARTS.flatMap((p) => setsOf(f, p).map((d) => ({ name: `${p.part} ${tagOf(imagesOf(d)[0] ?? "")}`, tag: tagOf(imagesOf(d)[0] ?? "") })));
  const behind = f.objects.pods.filter((p) => partOf(p) !== undefined && !isGoing(p) && !isYoung(f, p) && !tags.some((t) => t.tag === tagOf(p.spec.containers[0]?.image ?? "")));
  if (new Set(tags.map((t) => t.tag)).size < 2 && (behind.length === 0 || tags.length === 0)) return [];
  const old = behind.length === 0 ? "" : `; still of another: ${names(behind.map((p) => `${p.metadata.name} (${tagOf(p.spec.containers[0]?.image ?? "")})`))}`;
  return [finding("AMB0204", `Namespace ${MESH_NAMESPACE}`, `versions differ: ${tags.map((t) => t.name).join(", ")}${old}`, "bring all to one version: istiod first, then istio-cni-node, then ztunnel; kubectl rollout status says how far each is")];
}

function leader(f: Facts): Finding[] {
  const running = f.objects.pods.filter((p) => partOf(p) === "istiod" && isReadyPod(p) && !isGoing(p));
  if (!canRead(f, "leases") || running.every((p) => isYoung(f, p))) return [];
  const revisions = new Set(running.map((p) => labelsOf(p)["istio.io/rev"] ?? "default"));
  return [...revisions].flatMap((revision) => {
    const name = revision === "default" ? "istio-status-leader" : `istio-status-leader-${revision}`;
    const lease = f.objects.leases.find((l) => l.metadata.namespace === MESH_NAMESPACE && l.metadata.name === name);
    const spec = record(lease?.["spec"]);
    const left = Date.parse(text(spec["renewTime"])) + 2000 * Number(spec["leaseDurationSeconds"] ?? 0) - f.now;
    if (left > 0 && text(spec["holderIdentity"]) !== "") return [];
    return [finding("AMB0205", `Lease ${MESH_NAMESPACE}/${name}`, lease === undefined ? `${running.length} istiod run and none made it` : `its holder ${text(spec["holderIdentity"]) || "(nobody)"} renewed it last at ${text(spec["renewTime"])}`,
      `kubectl auth can-i update leases -n ${MESH_NAMESPACE} --as system:serviceaccount:${MESH_NAMESPACE}:istiod must say yes; then kubectl -n ${MESH_NAMESPACE} rollout restart deployment istiod`)];
  });
}

const systemEnrolled = (f: Facts): Finding[] => f.objects.namespaces.filter((n) => SYSTEM.includes(n.metadata.name) && labelsOf(n)[MODE_LABEL] === "ambient").map((n) =>
  finding("AMB0207", `Namespace ${n.metadata.name}`, "it is enrolled: what the mesh and the cluster stand on must not depend on the mesh", `kubectl label namespace ${n.metadata.name} ${MODE_LABEL}-`));

function service(f: Facts): Finding[] {
  if (!canRead(f, "services") || !canRead(f, "pods") || setsOf(f, PARTS[0] as (typeof PARTS)[number]).length === 0) return [];
  const istiod = f.objects.services.find((s) => s.metadata.namespace === MESH_NAMESPACE && s.metadata.name === "istiod");
  const where = `Service ${MESH_NAMESPACE}/istiod`;
  const port = istiod?.spec.ports?.find((p) => p.port === XDS_PORT);
  if (istiod === undefined || port === undefined) return [finding("AMB0208", where, istiod === undefined ? "it is not there: no ztunnel finds istiod" : `it has no port ${XDS_PORT}`, `ambit install, or with Helm: helm upgrade --install istiod-lite manifests/charts/istiod-lite -n ${MESH_NAMESPACE}`)];
  const behind = f.objects.pods.filter((p) => p.metadata.namespace === MESH_NAMESPACE && hasLabels(istiod.spec.selector ?? {}, labelsOf(p)) && isReadyPod(p) && !isGoing(p));
  const server = behind[0];
  if (server === undefined) return [finding("AMB0208", where, "no ready pod is behind it: proxies get neither configuration nor certificates", `make istiod ready (kubectl -n ${MESH_NAMESPACE} get pods -l app=istiod), and see that the Service's selector meets its labels`)];
  const policies = policiesFor(f.objects.networkPolicies, server, "Ingress");
  const cut = f.objects.pods.filter((p) => partOf(p) === "ztunnel" && !isGoing(p)).find((p) => policies.length > 0 && !letsThrough(policies, "Ingress", {
    ip: p.status?.podIP ?? "", pod: { namespace: MESH_NAMESPACE, labels: labelsOf(p), namespaceLabels: labelsOf(f.objects.namespaces.find((n) => n.metadata.name === MESH_NAMESPACE) ?? p) },
  }, Number(port.targetPort ?? XDS_PORT), server));
  return cut === undefined ? [] : [finding("AMB0208", names(policies.map((p) => `NetworkPolicy ${keyOf(p)}`)), `they keep ${cut.metadata.name} from port ${XDS_PORT} of istiod`, `allow TCP ${XDS_PORT} to pods app=istiod from all pods of ${MESH_NAMESPACE} and from waypoints' namespaces`)];
}

const plugin = (f: Facts): Finding[] => f.agents.filter((a) => a.pluginProblem !== undefined).map((a) =>
  finding("AMB0209", `Node ${a.node}`, `${a.pod} says: ${a.pluginProblem}`, "look at /etc/cni/net.d of the node: the primary plugin's configuration must be there and be JSON, and nothing else may rewrite it; the agent puts its plugin last by itself"));

const unreachable = (f: Facts): Finding[] => f.ztunnels.filter((z) => z.problem !== undefined).map((z) =>
  finding("AMB0210", `Pod ${MESH_NAMESPACE}/${z.pod}`, `its config dump could not be read, so certificates on ${z.node} were not checked: ${z.problem}`, `kubectl on the path and the right to port-forward are needed: kubectl -n ${MESH_NAMESPACE} port-forward pod/${z.pod} 15000`));
