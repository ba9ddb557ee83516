// Owns how a Pod becomes a workload (protocol.md §10.1, §7.2–7.4).
import type { Collection, Context, Index } from "@ambit/collections";
import { parseIp, type Ip, type Workload } from "@ambit/core";
import type { Pod } from "@ambit/kube";
import type { ManualSlice } from "./endpoint-slices.ts";
import { NO_LOCALITY, type NodeInfo } from "./namespaces.ts";
import { gatewayToNetwork, localOf, type GatewayInputs } from "./networks.ts";
import type { MeshScope } from "./scope.ts";
import { strictPoliciesOf, type PeerAuthInputs } from "./peer-authentication.ts";
import type { PolicyInfo } from "./policies.ts";
import type { NamedPort, ServiceInfo } from "./services.ts";
import { ANNOTATIONS, LABELS, selects, type LabelMap, type Settings } from "./settings.ts";
import { waypointPoliciesOf } from "./waypoint-only.ts";
import { addressOfBinding, bindWaypoint, type Waypoint, type WaypointInputs } from "./waypoints.ts";

export interface WorkloadInputs extends WaypointInputs, GatewayInputs {
  readonly scope: Collection<MeshScope>;
  readonly settings: Settings;
  readonly nodes: Collection<NodeInfo>;
  readonly services: Collection<ServiceInfo>;
  /** Only services that select; value: namespace. */
  readonly selectingServices: Index<ServiceInfo>;
  readonly slices: Collection<ManualSlice>;
  /** Value: `namespace/pod`. */
  readonly slicesByPod: Index<ManualSlice>;
  readonly policies: Collection<PolicyInfo>;
  /** Value: namespace of attachment, or "*". */
  readonly policiesByAttachment: Index<PolicyInfo>;
  readonly peerAuth: PeerAuthInputs;
}

export function podWorkload(inputs: WorkloadInputs) {
  return (ctx: Context, pod: Pod): Workload | undefined => {
    const phase = pod.status?.phase;
    if (phase === "Succeeded" || phase === "Failed") return undefined;
    const addresses = addressesOf(pod);
    if (addresses.length === 0) return undefined;
    const { name, namespace = "", labels = {}, annotations = {} } = pod.metadata;
    const { settings } = inputs;
    const gateway = gatewayOf(ctx, inputs, namespace, labels);
    const serviceAccount = pod.spec.serviceAccountName || "default";
    const binding = gateway === undefined ? bindWaypoint(ctx, inputs, { namespace, labels, annotations, traffic: "workload", serviceAccount }) : undefined;
    const node = pod.spec.nodeName ?? "";
    const local = localOf(ctx, inputs);
    const workloadName = labels["service.istio.io/workload-name"] ?? ownerName(pod);
    const nativeTunnel = hasNativeTunnel(labels);
    return {
      uid: `${settings.clusterId}//Pod/${namespace}/${name}`, name, namespace, addresses, hostname: "",
      network: local.network,
      protocol: nativeTunnel || annotations[ANNOTATIONS.redirection] === "enabled" ? "hbone" : "tcp",
      nativeTunnel,
      identity: { trustDomain: local.trustDomain, namespace, serviceAccount },
      waypoint: addressOfBinding(binding),
      networkGateway: gatewayToNetwork(ctx, inputs, local.network), node,
      ...canonical(labels, workloadName), workloadType: "pod", workloadName,
      authorizationPolicies: [...new Set([...policiesSelecting(ctx, inputs, namespace, labels), ...waypointPoliciesOf(settings, binding, settings.waypointOnly ? selecting(ctx, inputs, namespace, labels) : [])])].sort(),
      healthy: isReady(pod) && pod.metadata.deletionTimestamp === undefined,
      clusterId: settings.clusterId,
      services: servicesOf(ctx, inputs, pod, namespace, labels),
      applicationTunnel: gateway?.inbound,
      locality: ctx.fetchOne(inputs.nodes, { key: node })?.locality ?? NO_LOCALITY,
      hostNetwork: pod.spec.hostNetwork === true,
      capacity: 1,
    };
  };
}

/** One address that is none makes the pod unaddressable as a whole, rather than reachable in part. */
function addressesOf(pod: Pod): Ip[] {
  const texts = pod.status?.podIPs?.map((p) => p.ip) ?? [];
  if (texts.length === 0 && pod.status?.podIP !== undefined) texts.push(pod.status.podIP);
  const out: Ip[] = [];
  for (const text of texts) {
    if (text === "") continue;
    const ip = parseIp(text);
    if (!ip.ok) return [];
    if (!out.includes(ip.value)) out.push(ip.value);
  }
  return out;
}

const isReady = (pod: Pod): boolean => pod.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;

/** An instance of a Gateway has no waypoint, but the tunnel that its Gateway declares. */
export function gatewayOf(ctx: Context, inputs: Pick<WorkloadInputs, "waypoints">, namespace: string, labels: LabelMap): Waypoint | undefined {
  const name = labels[LABELS.gatewayName];
  return name === undefined ? undefined : ctx.fetchOne(inputs.waypoints, { key: `${namespace}/${name}` });
}

/** The label is a comma list; `http` in it says that the workload speaks HBONE by itself. */
export const hasNativeTunnel = (labels: LabelMap): boolean => (labels[LABELS.tunnel] ?? "").split(",").includes("http");

export function canonical(labels: LabelMap, workloadName: string): Pick<Workload, "canonicalName" | "canonicalRevision"> {
  return {
    canonicalName: labels["service.istio.io/canonical-name"] ?? labels["app.kubernetes.io/name"] ?? labels["app"] ?? workloadName,
    canonicalRevision: labels["service.istio.io/canonical-revision"] ?? labels["app.kubernetes.io/version"] ?? labels["version"] ?? "latest",
  };
}

const CRON_JOB = /^(.+)-\d{8,10}$/;

/** What a user would call the pod's controller. Only a generated name has an owner worth asking. */
function ownerName(pod: Pod): string {
  const owner = (pod.metadata.generateName ?? "") === "" ? undefined : pod.metadata.ownerReferences?.find((o) => o.controller === true);
  if (owner === undefined) return pod.metadata.name;
  const labels = pod.metadata.labels ?? {};
  const hash = labels["pod-template-hash"] ?? labels["rollouts-pod-template-hash"] ?? "";
  if (owner.kind === "ReplicaSet" && hash !== "" && owner.name.endsWith(`-${hash}`)) return owner.name.slice(0, -hash.length - 1);
  if (owner.kind === "ReplicationController" && (labels["deploymentconfig"] ?? "") !== "") return labels["deploymentconfig"] ?? "";
  if (owner.kind === "Job") return CRON_JOB.exec(owner.name)?.[1] ?? owner.name;
  return owner.name;
}

export function policiesSelecting(ctx: Context, inputs: Pick<WorkloadInputs, "policies" | "policiesByAttachment" | "peerAuth">, namespace: string, labels: LabelMap): string[] {
  const names = new Set(strictPoliciesOf(ctx, inputs.peerAuth, namespace, labels));
  for (const level of [namespace, "*"])
    for (const p of ctx.fetch(inputs.policies, { index: [inputs.policiesByAttachment, level], where: (i) => i.attachment !== undefined && selects(i.attachment.labels, labels) }))
      names.add(p.key);
  return [...names].sort();
}

const selecting = (ctx: Context, inputs: WorkloadInputs, namespace: string, labels: LabelMap): readonly ServiceInfo[] =>
  ctx.fetch(inputs.services, { index: [inputs.selectingServices, namespace], where: (s) => s.selector !== undefined && selects(s.selector, labels) });

function servicesOf(ctx: Context, inputs: WorkloadInputs, pod: Pod, namespace: string, labels: LabelMap): Map<string, Map<number, number>> {
  const out = new Map<string, Map<number, number>>();
  for (const s of selecting(ctx, inputs, namespace, labels)) out.set(s.key, portsOf(s.ports, (name) => containerPort(pod, name)));
  for (const slice of ctx.fetch(inputs.slices, { index: [inputs.slicesByPod, `${namespace}/${pod.metadata.name}`] })) {
    if (!slice.pods.some((p) => p.name === pod.metadata.name && p.uid === pod.metadata.uid)) continue;
    out.set(slice.service, new Map([...(out.get(slice.service) ?? []), ...slice.ports]));
  }
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Service port → target port. A named port that the endpoint lacks has no entry; TCP wins over UDP of the same number. */
function portsOf(ports: readonly NamedPort[], resolve: (name: string) => number | undefined): Map<number, number> {
  const out = new Map<number, number>();
  for (const p of [...ports.filter((q) => !q.tcp), ...ports.filter((q) => q.tcp)]) {
    const target = typeof p.target === "number" ? p.target : resolve(p.target);
    if (target !== undefined) out.set(p.port, target);
  }
  return new Map([...out].sort(([a], [b]) => a - b));
}

/** Native sidecars count: they run beside the containers. */
function containerPort(pod: Pod, name: string): number | undefined {
  const running = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always")];
  for (const c of running)
    for (const p of c.ports ?? []) if (p.name === name && (p.protocol ?? "TCP") === "TCP") return p.containerPort;
  return undefined;
}
