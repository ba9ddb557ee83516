// Owns strict reading of ServiceEntry and WorkloadEntry specs, and of the inline endpoints they share.
import { parseCidr, parseIp, type Cidr, type Ip, type Locality, type Problem } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { Reader } from "./decode.ts";
import type { LabelMap } from "./settings.ts";

export interface EndpointSpec {
  /** `none`: only the gateway of its network knows. */
  readonly address: { readonly kind: "ip"; readonly ip: Ip } | { readonly kind: "hostname"; readonly hostname: string } | { readonly kind: "none" };
  /** Service port name → port here. */
  readonly ports: ReadonlyMap<string, number>;
  readonly labels: LabelMap;
  /** "" = the cluster's own. */
  readonly network: string;
  readonly locality: Locality;
  readonly capacity: number;
  readonly serviceAccount: string;
}

const RESOLUTIONS = ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] as const;
type Resolution = (typeof RESOLUTIONS)[number];

interface EntryPort { readonly number: number; readonly name: string; readonly protocol: string; readonly target: number }

export interface ServiceEntrySpec {
  readonly hosts: readonly string[];
  readonly addresses: readonly Cidr[];
  readonly ports: readonly EntryPort[];
  readonly resolution: Resolution;
  readonly endpoints: readonly EndpointSpec[];
  readonly selector: LabelMap | undefined;
  readonly subjectAltNames: readonly string[];
}

export type Decoded<T> = { readonly ok: true; readonly spec: T } | { readonly ok: false; readonly problems: readonly Problem[] };

const ENDPOINT_FIELDS = ["address", "ports", "labels", "network", "locality", "weight", "serviceAccount"];
const DNS_NAME = /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;
const DNS_NAME_MAX = 253;
const WEIGHT_MAX = 2 ** 32 - 1;

export function decodeWorkloadEntry(o: KubeObject): Decoded<EndpointSpec> {
  const reader = new Reader();
  const spec = endpoint(reader, o["spec"] ?? {}, "spec");
  return spec !== undefined && reader.problems.length === 0 ? { ok: true, spec } : { ok: false, problems: reader.problems };
}

/** One thing wrong anywhere, endpoints included, and the whole entry is refused. */
export function decodeServiceEntry(o: KubeObject): Decoded<ServiceEntrySpec> {
  const reader = new Reader();
  const spec = reader.object(o["spec"] ?? {}, "spec", ["hosts", "addresses", "ports", "location", "resolution", "endpoints", "workloadSelector", "exportTo", "subjectAltNames"]) ?? {};
  reader.oneOf(spec["location"], "spec.location", ["MESH_EXTERNAL", "MESH_INTERNAL"]);
  const resolution = reader.oneOf(spec["resolution"], "spec.resolution", RESOLUTIONS) ?? "NONE";
  const hosts = reader.texts(spec["hosts"], "spec.hosts") ?? reader.refuse("spec.hosts", "must name at least one host") ?? [];
  hosts.forEach((h, i) => { if (!isDnsName(h)) reader.refuse(`spec.hosts[${i}]`, `"${h}" is not a DNS name`); });
  const addresses = (reader.list(spec["addresses"], "spec.addresses") ?? []).flatMap((a, i) => {
    const parsed = parseCidr(reader.text(a, `spec.addresses[${i}]`) ?? "");
    return parsed.ok ? [parsed.value] : (reader.refuse(`spec.addresses[${i}]`, parsed.error) ?? []);
  });
  const ports = (reader.list(spec["ports"], "spec.ports") ?? []).flatMap((p, i) => entryPort(reader, p, `spec.ports[${i}]`) ?? []);
  const endpoints = (reader.list(spec["endpoints"], "spec.endpoints") ?? []).flatMap((e, i) => endpoint(reader, e, `spec.endpoints[${i}]`) ?? []);
  const selector = reader.labels(reader.object(spec["workloadSelector"], "spec.workloadSelector", ["labels"])?.["labels"], "spec.workloadSelector.labels");
  const subjectAltNames = reader.list(spec["subjectAltNames"], "spec.subjectAltNames") === undefined || (spec["subjectAltNames"] as unknown[]).length === 0
    ? [] : (reader.texts(spec["subjectAltNames"], "spec.subjectAltNames") ?? []);
  if (selector !== undefined && endpoints.length > 0) reader.refuse("spec.workloadSelector", "must not be given together with endpoints");
  if (resolution === "NONE" && endpoints.length > 0) reader.refuse("spec.endpoints", "must not be given with resolution NONE");
  if (resolution === "STATIC") endpoints.forEach((e, i) => { if (e.address.kind === "hostname") reader.refuse(`spec.endpoints[${i}].address`, "must be an IP address with resolution STATIC"); });
  if (resolution.startsWith("DNS") && endpoints.length === 0 && selector === undefined)
    hosts.forEach((h, i) => { if (h.startsWith("*")) reader.refuse(`spec.hosts[${i}]`, `"${h}" cannot be resolved: use resolution NONE or DYNAMIC_DNS, or give endpoints`); });
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems };
  return { ok: true, spec: { hosts, addresses, ports, resolution, endpoints, selector, subjectAltNames } };
}

const isDnsName = (h: string): boolean => h.length <= DNS_NAME_MAX && DNS_NAME.test(h);

function entryPort(reader: Reader, value: unknown, path: string): EntryPort | undefined {
  const p = reader.object(value, path, ["number", "protocol", "name", "targetPort"]);
  if (p === undefined) return reader.refuse(path, "must be an object");
  const number = reader.port(p["number"], `${path}.number`);
  const target = (p["targetPort"] ?? 0) === 0 ? number : reader.port(p["targetPort"], `${path}.targetPort`);
  if (number === undefined || target === undefined) return undefined;
  return { number, target, name: reader.text(p["name"], `${path}.name`) ?? "", protocol: reader.text(p["protocol"], `${path}.protocol`) ?? "" };
}

function endpoint(reader: Reader, value: unknown, path: string): EndpointSpec | undefined {
  const e = reader.object(value, path, ENDPOINT_FIELDS);
  if (e === undefined) return reader.refuse(path, "must be an object");
  const network = reader.text(e["network"], `${path}.network`) ?? "";
  const address = (e["address"] ?? "") === "" && network !== "" ? { kind: "none" as const } : addressOf(reader, e["address"], `${path}.address`);
  const ports = new Map<string, number>();
  for (const [name, p] of Object.entries(reader.map(e["ports"], `${path}.ports`) ?? {})) {
    const port = reader.port(p, `${path}.ports.${name}`);
    if (port !== undefined) ports.set(name, port);
  }
  const weight = e["weight"] ?? 0;
  if (typeof weight !== "number" || !Number.isInteger(weight) || weight < 0 || weight > WEIGHT_MAX) reader.refuse(`${path}.weight`, "must be a whole number");
  const [region = "", zone = "", subzone = ""] = (reader.text(e["locality"], `${path}.locality`) ?? "").split("/");
  if (address === undefined) return undefined;
  return {
    address, ports, labels: reader.labels(e["labels"], `${path}.labels`) ?? {}, network,
    locality: { region, zone, subzone },
    // A weight of 0 is how "not set" is written.
    capacity: typeof weight === "number" && weight > 0 ? weight : 1,
    serviceAccount: reader.text(e["serviceAccount"], `${path}.serviceAccount`) ?? "",
  };
}

function addressOf(reader: Reader, value: unknown, path: string): EndpointSpec["address"] | undefined {
  const text = reader.text(value, path) ?? "";
  if (text === "") return reader.refuse(path, "is missing");
  if (text.startsWith("unix:")) return reader.refuse(path, "unix domain sockets are not supported");
  const ip = parseIp(text);
  if (ip.ok) return { kind: "ip", ip: ip.value };
  if (!isDnsName(text) || text.startsWith("*") || /^[\d.]+$/.test(text)) return reader.refuse(path, `"${text}" is neither an IP address nor a DNS name`);
  return { kind: "hostname", hostname: text };
}
