// Owns how a ServiceEntry becomes services, one per host, and workloads for its inline endpoints or names (§10.1, §10.2, §14.12–16).
import type { Collection, Context, Group, Index } from "@ambit/collections";
import { parseIp, serviceKey, type LoadBalancing, type Problem, type ServicePort, type Vip, type Workload } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { decodeServiceEntry, type EndpointSpec, type ServiceEntrySpec } from "./entry-spec.ts";
import { NO_LOCALITY } from "./namespaces.ts";
import { gatewayToNetwork, localOf } from "./networks.ts";
import { canonical, hasNativeTunnel, policiesSelecting, type WorkloadInputs } from "./pods.ts";
import { appProtocol, distributionOf, ingressUseWaypoint, preferenceOf, waypointFields, type NamedPort, type Owner, type ServiceInfo, type ServiceInputs } from "./services.ts";
import { entryVisibility } from "./scope.ts";
import { ANNOTATIONS, LABELS, type LabelMap } from "./settings.ts";
import type { EntryVisibility } from "./mesh-config.ts";
import { addressOfBinding, bindWaypoint, type Binding } from "./waypoints.ts";

export interface EntryInfo {
  /** `namespace/name`. */
  readonly key: string;
  readonly owner: Owner;
  readonly labels: LabelMap;
  readonly annotations: LabelMap;
  /** Undefined: refused. */
  readonly spec: ServiceEntrySpec | undefined;
  readonly problems: readonly Problem[];
  readonly binding: Binding;
  /** What the mesh says of entries in its namespace; undefined: nothing. */
  readonly visibility: EntryVisibility | undefined;
  readonly ingressUseWaypoint: boolean;
  /** Host → addresses allocated to it. */
  readonly allocated: ReadonlyMap<string, readonly Vip[]>;
}

export function entryOf(inputs: ServiceInputs) {
  return (ctx: Context, o: KubeObject): EntryInfo => {
    const { name, namespace = "", labels = {}, annotations = {} } = o.metadata;
    const decoded = decodeServiceEntry(o);
    const spec = decoded.ok ? decoded.spec : undefined;
    const visibility = entryVisibility(ctx, inputs, ctx.fetchOne(inputs.namespaces, { key: namespace })?.labels ?? {});
    return {
      key: `${namespace}/${name}`, owner: { kind: "ServiceEntry", namespace, name, created: o.metadata.creationTimestamp ?? "" }, labels, annotations,
      spec, problems: decoded.ok ? [] : decoded.problems,
      binding: bindWaypoint(ctx, inputs, { namespace, labels, annotations, traffic: "service", ownNamespaceOnly: visibility === "namespace" }), visibility,
      ingressUseWaypoint: ingressUseWaypoint(ctx, inputs, namespace, labels),
      allocated: spec === undefined || !wantsAllocation(spec, labels) ? new Map() : allocatedOf(o, localOf(ctx, inputs).network),
    };
  };
}

/** Addresses are allocated where there are none, where names can be resolved, and where nobody opted out (§9.7). */
export const wantsAllocation = (spec: ServiceEntrySpec, labels: LabelMap): boolean =>
  spec.resolution !== "NONE" && spec.addresses.length === 0 && labels[LABELS.autoAllocate] !== "false";
export const allocatableHosts = (spec: ServiceEntrySpec): string[] => spec.hosts.filter((h) => !h.startsWith("*") || spec.resolution === "DYNAMIC_DNS");

function allocatedOf(o: KubeObject, network: string): Map<string, Vip[]> {
  const status = o["status"] as { addresses?: unknown } | null | undefined;
  const out = new Map<string, Vip[]>();
  for (const a of Array.isArray(status?.addresses) ? (status.addresses as { value?: unknown; host?: unknown }[]) : []) {
    const ip = parseIp(String(a?.value ?? ""));
    if (!ip.ok) continue;
    const host = String(a.host ?? "");
    const vips = out.get(host) ?? [];
    vips.push({ network, cidr: { ip: ip.value, prefix: ip.value.includes(":") ? 128 : 32 } });
    out.set(host, vips);
  }
  return out;
}

/** One service per host, under the entry's name; who wins a host is settled afterwards. */
export function entryServices(inputs: ServiceInputs) {
  return (ctx: Context, e: EntryInfo): ServiceInfo[] => {
    const { spec } = e;
    if (spec === undefined || e.visibility === "none") return [];
    const { namespace, name } = e.owner;
    const { network } = localOf(ctx, inputs);
    const distribution = distributionOf(ctx, inputs, namespace, e.annotations);
    return spec.hosts.map((hostname): ServiceInfo => ({
      key: serviceKey(namespace, hostname),
      service: {
        name, namespace, hostname,
        vips: spec.addresses.length > 0 ? spec.addresses.map((cidr) => ({ network, cidr })) : (e.allocated.get(hostname) ?? []),
        ports: portMap(spec), subjectAltNames: spec.subjectAltNames, ...waypointFields(e.binding),
        loadBalancing: balancingOf(spec, distribution), ipFamilies: "automatic", canonical: false, visibility: e.visibility === "namespace" ? "namespace" : "public",
      },
      ingressUseWaypoint: e.ingressUseWaypoint, selector: spec.selector, ports: namedPorts(spec), binding: e.binding, owner: e.owner,
    }));
  };
}

/** Inside a namespace the oldest entry of a host has it; across namespaces the oldest one is canonical, unless a Service has the name. */
export function hostWinner(kubeServices: Collection<ServiceInfo>, kubeByHost: Index<ServiceInfo>, claims: Collection<ServiceInfo>, claimsByHost: Index<ServiceInfo>) {
  return (ctx: Context, rivals: Group<ServiceInfo>): ServiceInfo | undefined => {
    const winner = eldest(rivals.items);
    if (winner === undefined) return undefined;
    const host = winner.service.hostname;
    const first = ctx.fetch(kubeServices, { index: [kubeByHost, host] }).length === 0 ? eldest(ctx.fetch(claims, { index: [claimsByHost, host], where: (c) => c.service.visibility === "public" })) : undefined;
    return first?.key === winner.key && first.owner.name === winner.owner.name ? { ...winner, service: { ...winner.service, canonical: true } } : winner;
  };
}

function eldest(infos: readonly ServiceInfo[]): ServiceInfo | undefined {
  const rank = (s: ServiceInfo): string => `${s.owner.created} ${s.owner.namespace}/${s.owner.name}`;
  let best: ServiceInfo | undefined;
  for (const s of infos) if (best === undefined || rank(s) < rank(best)) best = s;
  return best;
}

const namedPorts = (spec: ServiceEntrySpec): NamedPort[] =>
  spec.ports.map((p) => ({ name: p.name, port: p.number, target: p.target, tcp: p.protocol.toUpperCase() !== "UDP" }));
const portMap = (spec: ServiceEntrySpec): Map<number, ServicePort> =>
  new Map(spec.ports.map((p) => [p.number, { servicePort: p.number, targetPort: p.target, appProtocol: appProtocol(p.protocol, p.name) }]));

function balancingOf(spec: ServiceEntrySpec, distribution: string): LoadBalancing | undefined {
  if (spec.resolution === "NONE") return { mode: "passthrough", routingPreference: [], healthPolicy: "allow-all" };
  const routingPreference = preferenceOf(distribution);
  return routingPreference === undefined ? undefined : { mode: "failover", routingPreference, healthPolicy: "only-healthy" };
}

/** Inline endpoints, or for names without any one workload per host that its proxy resolves. */
export function entryWorkloads(inputs: WorkloadInputs) {
  return (ctx: Context, e: EntryInfo): Workload[] => {
    const { spec } = e;
    if (spec === undefined || spec.resolution === "NONE" || e.visibility === "none") return [];
    // A host that another owner has is not ours to add endpoints to.
    const hosts = spec.hosts.filter((h) => {
      const owner = ctx.fetchOne(inputs.services, { key: serviceKey(e.owner.namespace, h) })?.owner;
      return owner?.kind === "ServiceEntry" && owner.name === e.owner.name;
    });
    if (spec.endpoints.length > 0) return spec.endpoints.map((end) => inlineWorkload(ctx, inputs, e, end, hosts));
    if (spec.resolution === "STATIC" || spec.selector !== undefined) return [];
    return hosts.filter((h) => !h.startsWith("*")).map((h) => inlineWorkload(ctx, inputs, e, nameOnly(h), [h]));
  };
}

const nameOnly = (hostname: string): EndpointSpec =>
  ({ address: { kind: "hostname", hostname }, ports: new Map(), labels: {}, network: "", locality: NO_LOCALITY, capacity: 1, serviceAccount: "" });

/** Policies, canonical name and tunnel come from the entry's labels; only the waypoint from the endpoint's (measured, §14.12). */
function inlineWorkload(ctx: Context, inputs: WorkloadInputs, e: EntryInfo, end: EndpointSpec, hosts: readonly string[]): Workload {
  const { settings } = inputs;
  const { namespace, name } = e.owner;
  const at = end.address.kind === "ip" ? end.address.ip : end.address.kind === "hostname" ? end.address.hostname : end.network;
  const binding = bindWaypoint(ctx, inputs, { namespace, labels: end.labels, annotations: {}, traffic: "workload" });
  const ports = endpointPorts(namedPorts(e.spec ?? NO_SPEC), end);
  return {
    ...externalWorkload(ctx, inputs, namespace, name, end, e.labels, e.annotations),
    uid: `${settings.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}/${at}`,
    waypoint: addressOfBinding(binding),
    authorizationPolicies: policiesSelecting(ctx, inputs, namespace, e.labels),
    services: new Map(hosts.map((h) => serviceKey(namespace, h)).sort().map((key) => [key, ports])),
    applicationTunnel: undefined,
  };
}
const NO_SPEC: ServiceEntrySpec = { hosts: [], addresses: [], ports: [], resolution: "NONE", endpoints: [], selector: undefined, subjectAltNames: [] };

/** The endpoint's own word for a port wins: by the service port's name, then by the name of its target. */
export function endpointPorts(ports: readonly NamedPort[], end: EndpointSpec): Map<number, number> {
  const out = new Map<number, number>();
  for (const p of [...ports.filter((q) => !q.tcp), ...ports.filter((q) => q.tcp)]) {
    const target = end.ports.get(p.name) ?? (typeof p.target === "number" ? p.target : end.ports.get(p.target));
    if (target !== undefined) out.set(p.port, target);
  }
  return new Map([...out].sort(([a], [b]) => a - b));
}

/** What every workload outside a pod has in common. The network is asked anew for each endpoint: one endpoint's is not the next one's. */
export function externalWorkload(ctx: Context, inputs: WorkloadInputs, namespace: string, name: string, end: EndpointSpec, labels: LabelMap, annotations: LabelMap) {
  const { settings } = inputs;
  const local = localOf(ctx, inputs);
  // Kept to its namespace: whoever may write an entry must not take an address away from everybody else, and addresses have no namespace.
  const kept = (entryVisibility(ctx, inputs, ctx.fetchOne(inputs.namespaces, { key: namespace })?.labels ?? {}) ?? "public") !== "public";
  const net = end.network === "" ? local.network : end.network;
  const workloadName = labels["service.istio.io/workload-name"] ?? name;
  const nativeTunnel = hasNativeTunnel(labels);
  return {
    name, namespace, addresses: end.address.kind === "ip" ? [end.address.ip] : [], hostname: end.address.kind === "hostname" ? end.address.hostname : "", network: net,
    protocol: nativeTunnel || annotations[ANNOTATIONS.redirection] === "enabled" ? "hbone" : "tcp", nativeTunnel,
    identity: { trustDomain: local.trustDomain, namespace, serviceAccount: end.serviceAccount },
    networkGateway: gatewayToNetwork(ctx, inputs, net), node: "", ...canonical(labels, workloadName), workloadType: "pod", workloadName,
    healthy: true, clusterId: settings.clusterId, locality: end.locality, hostNetwork: kept, capacity: end.capacity,
  } as const satisfies Partial<Workload>;
}
