// Owns domain → wire for pushed resources: equal resources give equal bytes, so that a version can be a hash of them.
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs, DurationSchema } from "@bufbuild/protobuf/wkt";
import { familyOf, ipBytes, type Cidr, type GatewayAddress, type LoadBalancing, type Match, type PortMap, type Policy, type Service, type StringMatch, type Workload } from "@ambit/core";
import { CLIENT_AFFINITY, security, workload as wire } from "@ambit/proto";
import type { Address } from "../collections/addresses.ts";

const DEFAULT_TRUST_DOMAIN = "cluster.local";

export function encodeAddress(address: Address): Uint8Array {
  const type = address.kind === "workload"
    ? { case: "workload" as const, value: workloadMessage(address.workload) }
    : { case: "service" as const, value: serviceMessage(address.service, address.ingressUseWaypoint) };
  return toBinary(wire.AddressSchema, create(wire.AddressSchema, { type }));
}

const WORKLOAD_TYPE: Readonly<Record<Workload["workloadType"], wire.WorkloadType>> = {
  deployment: wire.WorkloadType.DEPLOYMENT, cronjob: wire.WorkloadType.CRONJOB, pod: wire.WorkloadType.POD, job: wire.WorkloadType.JOB,
};

function workloadMessage(w: Workload): wire.Workload {
  const { trustDomain, serviceAccount } = w.identity;
  return create(wire.WorkloadSchema, {
    uid: w.uid, name: w.name, namespace: w.namespace, addresses: w.addresses.map((ip) => ipBytes(ip)), hostname: w.hostname, network: w.network,
    tunnelProtocol: w.protocol === "hbone" ? wire.TunnelProtocol.HBONE : wire.TunnelProtocol.NONE,
    // Empty means cluster.local on this wire.
    trustDomain: trustDomain === DEFAULT_TRUST_DOMAIN ? "" : trustDomain, serviceAccount,
    ...(w.waypoint === undefined ? {} : { waypoint: gateway(w.waypoint) }),
    ...(w.networkGateway === undefined ? {} : { networkGateway: gateway(w.networkGateway) }),
    node: w.node, canonicalName: w.canonicalName, canonicalRevision: w.canonicalRevision,
    workloadType: WORKLOAD_TYPE[w.workloadType], workloadName: w.workloadName, nativeTunnel: w.nativeTunnel,
    authorizationPolicies: [...w.authorizationPolicies],
    status: w.healthy ? wire.WorkloadStatus.HEALTHY : wire.WorkloadStatus.UNHEALTHY, clusterId: w.clusterId,
    services: Object.fromEntries([...w.services].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, ports]) => [key, portList(ports)])),
    ...(w.applicationTunnel === undefined ? {} : { applicationTunnel: {
      protocol: w.applicationTunnel.protocol === "proxy" ? wire.ApplicationTunnel_Protocol.PROXY : wire.ApplicationTunnel_Protocol.NONE, port: w.applicationTunnel.port } }),
    ...(w.locality.region === "" && w.locality.zone === "" && w.locality.subzone === "" ? {} : { locality: w.locality }),
    networkMode: w.hostNetwork ? wire.NetworkMode.HOST_NETWORK : wire.NetworkMode.STANDARD,
    // Absent means 1; an explicit 0 means "never chosen".
    ...(w.capacity === 1 ? {} : { capacity: w.capacity }),
  });
}

const APP_PROTOCOL = {
  unknown: wire.AppProtocol.UNKNOWN, http11: wire.AppProtocol.HTTP11, http2: wire.AppProtocol.HTTP2,
  grpc: wire.AppProtocol.GRPC, tcp: wire.AppProtocol.TCP, tls: wire.AppProtocol.TLS,
} as const;
const FAMILIES = { automatic: wire.IPFamilies.AUTOMATIC, ipv4: wire.IPFamilies.IPV4_ONLY, ipv6: wire.IPFamilies.IPV6_ONLY, dual: wire.IPFamilies.DUAL } as const;

function serviceMessage(s: Service, ingressUseWaypoint: boolean): wire.Service {
  return create(wire.ServiceSchema, {
    name: s.name, namespace: s.namespace, hostname: s.hostname,
    addresses: s.vips.map((v) => ({ network: v.network, address: ipBytes(v.cidr.ip), ...(isFull(v.cidr) ? {} : { length: v.cidr.prefix }) })),
    ports: [...s.ports.values()].sort((a, b) => a.servicePort - b.servicePort).map((p) => ({ servicePort: p.servicePort, targetPort: p.targetPort, appProtocol: APP_PROTOCOL[p.appProtocol] })),
    subjectAltNames: [...s.subjectAltNames].sort(),
    ...(s.waypoint === undefined ? {} : { waypoint: gateway(s.waypoint) }),
    weightedWaypoints: s.weightedWaypoints.map((w) => ({ destination: gateway(w.destination), weight: w.weight })),
    ...(s.loadBalancing === undefined ? {} : { loadBalancing: balancing(s.loadBalancing) }),
    ipFamilies: FAMILIES[s.ipFamilies], canonical: s.canonical, ingressUseWaypoint,
    visibility: s.visibility === "namespace" ? wire.Service_Visibility.NAMESPACE : wire.Service_Visibility.PUBLIC,
    ...(s.clientAffinityMs === undefined ? {} : { extensions: [{ name: CLIENT_AFFINITY, config: anyPack(DurationSchema, durationFromMs(s.clientAffinityMs)) }] }),
  });
}

const SCOPE = {
  region: wire.LoadBalancing_Scope.REGION, zone: wire.LoadBalancing_Scope.ZONE, subzone: wire.LoadBalancing_Scope.SUBZONE,
  node: wire.LoadBalancing_Scope.NODE, cluster: wire.LoadBalancing_Scope.CLUSTER, network: wire.LoadBalancing_Scope.NETWORK,
} as const;
const MODE = {
  standard: wire.LoadBalancing_Mode.UNSPECIFIED_MODE, strict: wire.LoadBalancing_Mode.STRICT,
  failover: wire.LoadBalancing_Mode.FAILOVER, passthrough: wire.LoadBalancing_Mode.PASSTHROUGH,
} as const;

function balancing(lb: LoadBalancing): wire.LoadBalancing {
  return create(wire.LoadBalancingSchema, {
    routingPreference: lb.routingPreference.map((s) => SCOPE[s]), mode: MODE[lb.mode],
    healthPolicy: lb.healthPolicy === "allow-all" ? wire.LoadBalancing_HealthPolicy.ALLOW_ALL : wire.LoadBalancing_HealthPolicy.ONLY_HEALTHY,
  });
}

function gateway(g: GatewayAddress): wire.GatewayAddress {
  const d = g.destination;
  return create(wire.GatewayAddressSchema, {
    destination: d.kind === "hostname" ? { case: "hostname", value: create(wire.NamespacedHostnameSchema, d.hostname) }
      : { case: "address", value: create(wire.NetworkAddressSchema, { network: d.address.network, address: ipBytes(d.address.ip) }) },
    hboneMtlsPort: g.hbonePort,
  });
}

const portList = (ports: PortMap): wire.PortList =>
  create(wire.PortListSchema, { ports: [...ports].sort(([a], [b]) => a - b).map(([servicePort, targetPort]) => ({ servicePort, targetPort })) });

const isFull = (c: Cidr): boolean => c.prefix === (familyOf(c.ip) === 4 ? 32 : 128);

const POLICY_SCOPE = { global: security.Scope.GLOBAL, namespace: security.Scope.NAMESPACE, workload: security.Scope.WORKLOAD_SELECTOR } as const;

export function encodePolicy(p: Policy): Uint8Array {
  return toBinary(security.AuthorizationSchema, create(security.AuthorizationSchema, {
    name: p.name, namespace: p.namespace, scope: POLICY_SCOPE[p.scope], action: p.action === "allow" ? security.Action.ALLOW : security.Action.DENY, dryRun: p.dryRun,
    rules: p.rules.map((r) => ({ clauses: r.clauses.map((c) => ({ matches: c.matches.map(matchMessage) })) })),
  }));
}

function matchMessage(m: Match): security.Match {
  const strings = (list: readonly StringMatch[]) => list.map((s) => create(security.StringMatchSchema, {
    matchType: s.kind === "presence" ? { case: "presence", value: {} } : { case: s.kind, value: s.value } }));
  const blocks = (list: readonly Cidr[]) => list.map((c) => ({ address: ipBytes(c.ip), length: c.prefix }));
  return create(security.MatchSchema, {
    namespaces: strings(m.namespaces), notNamespaces: strings(m.notNamespaces), principals: strings(m.principals), notPrincipals: strings(m.notPrincipals),
    sourceIps: blocks(m.sourceIps), notSourceIps: blocks(m.notSourceIps), destinationIps: blocks(m.destinationIps), notDestinationIps: blocks(m.notDestinationIps),
    destinationPorts: [...m.destinationPorts], notDestinationPorts: [...m.notDestinationPorts],
    serviceAccounts: m.serviceAccounts.map((a) => ({ ...a })), notServiceAccounts: m.notServiceAccounts.map((a) => ({ ...a })),
  });
}
