// Decides which pods should be in the mesh and are not, and why; and what lives beside it.
import type { KubeObject, Pod } from "@ambit/kube";
import { finding, names, type Finding } from "../model/finding.ts";
import { isCaptured, isGoing, isRunning, isWaypointPod, isYoung, labelsOf, list, MESH_NAMESPACE, MODE_LABEL, partOf, record, stringMap, text, type Facts } from "../model/facts.ts";

const MODES = ["ambient", "none"];
/** As the chart's default of EXCLUDE_NAMESPACES. */
const EXCLUDED = ["kube-system"];

export function judgeEnrolment(f: Facts): Finding[] {
  const spaces = new Map(f.objects.namespaces.map((n) => [n.metadata.name, n]));
  return [...unknownModes(f), ...f.objects.namespaces.flatMap((n) => besides(f, n)), ...outside(f, spaces)];
}

function unknownModes(f: Facts): Finding[] {
  return [...f.objects.namespaces.map((o) => ({ o, kind: "Namespace" })), ...f.objects.pods.filter(isRunning).map((o) => ({ o, kind: "Pod" }))].flatMap(({ o, kind }) => {
    const mode = labelsOf(o)[MODE_LABEL];
    if (mode === undefined || MODES.includes(mode)) return [];
    const on = kind === "Pod" ? `pod ${o.metadata.name} -n ${o.metadata.namespace}` : `namespace ${o.metadata.name}`;
    return [finding("AMB0404", `${kind} ${kind === "Pod" ? `${o.metadata.namespace}/` : ""}${o.metadata.name}`, `${MODE_LABEL} is "${mode}": nobody knows that value, so it enrols nothing`, `kubectl label ${on} --overwrite ${MODE_LABEL}=ambient`)];
  });
}

const hasSidecar = (p: Pod): boolean => p.metadata.annotations?.["sidecar.istio.io/status"] !== undefined
  || [...p.spec.containers, ...(p.spec.initContainers ?? [])].some((c) => c.name === "linkerd-proxy" || (c.name === "istio-proxy" && partOf(p) === undefined && !isWaypointPod(p)));
const ofGateway = (p: Pod): boolean => labelsOf(p)["gateway.networking.k8s.io/gateway-name"] !== undefined || isWaypointPod(p);

/** Sidecars, wanted or there, in a namespace that is enrolled. */
function besides(f: Facts, n: KubeObject): Finding[] {
  const labels = labelsOf(n);
  if (labels[MODE_LABEL] !== "ambient") return [];
  const { name } = n.metadata;
  const asks = labels["istio-injection"] === "enabled" ? "istio-injection" : n.metadata.annotations?.["linkerd.io/inject"] === "enabled" ? "linkerd.io/inject" : undefined;
  const out = asks === undefined ? [] : [finding("AMB0403", `Namespace ${name}`, `it is enrolled and ${asks} is on: new pods get a sidecar and stay outside the ambient mesh`, `kubectl ${asks === "istio-injection" ? "label" : "annotate"} namespace ${name} ${asks}-; then restart its workloads`)];
  const pods = f.objects.pods.filter((p) => p.metadata.namespace === name && isRunning(p) && hasSidecar(p) && !ofGateway(p));
  if (pods.length > 0) out.push(finding("AMB0403", names(pods.map((p) => `Pod ${name}/${p.metadata.name}`)), "they have a sidecar: ztunnel leaves them alone", `take the sidecar's labels away and restart them: kubectl -n ${name} rollout restart deployment`));
  return out;
}

function outside(f: Facts, spaces: ReadonlyMap<string, KubeObject>): Finding[] {
  const groups = new Map<string, { namespace: string; what: string; mend: string; code: "AMB0401" | "AMB0402"; pods: string[] }>();
  for (const p of f.objects.pods) {
    const namespace = p.metadata.namespace ?? "";
    const space = spaces.get(namespace);
    if (space === undefined || !isRunning(p) || isYoung(f, p) || !isMeant(p, space)) continue;
    const why = whyOutside(p, f);
    if (why === undefined) continue;
    const key = `${namespace} ${why.what}`;
    const group = groups.get(key) ?? { namespace, ...why, pods: [] };
    group.pods.push(p.metadata.name);
    groups.set(key, group);
  }
  return [...groups.values()].map((g) => finding(g.code, names(g.pods.map((p) => `Pod ${g.namespace}/${p}`)), g.what, g.mend));
}

/** By the labels alone. */
function isMeant(p: Pod, space: KubeObject): boolean {
  const own = labelsOf(p)[MODE_LABEL];
  if (EXCLUDED.includes(space.metadata.name) || (partOf(p) === "ztunnel" && space.metadata.name === MESH_NAMESPACE) || ofGateway(p)) return false;
  return own === "ambient" || (labelsOf(space)[MODE_LABEL] === "ambient" && own !== "none");
}

function whyOutside(p: Pod, f: Facts): { what: string; mend: string; code: "AMB0401" | "AMB0402" } | undefined {
  if (p.spec.hostNetwork === true)
    return { code: "AMB0402", what: "they use their node's network, so nothing of theirs is captured: plaintext, without identity", mend: `take hostNetwork out of them if they can do without; else say that it is meant: label ${MODE_LABEL}=none on the pod` };
  // Told above.
  if (hasSidecar(p)) return undefined;
  const condition = p.status?.conditions?.find((c) => c.type === "MeshEnrolled");
  if (condition?.status === "False") {
    const what = `not in the mesh (${condition.reason ?? "no reason"}): ${condition.message ?? ""}`;
    return { code: "AMB0401", what, mend: condition.reason === "NoZtunnel" ? `kubectl -n ${MESH_NAMESPACE} get pods -l app=ztunnel -o wide must show a ready one on ${p.spec.nodeName ?? "their node"}` : `kubectl -n ${MESH_NAMESPACE} logs ds/istio-cni-node --all-pods=true | grep '"${p.metadata.name}"'` };
  }
  if (isCaptured(p)) return undefined;
  const agent = f.objects.pods.find((a) => partOf(a) === "istio-cni-node" && a.spec.nodeName === p.spec.nodeName && !isGoing(a));
  return agent === undefined
    ? { code: "AMB0401", what: `not in the mesh: no istio-cni-node runs on ${p.spec.nodeName ?? "their node"}, so what they send is plaintext`, mend: `kubectl -n ${MESH_NAMESPACE} describe daemonset istio-cni-node` }
    : { code: "AMB0401", what: `not in the mesh, and istio-cni-node on ${p.spec.nodeName ?? "their node"} says nothing of it`, mend: `kubectl -n ${MESH_NAMESPACE} logs ${agent.metadata.name}; AMBIENT_ENABLEMENT_SELECTOR of ConfigMap ${MESH_NAMESPACE}/istio-cni-config must select them` };
}

/** Ports that the kubelet knocks on. */
export function probePorts(p: Pod): number[] {
  return [...new Set(p.spec.containers.flatMap((c) => ["livenessProbe", "readinessProbe", "startupProbe"].flatMap((kind) => {
    const probe = record(c[kind]);
    return ["httpGet", "tcpSocket", "grpc"].flatMap((how) => {
      const port = record(probe[how])["port"];
      const named = typeof port === "string" ? c.ports?.find((x) => x.name === port)?.containerPort : port;
      return typeof named === "number" ? [named] : [];
    });
  })))];
}

/** Where the node's own connections to enrolled pods come from. */
export const probeSource = (f: Facts): string =>
  text(stringMap(f.objects.configMaps.find((c) => c.metadata.namespace === MESH_NAMESPACE && c.metadata.name === "istio-cni-config")?.data)["HOST_PROBE_SNAT_IP"])
  || text(record(list(record(record(record(f.objects.daemonSets.find((d) => d.metadata.name === "istio-cni-node")?.["spec"])["template"])["spec"])["containers"]).flatMap((c) => list(record(c)["env"])).find((e) => record(e)["name"] === "HOST_PROBE_SNAT_IP"))["value"])
  || "169.254.7.127";
