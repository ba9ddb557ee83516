// Decides whether a cluster is one that the mesh can be installed on and run in.
import type { KubeObject } from "@ambit/kube";
import { finding, names, type Finding } from "../model/finding.ts";
import { canRead, conditionsOf, keyOf, labelsOf, list, MESH_NAMESPACE, record, stringMap, text, type Facts } from "../model/facts.ts";

/** Validation rules (CEL) in CRDs are stable from here on; the Gateway API's CRDs are made of them. */
const SERVER_MINOR_MIN = 29;
/** inet NAT of nftables came with 5.2, pidfds with 5.3: this is the first long-term kernel with both. */
const KERNEL_MIN = [5, 4] as const;
const PROCESSORS = ["amd64", "arm64"];
/** Beyond this a certificate made now may be refused elsewhere. Istio's and our CA date back by a little more. */
const CLOCK_WARN_MS = 30_000;
const CLOCK_ERROR_MS = 5 * 60_000;
/** Kubelets renew their Lease every 10 s. */
const LEASE_LATE_MS = 60_000;

/** Group, plural and version of the custom kinds that are read. */
const CRDS: readonly (readonly [string, string])[] = [
  ["gatewayclasses.gateway.networking.k8s.io", "v1"], ["gateways.gateway.networking.k8s.io", "v1"], ["httproutes.gateway.networking.k8s.io", "v1"], ["grpcroutes.gateway.networking.k8s.io", "v1"],
  ["authorizationpolicies.security.istio.io", "v1"], ["peerauthentications.security.istio.io", "v1"], ["requestauthentications.security.istio.io", "v1"], ["telemetries.telemetry.istio.io", "v1"],
  ["serviceentries.networking.istio.io", "v1"], ["workloadentries.networking.istio.io", "v1"], ["virtualservices.networking.istio.io", "v1"], ["destinationrules.networking.istio.io", "v1"],
];

export function judgePlatform(f: Facts): Finding[] {
  return [...server(f), ...permissions(f), ...unread(f), ...crds(f), ...otherMeshes(f), ...cilium(f), ...calico(f), ...nodes(f), ...podSecurity(f), ...clocks(f), ...meta(f), ...quota(f)];
}

function server(f: Facts): Finding[] {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(f.version) ?? [];
  if (major === undefined || Number(major) > 1 || Number(minor) >= SERVER_MINOR_MIN) return [];
  return [finding("AMB0101", "API server", `it is ${f.version}: CRDs with validation rules need 1.${SERVER_MINOR_MIN}`, `upgrade Kubernetes to 1.${SERVER_MINOR_MIN} or later`)];
}

const permissions = (f: Facts): Finding[] => (f.forbidden.length === 0 ? [] : [finding("AMB0102", "you", `you may not ${names(f.forbidden)}`, "install as a user with the ClusterRole cluster-admin, or have these granted; kubectl auth can-i VERB RESOURCE shows each")]);

const unread = (f: Facts): Finding[] => f.unread.map((u) => finding("AMB0111", u.kind, `not checked: ${u.why}`, `let the user who asks get and list ${u.kind}, then ask again`));

function crds(f: Facts): Finding[] {
  return CRDS.flatMap(([name, version]) => {
    const crd = f.objects.crds.find((c) => c.metadata.name === name);
    const served = list(record(crd?.["spec"])["versions"]).filter((v) => record(v)["served"] === true).map((v) => text(record(v)["name"]));
    if (crd === undefined || served.includes(version)) return [];
    const bundle = crd.metadata.annotations?.["gateway.networking.k8s.io/bundle-version"];
    return [finding("AMB0103", `CustomResourceDefinition ${name}`, `it serves ${served.join(", ") || "no version"}${bundle === undefined ? "" : ` (bundle ${bundle})`}, not ${version}`,
      name.endsWith("k8s.io") ? "kubectl apply --server-side -f manifests/charts/base/crds/gateway-api (v1.5.0), or a newer bundle of the Gateway API" : "kubectl apply --server-side -f manifests/charts/base/crds/istio, or the CRDs of Istio 1.24 or later")];
  });
}

const OTHERS: readonly { readonly mesh: string; readonly is: (labels: Readonly<Record<string, string>>) => boolean }[] = [
  { mesh: "Linkerd", is: (l) => l["linkerd.io/control-plane-component"] !== undefined },
  { mesh: "Kuma", is: (l) => l["app"] === "kuma-control-plane" || l["app.kubernetes.io/name"] === "kuma" },
  { mesh: "Consul", is: (l) => l["app"] === "consul" && l["component"] === "connect-injector" },
  { mesh: "Open Service Mesh", is: (l) => l["app"] === "osm-controller" },
  { mesh: "Kmesh", is: (l) => l["app"] === "kmesh" },
];

function otherMeshes(f: Facts): Finding[] {
  const sets = [...f.objects.deployments, ...f.objects.daemonSets];
  const others = OTHERS.flatMap(({ mesh, is }) => {
    const found = sets.filter((d) => is(labelsOf(d)));
    return found.length === 0 ? [] : [finding("AMB0104", names(found.map((d) => `${d.kind} ${keyOf(d)}`)), `${mesh} runs here`, `no pod can be in two meshes: leave ${mesh}'s namespaces unlabelled, or remove ${mesh} first`, "Warning")];
  });
  const istiods = f.objects.deployments.filter((d) => labelsOf(d)["app"] === "istiod");
  const rivals = istiods.filter((d) => d.metadata.namespace !== MESH_NAMESPACE || imagesOf(d).some((i) => /(^|\/)pilot[:@]/.test(i)));
  return [...others, ...rivals.map((d) => finding("AMB0104", `Deployment ${keyOf(d)}`, `another istiod (${imagesOf(d).join(", ")}): both would write istio-ca-root-cert, statuses and the same names`,
    d.metadata.namespace === MESH_NAMESPACE ? `scale it to 0 and take its webhooks away before Ambit's istiod takes over: kubectl -n ${MESH_NAMESPACE} delete deployment ${d.metadata.name}` : "remove it, or keep the two apart with discoverySelectors and revisions"))];
}
export const imagesOf = (o: KubeObject): string[] => list(record(record(record(o["spec"])["template"])["spec"])["containers"]).map((c) => text(record(c)["image"]));

function cilium(f: Facts): Finding[] {
  const config = f.objects.configMaps.find((c) => c.metadata.namespace === "kube-system" && c.metadata.name === "cilium-config");
  if (config === undefined) return [];
  const data = stringMap(config.data);
  const replaces = data["kube-proxy-replacement"] === "true" || data["kube-proxy-replacement"] === "strict";
  const where = "ConfigMap kube-system/cilium-config";
  return [
    ...(replaces && data["bpf-lb-sock"] !== "false" && data["bpf-lb-sock-hostns-only"] !== "true"
      ? [finding("AMB0105", where, "Cilium chooses a Service's endpoint inside the pod's own socket: ztunnel sees no Service, so routes and waypoints are passed by", "helm upgrade cilium --set socketLB.hostNamespaceOnly=true, and restart Cilium's pods")] : []),
    ...(data["cni-exclusive"] === "true" ? [finding("AMB0105", where, "Cilium renames CNI configurations that are not its own, and takes our plugin out of the chain", "helm upgrade cilium --set cni.exclusive=false, and restart Cilium's pods")] : []),
    ...(data["enable-bpf-masquerade"] === "true" ? [finding("AMB0105", where, "eBPF masquerading rewrites the address that probes of enrolled pods come from: they fail", "helm upgrade cilium --set bpf.masquerade=false")] : []),
  ];
}

function calico(f: Facts): Finding[] {
  return f.objects.felixConfigurations.flatMap((c) => {
    const spec = record(c["spec"]);
    const mode = spec["bpfConnectTimeLoadBalancing"];
    if (spec["bpfEnabled"] !== true || mode === "Disabled" || (mode === undefined && spec["bpfConnectTimeLoadBalancingEnabled"] === false)) return [];
    return [finding("AMB0112", `FelixConfiguration ${c.metadata.name}`, "Calico chooses a Service's endpoint when a pod connects: ztunnel sees no Service, so routes and waypoints are passed by", `kubectl patch felixconfiguration ${c.metadata.name} --type=merge -p '{"spec":{"bpfConnectTimeLoadBalancing":"Disabled"}}'`)];
  });
}

function nodes(f: Facts): Finding[] {
  return f.objects.nodes.flatMap((n) => {
    const info = stringMap(record(n.status)["nodeInfo"]);
    const where = `Node ${n.metadata.name}`;
    if ((info["operatingSystem"] ?? "linux") !== "linux") return [finding("AMB0106", where, `it runs ${info["operatingSystem"]}: its pods cannot be in the mesh`, "keep pods of enrolled namespaces away from it with a nodeSelector kubernetes.io/os: linux", "Warning")];
    const out: Finding[] = [];
    const [, major = 0, minor = 0] = (/^(\d+)\.(\d+)/.exec(info["kernelVersion"] ?? "") ?? []).map(Number);
    if (major > 0 && (major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1])))
      out.push(finding("AMB0106", where, `its kernel is ${info["kernelVersion"]}: redirection needs ${KERNEL_MIN.join(".")} (NAT of nftables in family inet, pidfds)`, `bring a kernel of ${KERNEL_MIN.join(".")} or later onto the node (${info["osImage"] ?? "its system"})`));
    if (info["architecture"] !== undefined && !PROCESSORS.includes(info["architecture"])) out.push(finding("AMB0106", where, `its processor is ${info["architecture"]}: there are images for ${PROCESSORS.join(" and ")}`, "taint the node for what is not in the mesh, or build images for it"));
    const ready = conditionsOf(n.status).find((c) => c.type === "Ready");
    if (ready !== undefined && ready.status !== "True") out.push(finding("AMB0106", where, `it is not ready: ${ready.message ?? ready.reason ?? "its kubelet says nothing"}`, `kubectl describe node ${n.metadata.name}`, "Warning"));
    return out;
  });
}

function podSecurity(f: Facts): Finding[] {
  const level = labelsOf(f.objects.namespaces.find((n) => n.metadata.name === MESH_NAMESPACE) ?? { metadata: { name: "" } })["pod-security.kubernetes.io/enforce"];
  if (level === undefined || level === "privileged") return [];
  return [finding("AMB0107", `Namespace ${MESH_NAMESPACE}`, `Pod Security "${level}" is enforced there: ztunnel and istio-cni-node need host paths and capabilities and are refused`, `kubectl label namespace ${MESH_NAMESPACE} --overwrite pod-security.kubernetes.io/enforce=privileged`)];
}

function clocks(f: Facts): Finding[] {
  const level = (ms: number) => (Math.abs(ms) > CLOCK_ERROR_MS ? "Error" : "Warning");
  const mend = "let chrony or systemd-timesyncd keep the time there";
  const own = Math.abs(f.aheadMs) <= CLOCK_WARN_MS ? [] : [finding("AMB0108", "this machine", `its clock is ${spoken(f.aheadMs)} of the API server's`, mend, "Warning")];
  return [...own, ...f.objects.leases.filter((l) => l.metadata.namespace === "kube-node-lease").flatMap((l) => {
    const node = f.objects.nodes.find((n) => n.metadata.name === l.metadata.name);
    const ahead = Date.parse(text(record(l["spec"])["renewTime"])) - f.now;
    // A node that is ready has renewed its Lease lately: what its Lease lags behind is its clock.
    const ready = node !== undefined && conditionsOf(node.status).some((c) => c.type === "Ready" && c.status === "True");
    if (!ready || Number.isNaN(ahead) || (ahead <= CLOCK_WARN_MS && ahead >= -LEASE_LATE_MS)) return [];
    return [finding("AMB0108", `Node ${l.metadata.name}`, `its clock is about ${spoken(ahead)} of the API server's: its pods will find certificates expired, or not yet valid`, mend, level(ahead))];
  })];
}
const spoken = (ms: number): string => `${Math.round(Math.abs(ms) / 1000)} s ${ms > 0 ? "ahead" : "behind"}`;

function meta(f: Facts): Finding[] {
  const multus = f.objects.daemonSets.find((d) => /multus/.test(d.metadata.name));
  const config = stringMap(f.objects.configMaps.find((c) => c.metadata.namespace === MESH_NAMESPACE && c.metadata.name === "istio-cni-config")?.data);
  if (multus === undefined || config["CHAINED_CNI_PLUGIN"] === "false" || (config["CNI_CONF_NAME"] ?? "") !== "") return [];
  return [finding("AMB0109", `DaemonSet ${keyOf(multus)}`, "Multus writes the lexically first CNI configuration, which our plugin would be chained to", `name the primary plugin's file: CNI_CONF_NAME in ConfigMap ${MESH_NAMESPACE}/istio-cni-config (a value of the chart)`)];
}

function quota(f: Facts): Finding[] {
  if (!f.version.includes("-gke.") || !canRead(f, "resourceQuotas") || f.objects.resourceQuotas.some((q) => q.metadata.namespace === MESH_NAMESPACE)) return [];
  return [finding("AMB0110", `Namespace ${MESH_NAMESPACE}`, "GKE lets pods of priority system-node-critical run only in kube-system and where a ResourceQuota names that priority", `create a ResourceQuota in ${MESH_NAMESPACE} with scopeSelector PriorityClass In [system-node-critical]; the chart's platform profile gke does`)];
}
