// Owns how a Kubernetes Service becomes a mesh service (protocol.md §10.2, §9.4).
import { parseIp, serviceKey, type LoadBalancing, type Service, type ServicePort, type Vip } from "@ambit/core";
import type { Collection, Context } from "@ambit/collections";
import type { Service as KubeService, ServicePort as KubePort } from "@ambit/kube";
import type { NamespaceInfo } from "./namespaces.ts";
import { localOf, type Local } from "./networks.ts";
import type { MeshScope } from "./scope.ts";
import { ANNOTATIONS, LABELS, type LabelMap, type Settings } from "./settings.ts";
import { addressOfBinding, bindWaypoint, type Binding, type WaypointInputs } from "./waypoints.ts";

/** A port as its owner wrote it: what an endpoint needs to resolve its target. */
export interface NamedPort {
  readonly name: string;
  readonly port: number;
  /** A number, or the name of a container port. */
  readonly target: number | string;
  readonly tcp: boolean;
}

export interface ServiceInfo {
  /** `namespace/hostname`. */
  readonly key: string;
  readonly service: Service;
  readonly ingressUseWaypoint: boolean;
  /** Pods of the same namespace that belong to it; undefined: it selects none. */
  readonly selector: LabelMap | undefined;
  readonly ports: readonly NamedPort[];
  readonly binding: Binding;
  /** Where it came from: ties are settled by kind, then age, then name. */
  readonly owner: Owner;
}
export interface Owner { readonly kind: "Service" | "ServiceEntry"; readonly namespace: string; readonly name: string; readonly created: string }

export interface ServiceInputs extends WaypointInputs {
  readonly settings: Settings;
  readonly local: Collection<Local>;
  readonly scope: Collection<MeshScope>;
  readonly namespaces: Collection<NamespaceInfo>;
}

export const hostnameOf = (settings: Settings, namespace: string, name: string): string => `${name}.${namespace}.svc.${settings.clusterDomain}`;

export function serviceOf(inputs: ServiceInputs) {
  return (ctx: Context, o: KubeService): ServiceInfo | undefined => {
    const { spec } = o;
    if (spec.type === "ExternalName") return undefined;
    const { name, namespace = "", labels = {}, annotations = {} } = o.metadata;
    const hostname = hostnameOf(inputs.settings, namespace, name);
    const ports = (spec.ports ?? []).map((p): NamedPort => ({ name: p.name ?? "", port: p.port, target: targetOf(p), tcp: (p.protocol ?? "TCP") === "TCP" }));
    const binding = bindWaypoint(ctx, inputs, { namespace, labels, annotations, traffic: "service" });
    const { network } = localOf(ctx, inputs);
    return {
      key: serviceKey(namespace, hostname),
      service: {
        name, namespace, hostname, vips: vipsOf(spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]), network),
        ports: portMap(spec.ports ?? []), subjectAltNames: [],
        ...waypointFields(binding),
        loadBalancing: loadBalancingOf(ctx, inputs, o), ipFamilies: familiesOf(spec.ipFamilies ?? []),
        canonical: true, visibility: "public", ...clientAffinity(spec),
      },
      ingressUseWaypoint: ingressUseWaypoint(ctx, inputs, namespace, labels),
      selector: spec.selector === undefined || Object.keys(spec.selector).length === 0 ? undefined : spec.selector,
      ports, binding,
      owner: { kind: "Service", namespace, name, created: o.metadata.creationTimestamp ?? "" },
    };
  };
}

export function waypointFields(binding: Binding): Pick<Service, "waypoint" | "weightedWaypoints"> {
  if (binding.kind !== "bound") return { waypoint: addressOfBinding(binding), weightedWaypoints: [] };
  const { address, canary } = binding;
  if (canary?.kind !== "weighted") return { waypoint: address, weightedWaypoints: [] };
  return { waypoint: address, weightedWaypoints: [{ destination: address, weight: 100 - canary.weight }, { destination: canary.address, weight: canary.weight }] };
}

export function ingressUseWaypoint(ctx: Context, inputs: WaypointInputs, namespace: string, labels: LabelMap): boolean {
  const own = labels[LABELS.ingressUseWaypoint];
  return (own ?? ctx.fetchOne(inputs.namespaces, { key: namespace })?.labels[LABELS.ingressUseWaypoint]) === "true";
}

/** Kubernetes' default: three hours. */
const AFFINITY_DEFAULT_S = 10_800;

function clientAffinity(spec: KubeService["spec"]): Pick<Service, "clientAffinityMs"> {
  if (spec.sessionAffinity !== "ClientIP") return {};
  return { clientAffinityMs: 1000 * (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_DEFAULT_S) };
}

const targetOf = (p: KubePort): number | string => (p.targetPort === undefined || p.targetPort === 0 ? p.port : p.targetPort);

function vipsOf(ips: readonly string[], network: string): Vip[] {
  const out: Vip[] = [];
  for (const text of ips) {
    // "None" and "" are how Kubernetes writes headless and pending.
    const ip = parseIp(text);
    if (ip.ok) out.push({ network, cidr: { ip: ip.value, prefix: ip.value.includes(":") ? 128 : 32 } });
  }
  return out;
}

/** Of a TCP and a UDP port with one number, TCP is the one a mesh of TCP should know. */
function portMap(ports: readonly KubePort[]): Map<number, ServicePort> {
  const out = new Map<number, ServicePort>();
  for (const p of ports) {
    const tcp = (p.protocol ?? "TCP") === "TCP";
    if (!tcp && out.has(p.port)) continue;
    const target = targetOf(p);
    out.set(p.port, { servicePort: p.port, targetPort: typeof target === "number" ? target : 0, appProtocol: tcp ? appProtocol(p.appProtocol, p.name ?? "") : "unknown" });
  }
  return out;
}

const APP_PROTOCOLS: Readonly<Record<string, ServicePort["appProtocol"]>> = {
  http: "http11", "kubernetes.io/ws": "http11", http2: "http2", "kubernetes.io/h2c": "http2", grpc: "grpc",
  tcp: "tcp", mongo: "tcp", mysql: "tcp", redis: "tcp", tls: "tls", https: "tls", "kubernetes.io/wss": "tls",
};
/** The field, else the part of the name before the first dash. */
export function appProtocol(declared: string | undefined, name: string): ServicePort["appProtocol"] {
  const word = (declared ?? (name.toLowerCase().startsWith("grpc-web") ? "grpc-web" : name.split("-", 1)[0] ?? "")).toLowerCase();
  return Object.hasOwn(APP_PROTOCOLS, word) ? (APP_PROTOCOLS[word] ?? "unknown") : "unknown";
}

const familiesOf = (families: readonly string[]): Service["ipFamilies"] =>
  families.length > 1 ? "dual" : families[0] === "IPv4" ? "ipv4" : families[0] === "IPv6" ? "ipv6" : "automatic";

const CLOSE: LoadBalancing["routingPreference"] = ["network", "region", "zone"];
const SAME_NODE: LoadBalancing["routingPreference"] = ["network", "region", "zone", "subzone", "node"];

function loadBalancingOf(ctx: Context, inputs: ServiceInputs, o: KubeService): LoadBalancing | undefined {
  const healthPolicy = o.spec.publishNotReadyAddresses === true ? "allow-all" : "only-healthy";
  if (o.spec.internalTrafficPolicy === "Local") return { mode: "strict", routingPreference: ["node"], healthPolicy };
  const preference = preferenceOf(o.spec.trafficDistribution ?? distributionOf(ctx, inputs, o.metadata.namespace ?? "", o.metadata.annotations ?? {}));
  if (preference !== undefined) return { mode: "failover", routingPreference: preference, healthPolicy };
  return healthPolicy === "allow-all" ? { mode: "standard", routingPreference: [], healthPolicy } : undefined;
}

/** The object's annotation, also a wrong one, hides the namespace's. */
export function distributionOf(ctx: Context, inputs: WaypointInputs, namespace: string, annotations: LabelMap): string {
  return annotations[ANNOTATIONS.trafficDistribution] ?? ctx.fetchOne(inputs.namespaces, { key: namespace })?.trafficDistribution ?? "";
}

export function preferenceOf(distribution: string): LoadBalancing["routingPreference"] | undefined {
  switch (distribution.toLowerCase()) {
    case "preferclose": case "prefersamezone": return CLOSE;
    case "prefersamenode": return SAME_NODE;
    default: return undefined;
  }
}
