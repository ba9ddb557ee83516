// Owns which addresses lead to which endpoints on one node: Services and their EndpointSlices as a list of front doors.
import type { EndpointSlice, Service } from "@ambit/kube";

export type Protocol = "tcp" | "udp";
export interface Target { readonly ip: string; readonly port: number }
export interface FrontDoor {
  /** `namespace/name/port`, for chain names and comments. */
  readonly name: string;
  readonly protocol: Protocol;
  /** Addresses and port of the door; a node port has no addresses and is reached on any of the node's. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly targets: readonly Target[];
  /** The same client goes to the same endpoint. */
  readonly sticky: boolean;
  /** Only endpoints of this node count: with none, packets are dropped rather than refused. */
  readonly local: boolean;
  /** Replies must come back through this node. */
  readonly masquerade: boolean;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.|$)){4}$/;
const isPort = (n: unknown): n is number => typeof n === "number" && Number.isInteger(n) && n > 0 && n < 65536;
const NAME = /^[a-z0-9][a-z0-9.-]*$/;

/** Sorted by name, so that equal inputs give equal rules. What is malformed is left out: it cannot be reached. */
export function frontDoors(services: readonly Service[], slices: readonly EndpointSlice[], nodeName: string): FrontDoor[] {
  const byService = new Map<string, EndpointSlice[]>();
  for (const s of slices) {
    const service = s.metadata.labels?.["kubernetes.io/service-name"];
    if (service === undefined || s.addressType !== "IPv4") continue;
    const key = `${s.metadata.namespace}/${service}`;
    byService.set(key, [...(byService.get(key) ?? []), s]);
  }
  const doors: FrontDoor[] = [];
  for (const service of services) {
    const { metadata, spec } = service;
    const ip = spec.clusterIP;
    if (spec.type === "ExternalName" || ip === undefined || !IPV4.test(ip) || !NAME.test(metadata.name) || !NAME.test(metadata.namespace ?? "")) continue;
    const own = byService.get(`${metadata.namespace}/${metadata.name}`) ?? [];
    const outside = [...strings(spec["externalIPs"]), ...ingressIps(service)].filter((a) => IPV4.test(a));
    for (const port of spec.ports ?? []) {
      const protocol = (port.protocol ?? "TCP").toLowerCase();
      if ((protocol !== "tcp" && protocol !== "udp") || !isPort(port.port)) continue;
      const name = `${metadata.namespace}/${metadata.name}/${port.name === undefined || !NAME.test(port.name) ? String(port.port) : port.name}`;
      const all = targets(own, port.name ?? "", undefined);
      const here = targets(own, port.name ?? "", nodeName);
      const internalLocal = spec.internalTrafficPolicy === "Local";
      const externalLocal = spec["externalTrafficPolicy"] === "Local";
      const common = { protocol, sticky: spec.sessionAffinity === "ClientIP" } as const;
      doors.push({ ...common, name, addresses: [ip], port: port.port, targets: internalLocal ? here : all, local: internalLocal, masquerade: false });
      const external = { ...common, targets: externalLocal ? here : all, local: externalLocal, masquerade: !externalLocal };
      if (outside.length > 0) doors.push({ ...external, name: `${name}/external`, addresses: [...new Set(outside)].sort(), port: port.port });
      if (isPort(port.nodePort)) doors.push({ ...external, name: `${name}/nodeport`, addresses: [], port: port.nodePort });
    }
  }
  return doors.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.protocol < b.protocol ? -1 : 1));
}

/** Ready endpoints; when there are none, those that end but still serve (Kubernetes' rule). */
function targets(slices: readonly EndpointSlice[], portName: string, nodeName: string | undefined): Target[] {
  const ready = new Map<string, Target>();
  const ending = new Map<string, Target>();
  for (const slice of slices) {
    const port = (slice.ports ?? []).find((p) => (p.name ?? "") === portName)?.port;
    if (!isPort(port)) continue;
    for (const e of slice.endpoints ?? []) {
      if (nodeName !== undefined && e.nodeName !== nodeName) continue;
      const ip = e.addresses[0];
      if (ip === undefined || !IPV4.test(ip)) continue;
      const c = e.conditions ?? {};
      if (c.ready !== false) ready.set(`${ip}:${port}`, { ip, port });
      else if (c.serving === true && c.terminating === true) ending.set(`${ip}:${port}`, { ip, port });
    }
  }
  return [...(ready.size > 0 ? ready : ending)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, t]) => t);
}

const strings = (v: unknown): string[] => (Array.isArray(v) ? v.filter((s): s is string => typeof s === "string") : []);
function ingressIps(service: Service): string[] {
  const balancer = service.status?.["loadBalancer"] as { ingress?: unknown } | undefined;
  return Array.isArray(balancer?.ingress) ? balancer.ingress.map((i: { ip?: unknown } | null) => i?.ip).filter((ip): ip is string => typeof ip === "string") : [];
}
