// Owns the answers of cluster DNS: Kubernetes DNS-Based Service Discovery 1.1 as a pure function of view and question.
import { CLASS_IN, RCODE, TYPE, type Query, type RecordData, type ResourceRecord, type Response } from "../codec/message.ts";
import { isIpv4, type DnsEndpoint, type DnsPort, type DnsService, type DnsView } from "./view.ts";

export type Answer =
  | { readonly do: "respond"; readonly response: Response }
  /** Not ours: ask the machine's resolver. */
  | { readonly do: "forward" }
  /** An ExternalName outside the cluster: the response so far, and whose addresses would complete it. */
  | { readonly do: "chase"; readonly response: Response; readonly target: string };

export interface Zone {
  /** `cluster.local` */
  readonly domain: string;
  /** Changes to the view raise it, as secondaries would expect. */
  readonly serial: number;
}

/** Services seldom change their address, endpoints often; negative answers must not outlive a `kubectl apply`. */
const SERVICE_TTL_S = 30;
const ENDPOINT_TTL_S = 5;
const NEGATIVE_TTL_S = 5;
/** ExternalNames that point at each other. */
const CHAIN_MAX = 8;
/** RFC 6303: reverse zones of private addresses have no parent that could answer. */
const PRIVATE_REVERSE = /^(?:(?:\d+\.){3}10|(?:\d+\.){2}168\.192|(?:\d+\.){2}(?:1[6-9]|2\d|3[01])\.172|(?:\d+\.){3}127|(?:\d+\.){2}254\.169)\.in-addr\.arpa$/;

/** `spin` rotates the order of several addresses (any non-negative integer). */
export function answer(view: DnsView, zone: Zone, query: Query, spin: number): Answer {
  if (query.opcode !== 0) return respond(RCODE.NOTIMP);
  if (query.ednsVersion !== undefined && query.ednsVersion !== 0) return respond(BADVERS);
  if (query.class !== CLASS_IN && query.class !== TYPE.ANY) return respond(RCODE.REFUSED);
  if (query.labels.some((label) => label.includes("."))) return respond(RCODE.NXDOMAIN);
  const asked = query.labels.join(".");
  const name = asked.toLowerCase();
  if (name.endsWith(".in-addr.arpa")) return reverse(view, zone, query, name, asked);
  if (name !== zone.domain && !name.endsWith(`.${zone.domain}`)) return { do: "forward" };
  const found = lookUp(view, zone, name);
  return finish(view, zone, query, { asked, found, spin });
}

const BADVERS = 16;
const respond = (rcode: number): Answer => ({ do: "respond", response: { rcode, authoritative: false, answers: [], authorities: [], additionals: [] } });

/** Every record at a name; undefined when the name does not exist. */
interface Found { readonly records: readonly RecordData[]; readonly ttl: number; readonly additionals: readonly ResourceRecord[] }
const found = (records: readonly RecordData[] = [], ttl = SERVICE_TTL_S, additionals: readonly ResourceRecord[] = []): Found => ({ records, ttl, additionals });

function lookUp(view: DnsView, zone: Zone, name: string): Found | undefined {
  if (name === zone.domain) return found([soa(zone), { type: "NS", target: `ns.dns.${zone.domain}` }]);
  const labels = name.slice(0, -zone.domain.length - 1).split(".").reverse();
  const [kind, namespace, first, second, third] = labels;
  if (kind === "dns-version" && labels.length === 1) return found([{ type: "TXT", text: "1.1.0" }]);
  if (kind === "dns") {
    if (labels.length === 1) return found();
    const self = view.service("kube-system", "kube-dns");
    return labels.length === 2 && namespace === "ns" ? found((self?.clusterIps ?? []).map(address)) : undefined;
  }
  if (kind !== "svc" && kind !== "pod") return undefined;
  if (namespace === undefined) return found();
  if (!view.hasNamespace(namespace)) return undefined;
  if (first === undefined) return found();
  if (kind === "pod") return podRecord(labels, first);
  const service = view.service(namespace, first);
  if (service === undefined) return undefined;
  if (labels.length === 3) return serviceRecords(zone, service);
  if (labels.length === 4 && second !== undefined) return second.startsWith("_") ? protocolNode(service, second) : endpointRecords(service, second);
  return labels.length === 5 && second !== undefined && third !== undefined ? portRecords(zone, service, second, third) : undefined;
}

const address = (ip: string): RecordData => ({ type: "A", ip });

/** `a-b-c-d.ns.pod`: the address is in the name itself. */
function podRecord(labels: readonly string[], name: string): Found | undefined {
  const ip = name.replaceAll("-", ".");
  return labels.length === 3 && isIpv4(ip) ? found([address(ip)], ENDPOINT_TTL_S) : undefined;
}

function hostName(zone: Zone, service: DnsService, prefix = ""): string {
  return `${prefix}${service.name}.${service.namespace}.svc.${zone.domain}`;
}

/** The same address may be in two slices that differ in ports. */
function readyAddresses(service: DnsService): string[] {
  return [...new Set(service.endpoints.filter((e) => e.ready).map((e) => e.ip))];
}

function serviceRecords(zone: Zone, service: DnsService): Found {
  if (service.kind === "external-name") return found([{ type: "CNAME", target: service.externalName }]);
  const ports = service.kind === "headless" ? headlessPorts(service) : service.ports;
  const srv = ports.map((port) => srvRecords(zone, service, port));
  const addresses = service.kind === "headless" ? readyAddresses(service) : service.clusterIps;
  return found([...addresses.map(address), ...srv.flatMap((s) => s.records)],
    service.kind === "headless" ? ENDPOINT_TTL_S : SERVICE_TTL_S, dedupe(srv.flatMap((s) => s.additionals)));
}

function headlessPorts(service: DnsService): DnsPort[] {
  const seen = new Map(service.endpoints.flatMap((e) => e.ports).map((p) => [`${p.name}/${p.protocol}/${p.port}`, p]));
  return [...seen.values()];
}

function protocolNode(service: DnsService, label: string): Found | undefined {
  return service.ports.some((p) => `_${p.protocol.toLowerCase()}` === label) ? found() : undefined;
}

function endpointRecords(service: DnsService, host: string): Found | undefined {
  const ips = [...new Set(service.endpoints.filter((e) => e.ready && e.hostname === host).map((e) => e.ip))];
  return ips.length === 0 ? undefined : found(ips.map(address), ENDPOINT_TTL_S);
}

function portRecords(zone: Zone, service: DnsService, protocol: string, name: string): Found | undefined {
  const ports = (service.kind === "headless" ? headlessPorts(service) : service.ports)
    .filter((p) => p.name !== "" && `_${p.name}` === name && `_${p.protocol.toLowerCase()}` === protocol);
  if (ports.length === 0 || service.kind === "external-name") return undefined;
  const srv = ports.map((port) => srvRecords(zone, service, port));
  return found(srv.flatMap((s) => s.records), service.kind === "headless" ? ENDPOINT_TTL_S : SERVICE_TTL_S, dedupe(srv.flatMap((s) => s.additionals)));
}

function srvRecords(zone: Zone, service: DnsService, port: DnsPort): { records: RecordData[]; additionals: ResourceRecord[] } {
  const targets = service.kind === "headless" ? service.endpoints.filter((e) => e.ready && hasPort(e, port)) : undefined;
  const weight = Math.max(1, Math.floor(100 / Math.max(1, targets?.length ?? 1)));
  const srv = (target: string): RecordData => ({ type: "SRV", priority: 0, weight, port: port.port, target });
  if (targets === undefined) {
    const target = hostName(zone, service);
    return { records: [srv(target)], additionals: service.clusterIps.map((ip) => ({ name: target, ttl: SERVICE_TTL_S, data: address(ip) })) };
  }
  const names = [...new Set(targets.map((e) => e.hostname))];
  return {
    records: names.map((host) => srv(hostName(zone, service, `${host}.`))),
    additionals: targets.map((e) => ({ name: hostName(zone, service, `${e.hostname}.`), ttl: ENDPOINT_TTL_S, data: address(e.ip) })),
  };
}

function hasPort(endpoint: DnsEndpoint, port: DnsPort): boolean {
  return endpoint.ports.some((p) => p.name === port.name && p.protocol === port.protocol && p.port === port.port);
}

function dedupe(records: readonly ResourceRecord[]): ResourceRecord[] {
  return [...new Map(records.map((r) => [`${r.name}/${r.data.type === "A" ? r.data.ip : ""}`, r])).values()];
}

function soa(zone: Zone): RecordData {
  return {
    type: "SOA", mname: `ns.dns.${zone.domain}`, rname: `hostmaster.${zone.domain}`, serial: zone.serial >>> 0,
    refresh: 7200, retry: 1800, expire: 86_400, minimum: NEGATIVE_TTL_S,
  };
}

interface Step { readonly asked: string; readonly found: Found | undefined; readonly spin: number }

/** Picks the asked type, follows CNAMEs inside the zone, and says NODATA or NXDOMAIN with the SOA. */
function finish(view: DnsView, zone: Zone, query: Query, first: Step): Answer {
  const answers: ResourceRecord[] = [];
  let { asked, found: at } = first;
  for (let hop = 0; at !== undefined; hop++) {
    const match = at.records.filter((r) => query.type === TYPE.ANY || TYPE[r.type] === query.type);
    const alias = match.length === 0 ? at.records.find((r) => r.type === "CNAME") : undefined;
    const { ttl } = at;
    if (alias?.type !== "CNAME") {
      answers.push(...rotate(match, first.spin).map((data) => ({ name: asked, ttl, data })));
      const additionals = query.type === TYPE.SRV ? at.additionals : [];
      return done(zone, RCODE.NOERROR, answers, match.length === 0, additionals);
    }
    answers.push({ name: asked, ttl, data: alias });
    asked = alias.target;
    const name = asked.toLowerCase();
    if (hop >= CHAIN_MAX) return respond(RCODE.SERVFAIL);
    if (!name.endsWith(`.${zone.domain}`)) {
      return { do: "chase", target: asked, response: { rcode: RCODE.NOERROR, authoritative: true, answers, authorities: [], additionals: [] } };
    }
    at = lookUp(view, zone, name);
  }
  return done(zone, RCODE.NXDOMAIN, answers, true, []);
}

function done(zone: Zone, rcode: number, answers: readonly ResourceRecord[], negative: boolean, additionals: readonly ResourceRecord[]): Answer {
  const authorities = negative ? [{ name: zone.domain, ttl: NEGATIVE_TTL_S, data: soa(zone) }] : [];
  return { do: "respond", response: { rcode, authoritative: true, answers, authorities, additionals } };
}

/** Only addresses rotate: the order of the others says nothing to anybody. */
function rotate(records: readonly RecordData[], spin: number): RecordData[] {
  const addresses = records.filter((r) => r.type === "A");
  const others = records.filter((r) => r.type !== "A");
  const by = addresses.length === 0 ? 0 : spin % addresses.length;
  return [...addresses.slice(by), ...addresses.slice(0, by), ...others];
}

function reverse(view: DnsView, zone: Zone, query: Query, name: string, asked: string): Answer {
  const ip = name.slice(0, -".in-addr.arpa".length).split(".").reverse().join(".");
  const service = view.serviceByIp(ip);
  const names = service !== undefined ? [hostName(zone, service)]
    : view.endpointsByIp(ip).map(({ service: s, endpoint }) => hostName(zone, s, `${endpoint.hostname}.`));
  if (names.length === 0) return PRIVATE_REVERSE.test(name) ? done(zone, RCODE.NXDOMAIN, [], true, []) : { do: "forward" };
  if (query.type !== TYPE.PTR && query.type !== TYPE.ANY) return done(zone, RCODE.NOERROR, [], true, []);
  return done(zone, RCODE.NOERROR, names.map((target) => ({ name: asked, ttl: ENDPOINT_TTL_S, data: { type: "PTR", target } })), false, []);
}
