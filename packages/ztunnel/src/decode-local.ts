// Owns the local configuration file of ztunnel (LOCAL_XDS_PATH): the shape of its dump, strictly read, into the wire resources of a push.
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ipBytes, parseCidr, parseIp, type Problem } from "@ambit/core";
import { security, workload as wire } from "@ambit/proto";
import { prepareAddresses, preparePolicies, type Batch } from "@ambit/proxy/state";
import { load } from "js-yaml";

type WireWorkload = MessageInitShape<typeof wire.WorkloadSchema>;
type WireService = MessageInitShape<typeof wire.ServiceSchema>;
type Entry = Readonly<Record<string, unknown>>;

/** Batches in the order in which they are to be applied, or every problem with its path. Nothing is taken of a file that has one. */
export function readLocalConfig(text: string): { readonly batches: readonly Batch[] } | { readonly problems: readonly Problem[] } {
  const r = new Reader();
  let parsed: unknown;
  try {
    parsed = load(text);
  } catch (error) {
    return { problems: [{ path: "", message: error instanceof Error ? error.message : String(error) }] };
  }
  const top = r.object(parsed ?? {}, "", ["workloads", "services", "policies"]);
  const workloads = r.list(top["workloads"], "workloads").map((w, i) => readWorkload(r, w, `workloads[${i}]`));
  const services = r.list(top["services"], "services").map((s, i) => readService(r, s, `services[${i}]`));
  const policies = r.list(top["policies"], "policies").map((p, i) => readPolicy(r, p, `policies[${i}]`));
  if (r.problems.length > 0) return { problems: r.problems };
  const address = (type: MessageInitShape<typeof wire.AddressSchema>["type"] & {}) => toBinary(wire.AddressSchema, create(wire.AddressSchema, { type }));
  const addresses = prepareAddresses({ removed: [], upserts: [
    ...workloads.map((value) => ({ name: value.uid ?? "", bytes: address({ case: "workload", value: create(wire.WorkloadSchema, value) }) })),
    ...services.map((value) => ({ name: `${value.namespace}/${value.hostname}`, bytes: address({ case: "service", value: create(wire.ServiceSchema, value) }) })),
  ] });
  const authorizations = preparePolicies({ removed: [], upserts: policies.map((p) => ({ name: `${p.namespace}/${p.name}`, bytes: toBinary(security.AuthorizationSchema, create(security.AuthorizationSchema, p)) })) });
  const problems = [...addresses.rejects, ...authorizations.rejects];
  return problems.length > 0 ? { problems } : { batches: [authorizations.batch, addresses.batch] };
}

/** Narrows plain YAML, collecting problems. A key that is not known is one: nothing is ignored. */
class Reader {
  readonly problems: Problem[] = [];

  bad(path: string, message: string): undefined {
    this.problems.push({ path, message });
    return undefined;
  }
  object(value: unknown, path: string, keys?: readonly string[]): Entry {
    if (typeof value !== "object" || value === null || Array.isArray(value)) { this.bad(path, "is not a map"); return {}; }
    if (keys !== undefined) for (const key of Object.keys(value)) if (!keys.includes(key)) this.bad(`${path}.${key}`, "is not known");
    return value as Entry;
  }
  list(value: unknown, path: string): readonly unknown[] {
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.bad(path, "is not a list");
    return [];
  }
  text(value: unknown, path: string): string {
    if (value === undefined) return "";
    return typeof value === "string" ? value : (this.bad(path, "is not a text"), "");
  }
  texts(value: unknown, path: string): string[] {
    return this.list(value, path).map((v, i) => this.text(v, `${path}[${i}]`));
  }
  number(value: unknown, path: string, fallback = 0): number {
    if (value === undefined) return fallback;
    return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : (this.bad(path, "is not a whole number"), fallback);
  }
  flag(value: unknown, path: string): boolean {
    return value === undefined ? false : typeof value === "boolean" ? value : (this.bad(path, "is not true or false"), false);
  }
  word<T extends number>(value: unknown, words: Readonly<Record<string, T>>, path: string, fallback: T): T {
    if (value === undefined) return fallback;
    const found = typeof value === "string" && Object.hasOwn(words, value) ? words[value] : undefined;
    return found ?? (this.bad(path, `is none of ${Object.keys(words).join(", ")}`), fallback);
  }
  ip(value: unknown, path: string): Uint8Array {
    const ip = parseIp(this.text(value, path));
    return ip.ok ? ipBytes(ip.value) : (this.bad(path, ip.error), new Uint8Array());
  }
  /** `{80: 8080}`. */
  ports(value: unknown, path: string): { servicePort: number; targetPort: number }[] {
    if (value === undefined) return [];
    return Object.entries(this.object(value, path)).map(([port, target]) => ({ servicePort: Number(port), targetPort: this.number(target, `${path}.${port}`) }));
  }
  /** `NETWORK/ADDRESS[/PREFIX]`; the network may be empty. */
  networkAddress(value: unknown, path: string): { network: string; address: Uint8Array; length?: number } {
    const text = this.text(value, path);
    const slash = text.indexOf("/");
    const block = parseCidr(text.slice(slash + 1));
    if (slash < 0 || !block.ok) { this.bad(path, `"${text}" is not NETWORK/ADDRESS`); return { network: "", address: new Uint8Array() }; }
    return { network: text.slice(0, slash), address: ipBytes(block.value.ip), ...(text.split("/").length === 3 ? { length: block.value.prefix } : {}) };
  }
  /** `destination` is NETWORK/ADDRESS or NAMESPACE/HOSTNAME. */
  gateway(value: unknown, path: string): wire.GatewayAddress {
    const g = this.object(value, path, ["destination", "hboneMtlsPort"]);
    const text = this.text(g["destination"], `${path}.destination`);
    const slash = text.indexOf("/");
    const isAddress = parseIp(text.slice(slash + 1)).ok;
    if (slash < 0) this.bad(`${path}.destination`, "is neither NETWORK/ADDRESS nor NAMESPACE/HOSTNAME");
    return create(wire.GatewayAddressSchema, {
      hboneMtlsPort: this.number(g["hboneMtlsPort"], `${path}.hboneMtlsPort`),
      destination: isAddress ? { case: "address", value: create(wire.NetworkAddressSchema, this.networkAddress(text, `${path}.destination`)) }
        : { case: "hostname", value: create(wire.NamespacedHostnameSchema, { namespace: text.slice(0, slash), hostname: text.slice(slash + 1) }) },
    });
  }
}

const given = <K extends string, V>(key: K, value: unknown, make: (value: unknown) => V): Partial<Record<K, V>> => (value === undefined ? {} : ({ [key]: make(value) } as Record<K, V>));

const TYPES = { deployment: wire.WorkloadType.DEPLOYMENT, cronjob: wire.WorkloadType.CRONJOB, pod: wire.WorkloadType.POD, job: wire.WorkloadType.JOB };
const WORKLOAD_KEYS = ["uid", "name", "namespace", "workloadIps", "hostname", "network", "protocol", "trustDomain", "serviceAccount", "waypoint", "networkGateway", "node", "canonicalName", "canonicalRevision",
  "workloadType", "workloadName", "nativeTunnel", "authorizationPolicies", "status", "clusterId", "services", "applicationTunnel", "locality", "networkMode", "capacity"];

function readWorkload(r: Reader, value: unknown, at: string): WireWorkload {
  const w = r.object(value, at, WORKLOAD_KEYS);
  const text = (key: string) => r.text(w[key], `${at}.${key}`);
  return {
    uid: text("uid"), name: text("name"), namespace: text("namespace"), hostname: text("hostname"), network: text("network"), trustDomain: text("trustDomain"), serviceAccount: text("serviceAccount"),
    node: text("node"), canonicalName: text("canonicalName"), canonicalRevision: text("canonicalRevision"), workloadName: text("workloadName"), clusterId: text("clusterId"),
    addresses: r.list(w["workloadIps"], `${at}.workloadIps`).map((a, i) => r.ip(a, `${at}.workloadIps[${i}]`)),
    tunnelProtocol: r.word(w["protocol"], { TCP: wire.TunnelProtocol.NONE, HBONE: wire.TunnelProtocol.HBONE }, `${at}.protocol`, wire.TunnelProtocol.NONE),
    workloadType: r.word(w["workloadType"], TYPES, `${at}.workloadType`, wire.WorkloadType.POD), nativeTunnel: r.flag(w["nativeTunnel"], `${at}.nativeTunnel`),
    authorizationPolicies: r.texts(w["authorizationPolicies"], `${at}.authorizationPolicies`),
    status: r.word(w["status"], { Healthy: wire.WorkloadStatus.HEALTHY, Unhealthy: wire.WorkloadStatus.UNHEALTHY }, `${at}.status`, wire.WorkloadStatus.HEALTHY),
    networkMode: r.word(w["networkMode"], { Standard: wire.NetworkMode.STANDARD, HostNetwork: wire.NetworkMode.HOST_NETWORK }, `${at}.networkMode`, wire.NetworkMode.STANDARD),
    capacity: r.number(w["capacity"], `${at}.capacity`, 1),
    services: Object.fromEntries(Object.entries(r.object(w["services"] ?? {}, `${at}.services`)).map(([key, ports]) => [key, create(wire.PortListSchema, { ports: r.ports(ports, `${at}.services.${key}`) })])),
    ...given("waypoint", w["waypoint"], (g) => r.gateway(g, `${at}.waypoint`)), ...given("networkGateway", w["networkGateway"], (g) => r.gateway(g, `${at}.networkGateway`)),
    ...given("locality", w["locality"], (l) => {
      const o = r.object(l, `${at}.locality`, ["region", "zone", "subzone"]);
      return { region: r.text(o["region"], `${at}.locality.region`), zone: r.text(o["zone"], `${at}.locality.zone`), subzone: r.text(o["subzone"], `${at}.locality.subzone`) };
    }),
    ...given("applicationTunnel", w["applicationTunnel"], (t) => {
      const o = r.object(t, `${at}.applicationTunnel`, ["protocol", "port"]);
      const { NONE, PROXY } = wire.ApplicationTunnel_Protocol;
      return { protocol: r.word(o["protocol"], { NONE, PROXY }, `${at}.applicationTunnel.protocol`, NONE), port: r.number(o["port"], `${at}.applicationTunnel.port`) };
    }),
  };
}

const SERVICE_KEYS = ["name", "namespace", "hostname", "vips", "cidrVips", "ports", "subjectAltNames", "waypoint", "weightedWaypoints", "loadBalancer", "ipFamilies", "canonical", "visibility"];
const { LoadBalancing_Mode: Mode, LoadBalancing_Scope: Scope, LoadBalancing_HealthPolicy: Health, IPFamilies, Service_Visibility: Visibility } = wire;
const SCOPES = { Region: Scope.REGION, Zone: Scope.ZONE, Subzone: Scope.SUBZONE, Node: Scope.NODE, Cluster: Scope.CLUSTER, Network: Scope.NETWORK };

function readService(r: Reader, value: unknown, at: string): WireService {
  const s = r.object(value, at, SERVICE_KEYS);
  const addresses = ["vips", "cidrVips"].flatMap((key) => r.list(s[key], `${at}.${key}`).map((a, i) => r.networkAddress(a, `${at}.${key}[${i}]`)));
  return {
    name: r.text(s["name"], `${at}.name`), namespace: r.text(s["namespace"], `${at}.namespace`), hostname: r.text(s["hostname"], `${at}.hostname`), addresses,
    ports: r.ports(s["ports"], `${at}.ports`), subjectAltNames: r.texts(s["subjectAltNames"], `${at}.subjectAltNames`), canonical: r.flag(s["canonical"], `${at}.canonical`),
    ipFamilies: r.word(s["ipFamilies"], { IPv4: IPFamilies.IPV4_ONLY, IPv6: IPFamilies.IPV6_ONLY, Dual: IPFamilies.DUAL }, `${at}.ipFamilies`, IPFamilies.AUTOMATIC),
    visibility: r.word(s["visibility"], { Public: Visibility.PUBLIC, Namespace: Visibility.NAMESPACE }, `${at}.visibility`, Visibility.PUBLIC),
    ...given("waypoint", s["waypoint"], (g) => r.gateway(g, `${at}.waypoint`)),
    weightedWaypoints: r.list(s["weightedWaypoints"], `${at}.weightedWaypoints`).map((w, i) => {
      const o = r.object(w, `${at}.weightedWaypoints[${i}]`, ["destination", "weight"]);
      return { destination: r.gateway(o["destination"], `${at}.weightedWaypoints[${i}].destination`), weight: r.number(o["weight"], `${at}.weightedWaypoints[${i}].weight`) };
    }),
    ...given("loadBalancing", s["loadBalancer"], (lb) => {
      const o = r.object(lb, `${at}.loadBalancer`, ["routingPreferences", "mode", "healthPolicy"]);
      return {
        routingPreference: r.list(o["routingPreferences"], `${at}.loadBalancer.routingPreferences`).map((x, i) => r.word(x, SCOPES, `${at}.loadBalancer.routingPreferences[${i}]`, Scope.REGION)),
        mode: r.word(o["mode"], { Standard: Mode.UNSPECIFIED_MODE, Strict: Mode.STRICT, Failover: Mode.FAILOVER, Passthrough: Mode.PASSTHROUGH }, `${at}.loadBalancer.mode`, Mode.UNSPECIFIED_MODE),
        healthPolicy: r.word(o["healthPolicy"], { OnlyHealthy: Health.ONLY_HEALTHY, AllowAll: Health.ALLOW_ALL }, `${at}.loadBalancer.healthPolicy`, Health.ONLY_HEALTHY),
      };
    }),
  };
}

const MATCH_STRINGS = ["namespaces", "notNamespaces", "principals", "notPrincipals"] as const;
const MATCH_BLOCKS = ["sourceIps", "notSourceIps", "destinationIps", "notDestinationIps"] as const;
const MATCH_PORTS = ["destinationPorts", "notDestinationPorts"] as const;
const MATCH_ACCOUNTS = ["serviceAccounts", "notServiceAccounts"] as const;
const { Scope: PolicyScope, Action } = security;

function readPolicy(r: Reader, value: unknown, at: string): MessageInitShape<typeof security.AuthorizationSchema> & { readonly name: string; readonly namespace: string } {
  const p = r.object(value, at, ["name", "namespace", "scope", "action", "rules", "dryRun"]);
  return {
    name: r.text(p["name"], `${at}.name`), namespace: r.text(p["namespace"], `${at}.namespace`), dryRun: r.flag(p["dryRun"], `${at}.dryRun`),
    scope: r.word(p["scope"], { Global: PolicyScope.GLOBAL, Namespace: PolicyScope.NAMESPACE, WorkloadSelector: PolicyScope.WORKLOAD_SELECTOR }, `${at}.scope`, PolicyScope.NAMESPACE),
    action: r.word(p["action"], { Allow: Action.ALLOW, Deny: Action.DENY }, `${at}.action`, Action.DENY),
    rules: r.list(p["rules"], `${at}.rules`).map((rule, i) => ({ clauses: r.list(rule, `${at}.rules[${i}]`).map((clause, j) => ({
      matches: r.list(clause, `${at}.rules[${i}][${j}]`).map((m, k) => readMatch(r, m, `${at}.rules[${i}][${j}][${k}]`)) })) })),
  };
}

function readMatch(r: Reader, value: unknown, at: string): MessageInitShape<typeof security.MatchSchema> {
  const m = r.object(value, at, [...MATCH_STRINGS, ...MATCH_BLOCKS, ...MATCH_PORTS, ...MATCH_ACCOUNTS]);
  const each = <K extends string, V>(keys: readonly K[], read: (item: unknown, path: string) => V) =>
    Object.fromEntries(keys.map((key) => [key, r.list(m[key], `${at}.${key}`).map((x, i) => read(x, `${at}.${key}[${i}]`))])) as Record<K, V[]>;
  return {
    ...each(MATCH_STRINGS, (x, path) => readString(r, x, path)),
    ...each(MATCH_BLOCKS, (x, path) => {
      const block = parseCidr(r.text(x, path));
      if (!block.ok) r.bad(path, block.error);
      return block.ok ? { address: ipBytes(block.value.ip), length: block.value.prefix } : {};
    }),
    ...each(MATCH_PORTS, (x, path) => r.number(x, path)),
    ...each(MATCH_ACCOUNTS, (x, path) => {
      const o = r.object(x, path, ["namespace", "serviceAccount"]);
      return { namespace: r.text(o["namespace"], `${path}.namespace`), serviceAccount: r.text(o["serviceAccount"], `${path}.serviceAccount`) };
    }),
  };
}

/** `{Exact: x}`, `{Prefix: x}`, `{Suffix: x}` or `{Presence: []}`. */
function readString(r: Reader, value: unknown, path: string): MessageInitShape<typeof security.StringMatchSchema> {
  const o = r.object(value, path, ["Exact", "Prefix", "Suffix", "Presence"]);
  const [[kind, text] = ["", undefined], more] = Object.entries(o);
  if (more !== undefined || kind === "") r.bad(path, "is not exactly one of Exact, Prefix, Suffix, Presence");
  if (kind === "Presence") return { matchType: { case: "presence", value: {} } };
  const word = ({ Exact: "exact", Prefix: "prefix", Suffix: "suffix" } as const)[kind] ?? "exact";
  return { matchType: { case: word, value: r.text(text, `${path}.${kind}`) } };
}
