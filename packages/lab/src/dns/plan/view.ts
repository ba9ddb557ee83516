// Owns what the name server knows about Services: the narrow records the answers are made of.
import type { EndpointSlice, Service } from "@ambit/kube";

export interface DnsPort { readonly name: string; readonly protocol: string; readonly port: number }
export interface DnsEndpoint { readonly ip: string; readonly hostname: string; readonly ready: boolean; readonly ports: readonly DnsPort[] }
export interface DnsService {
  readonly name: string;
  readonly namespace: string;
  readonly kind: "cluster-ip" | "headless" | "external-name";
  readonly clusterIps: readonly string[];
  readonly externalName: string;
  readonly ports: readonly DnsPort[];
  readonly endpoints: readonly DnsEndpoint[];
}

export interface DnsView {
  hasNamespace(namespace: string): boolean;
  service(namespace: string, name: string): DnsService | undefined;
  serviceByIp(ip: string): DnsService | undefined;
  /** Headless Services with a ready endpoint at this address. */
  endpointsByIp(ip: string): { service: DnsService; endpoint: DnsEndpoint }[];
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

export function isIpv4(text: string): boolean {
  return IPV4.test(text);
}

export function serviceRecord(service: Service, slices: readonly EndpointSlice[]): DnsService {
  const { spec, metadata } = service;
  const ips = (spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP])).filter((ip) => ip !== "" && ip !== "None");
  const headless = spec.clusterIP === "None" || (spec.clusterIPs ?? []).includes("None");
  return {
    name: metadata.name, namespace: metadata.namespace ?? "",
    kind: spec.type === "ExternalName" ? "external-name" : headless ? "headless" : "cluster-ip",
    clusterIps: ips.filter(isIpv4), externalName: (spec.externalName ?? "").replace(/\.$/, ""),
    ports: (spec.ports ?? []).map((p) => ({ name: p.name ?? "", protocol: p.protocol ?? "TCP", port: p.port })),
    endpoints: slices.flatMap(endpointsOf),
  };
}

/** One DNS endpoint per address; the name is the hostname, or the address with dashes. */
function endpointsOf(slice: EndpointSlice): DnsEndpoint[] {
  if (slice.addressType !== "IPv4") return [];
  const ports = (slice.ports ?? []).flatMap((p) => (p.port === undefined ? [] : [{ name: p.name ?? "", protocol: p.protocol ?? "TCP", port: p.port }]));
  return (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses.filter(isIpv4).map((ip) => ({
    ip, hostname: (endpoint as { hostname?: string }).hostname ?? ip.replaceAll(".", "-"),
    // Absent means unknown, which readers take as ready (the field's own documentation).
    ready: endpoint.conditions?.ready !== false, ports,
  })));
}
