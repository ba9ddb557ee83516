// Owns the configuration dump: the state in the shape that istioctl reads, sorted, so that two dumps can be compared.
import { X509Certificate } from "node:crypto";
import {
  formatCidr, formatIdentity, formatSocketAddress, networkAddressKey, type Cidr, type GatewayAddress, type Match, type Policy, type Service, type StringMatch, type Workload,
} from "@ambit/core";
import { describeGateway } from "../plan/waypoint.ts";
import type { LiveConnection } from "../proxy/connections.ts";
import { keyOf, type StateView } from "@ambit/proxy/state";

type Json = Record<string, unknown>;

/** Drops empty optionals. */
const compact = (o: Json): Json => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined && v !== "" && !(Array.isArray(v) && v.length === 0)));
const by = <T>(key: (x: T) => string) => (a: T, b: T): number => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
const capital = (s: string): string => s.charAt(0).toUpperCase() + s.slice(1);
const pascal = (s: string): string => s.split("-").map(capital).join("");

export function dumpWorkloads(view: StateView): Json[] {
  return [...view.workloads()].sort(by((w) => w.uid)).map(dumpWorkload);
}

function dumpWorkload(w: Workload): Json {
  return {
    ...compact({
      uid: w.uid, name: w.name, namespace: w.namespace, hostname: w.hostname,
      waypoint: w.waypoint && dumpGateway(w.waypoint), networkGateway: w.networkGateway && dumpGateway(w.networkGateway),
      trustDomain: w.identity.trustDomain, serviceAccount: w.identity.serviceAccount, workloadName: w.workloadName, workloadType: w.workloadType,
      canonicalName: w.canonicalName, canonicalRevision: w.canonicalRevision, node: w.node, authorizationPolicies: [...w.authorizationPolicies],
      clusterId: w.clusterId, services: [...w.services.keys()].sort(),
      locality: w.locality.region + w.locality.zone + w.locality.subzone === "" ? undefined : { ...w.locality },
      applicationTunnel: w.applicationTunnel && { protocol: w.applicationTunnel.protocol === "proxy" ? "PROXY" : "NONE", port: w.applicationTunnel.port },
    }),
    workloadIps: [...w.addresses], protocol: w.protocol.toUpperCase(), network: w.network, nativeTunnel: w.nativeTunnel, status: w.healthy ? "Healthy" : "Unhealthy",
    capacity: w.capacity, networkMode: w.hostNetwork ? "HostNetwork" : "Standard",
  };
}

const dumpGateway = (g: GatewayAddress): Json => ({ destination: describeGateway(g), hboneMtlsPort: g.hbonePort });
const isFull = (c: Cidr): boolean => c.prefix === (c.ip.includes(":") ? 128 : 32);

export function dumpServices(view: StateView): Json[] {
  return [...view.services()].sort(by(keyOf)).map((s) => dumpService(view, s));
}

const FAMILIES = { automatic: undefined, ipv4: "IPv4", ipv6: "IPv6", dual: "Dual" } as const;

function dumpService(view: StateView, s: Service): Json {
  const lb = s.loadBalancing;
  return {
    name: s.name, namespace: s.namespace, hostname: s.hostname,
    vips: s.vips.filter((v) => isFull(v.cidr)).map((v) => networkAddressKey(v.network, v.cidr.ip)),
    ports: Object.fromEntries([...s.ports].map(([port, p]) => [port, p.targetPort])),
    endpoints: Object.fromEntries([...view.members(keyOf(s))].sort(by((e) => e.workloadUid)).map((e) => [e.workloadUid, dumpEndpoint(e)])),
    subjectAltNames: [...s.subjectAltNames], canonical: s.canonical, visibility: capital(s.visibility),
    ...compact({
      cidrVips: s.vips.filter((v) => !isFull(v.cidr)).map((v) => `${v.network}/${formatCidr(v.cidr)}`),
      waypoint: s.waypoint && dumpGateway(s.waypoint),
      weightedWaypoints: s.weightedWaypoints.map((w) => ({ destination: dumpGateway(w.destination), weight: w.weight })),
      ipFamilies: FAMILIES[s.ipFamilies],
      loadBalancer: lb && { routingPreferences: lb.routingPreference.map(capital), mode: pascal(lb.mode), healthPolicy: pascal(lb.healthPolicy) },
    }),
  };
}

const dumpEndpoint = (e: { workloadUid: string; ports: ReadonlyMap<number, number>; healthy: boolean }): Json =>
  ({ workloadUid: e.workloadUid, port: Object.fromEntries(e.ports), status: e.healthy ? "Healthy" : "Unhealthy" });

export const dumpStaged = (view: StateView): Json =>
  Object.fromEntries([...view.staged()].sort(by(([key]) => key)).map(([key, endpoints]) => [key, Object.fromEntries(endpoints.map((e) => [e.workloadUid, dumpEndpoint(e)]))]));

export function dumpPolicies(view: StateView): Json[] {
  return [...view.policies()].sort(by((p) => `${p.namespace}/${p.name}`)).map((p: Policy) => ({
    name: p.name, namespace: p.namespace, scope: p.scope === "workload" ? "WorkloadSelector" : capital(p.scope), action: capital(p.action),
    rules: p.rules.map((r) => r.clauses.map((c) => c.matches.map(dumpMatch))), dryRun: p.dryRun,
  }));
}

function dumpMatch(m: Match): Json {
  const strings = (list: readonly StringMatch[]) => list.map((s) => (s.kind === "presence" ? { Presence: [] } : { [capital(s.kind)]: s.value }));
  const blocks = (list: readonly Cidr[]) => list.map(formatCidr);
  return compact({
    namespaces: strings(m.namespaces), notNamespaces: strings(m.notNamespaces), principals: strings(m.principals), notPrincipals: strings(m.notPrincipals),
    serviceAccounts: [...m.serviceAccounts], notServiceAccounts: [...m.notServiceAccounts], sourceIps: blocks(m.sourceIps), notSourceIps: blocks(m.notSourceIps),
    destinationIps: blocks(m.destinationIps), notDestinationIps: blocks(m.notDestinationIps), destinationPorts: [...m.destinationPorts], notDestinationPorts: [...m.notDestinationPorts],
  });
}

export interface DumpedPod { readonly uid: string; readonly state: "Up" | "Pending"; readonly info: Json; readonly connections: readonly LiveConnection[] }

export function dumpPods(pods: readonly DumpedPod[]): Json {
  return Object.fromEntries([...pods].sort(by((p) => p.uid)).map((p) => {
    const of = (direction: LiveConnection["direction"]) => p.connections.filter((c) => c.direction === direction)
      .map((c) => ({ src: formatSocketAddress(c.src), originalDst: c.originalDst, actualDst: formatSocketAddress(c.actualDst), protocol: c.protocol }));
    return [p.uid, { state: p.state, connections: { inbound: of("inbound"), outbound: of("outbound") }, info: p.info }];
  }));
}

export interface DumpedCertificate { readonly identity: Workload["identity"]; readonly state: string; readonly chainPem: string | undefined; readonly rootsPem: string | undefined }

export function dumpCertificates(certificates: readonly DumpedCertificate[]): Json[] {
  return certificates.map((c) => ({ identity: formatIdentity(c.identity), state: c.state, certChain: dumpPems(c.chainPem), rootCerts: dumpPems(c.rootsPem) })).sort(by((c) => c.identity));
}

function dumpPems(pems: string | undefined): Json[] {
  return (pems?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((pem) => {
    const x = new X509Certificate(pem);
    return {
      pem: Buffer.from(pem).toString("base64"), serialNumber: BigInt(`0x${x.serialNumber}`).toString(),
      validFrom: seconds(x.validFrom), expirationTime: seconds(x.validTo),
    };
  });
}

/** RFC 3339, whole seconds. */
const seconds = (date: string): string => `${new Date(date).toISOString().slice(0, -5)}Z`;
