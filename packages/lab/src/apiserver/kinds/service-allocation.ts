// Owns the pools of cluster IPs and node ports: what a Service gets when it is created or changed.
import { asArray, asObject, asObjects, asString, asStrings, type JsonObject } from "../json.ts";
import type { Api } from "../context.ts";
import { ApiError, invalid, invalidValue, type FieldProblem } from "../status.ts";
import type { Store } from "../storage/store.ts";

const SERVICES = { group: "", resource: "services", kind: "Service" };
const NODE_PORT_FIRST = 30000;
const NODE_PORT_LAST = 32767;

/** What is taken, kept in step with the stored Services. */
export class Allocators {
  readonly #ips = new Map<string, string>();
  readonly #ports = new Map<number, string>();
  readonly #first: number;
  readonly #last: number;
  #next: number;

  constructor(store: Store, cidr: string) {
    const range = parseCidr(cidr);
    // The network's own and the broadcast address are never given out; the first one is the API server's.
    this.#first = range.first + 1;
    this.#last = range.last - 1;
    this.#next = this.#first + 1;
    for (const entry of store.list("/services")) this.#take(entry.key, entry.object);
    store.listen("/services", (change) => {
      if (change.before !== null) this.#release(change.before.key, change.before.object);
      if (change.after !== null) this.#take(change.after.key, change.after.object);
    });
  }

  /** The address of the `kubernetes` Service. */
  get apiServer(): string {
    return formatIp(this.#first);
  }

  contains(ip: string): boolean {
    const value = parseIp(ip);
    return value !== null && value >= this.#first && value <= this.#last;
  }

  ownerOf(ip: string): string | undefined {
    return this.#ips.get(ip);
  }

  freeIp(): string {
    const size = this.#last - this.#first;
    for (let i = 0; i < size; i++) {
      const value = this.#first + 1 + ((this.#next - this.#first - 1 + i) % size);
      const ip = formatIp(value);
      if (this.#ips.has(ip)) continue;
      this.#next = value + 1;
      return ip;
    }
    throw new ApiError(500, "InternalError", "failed to allocate a serviceIP: range is full");
  }

  portOwner(port: number): string | undefined {
    return this.#ports.get(port);
  }

  freePort(taken: ReadonlySet<number>): number {
    for (let port = NODE_PORT_FIRST; port <= NODE_PORT_LAST; port++) {
      if (!this.#ports.has(port) && !taken.has(port)) return port;
    }
    throw new ApiError(500, "InternalError", "failed to allocate a nodePort: range is full");
  }

  #take(key: string, service: JsonObject): void {
    for (const ip of ipsOf(service)) this.#ips.set(ip, key);
    for (const port of nodePortsOf(service)) this.#ports.set(port, key);
  }

  #release(key: string, service: JsonObject): void {
    for (const ip of ipsOf(service)) if (this.#ips.get(ip) === key) this.#ips.delete(ip);
    for (const port of nodePortsOf(service)) if (this.#ports.get(port) === key) this.#ports.delete(port);
  }
}

function ipsOf(service: JsonObject): string[] {
  const spec = asObject(service["spec"]);
  return asStrings(spec["clusterIPs"]).filter((ip) => ip !== "None" && ip !== "");
}

function nodePortsOf(service: JsonObject): number[] {
  const ports = asObjects(asObject(service["spec"])["ports"]).map((port) => port["nodePort"]);
  return ports.filter((port) => typeof port === "number" && port > 0) as number[];
}

/** Fills clusterIP(s), IP families and node ports in; changes the Service; throws 422 for what cannot be had. */
export function assignService(api: Api, before: JsonObject | null, service: JsonObject): void {
  const spec = asObject(service["spec"]);
  const metadata = asObject(service["metadata"]);
  const name = asString(metadata["name"]);
  const key = `${asString(metadata["namespace"])}/${name}`;
  const problems = spec["type"] === "ExternalName" ? releaseAddress(spec) : assignAddress(api.allocators, key, before, spec);
  problems.push(...assignNodePorts(api.allocators, key, before, spec));
  if (problems.length > 0) throw invalid(SERVICES, name, problems);
}

function releaseAddress(spec: JsonObject): FieldProblem[] {
  for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) delete spec[field];
  return [];
}

function assignAddress(pool: Allocators, key: string, before: JsonObject | null, spec: JsonObject): FieldProblem[] {
  const was = asString(asObject(before?.["spec"])["clusterIP"]);
  const wanted = asString(spec["clusterIP"]) || asStrings(spec["clusterIPs"])[0] || "";
  const families = asStrings(spec["ipFamilies"]);
  if (families.some((family) => family !== "IPv4")) {
    return [invalidValue("spec.ipFamilies", families, "this cluster has IPv4 only")];
  }
  if (spec["ipFamilyPolicy"] === "RequireDualStack") {
    return [invalidValue("spec.ipFamilyPolicy", "RequireDualStack", "this cluster has IPv4 only")];
  }
  if (asArray(spec["clusterIPs"]).length > 1) return [invalidValue("spec.clusterIPs", spec["clusterIPs"], "this cluster has IPv4 only")];
  if (was !== "" && wanted !== "" && wanted !== was) {
    return [invalidValue("spec.clusterIPs[0]", [wanted], "may not change once set")];
  }
  const ip = wanted || was || pool.freeIp();
  if (ip !== "None") {
    if (!pool.contains(ip)) return [invalidValue("spec.clusterIPs", [ip], `failed to allocate IP ${ip}: the provided network does not match the current range`)];
    const owner = pool.ownerOf(ip);
    if (owner !== undefined && owner !== key) return [invalidValue("spec.clusterIPs", [ip], `failed to allocate IP ${ip}: provided IP is already allocated`)];
  }
  spec["clusterIP"] = ip;
  spec["clusterIPs"] = [ip];
  spec["ipFamilies"] = ["IPv4"];
  if (spec["ipFamilyPolicy"] === undefined) spec["ipFamilyPolicy"] = "SingleStack";
  return [];
}

function assignNodePorts(pool: Allocators, key: string, before: JsonObject | null, spec: JsonObject): FieldProblem[] {
  const ports = asObjects(spec["ports"]);
  const type = spec["type"];
  const wants = type === "NodePort" || (type === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false);
  if (type !== "NodePort" && type !== "LoadBalancer") {
    for (const port of ports) delete port["nodePort"];
    return [];
  }
  const problems: FieldProblem[] = [];
  const taken = new Set<number>(ports.map((port) => port["nodePort"]).filter((port) => typeof port === "number"));
  const had = asObjects(asObject(before?.["spec"])["ports"]);
  for (const [i, port] of ports.entries()) {
    const asked = port["nodePort"];
    if (typeof asked === "number" && asked !== 0) {
      const field = `spec.ports[${i}].nodePort`;
      const owner = pool.portOwner(asked);
      if (asked < NODE_PORT_FIRST || asked > NODE_PORT_LAST) {
        const text = `provided port is not in the valid range. The range of valid ports is ${NODE_PORT_FIRST}-${NODE_PORT_LAST}`;
        problems.push(invalidValue(field, asked, text));
      } else if (owner !== undefined && owner !== key) problems.push(invalidValue(field, asked, "provided port is already allocated"));
      continue;
    }
    if (!wants) continue;
    const same = had.find((old) => old["port"] === port["port"] && (old["protocol"] ?? "TCP") === (port["protocol"] ?? "TCP"));
    const kept = same?.["nodePort"];
    const next = typeof kept === "number" && !taken.has(kept) ? kept : pool.freePort(taken);
    taken.add(next);
    port["nodePort"] = next;
  }
  return problems;
}

function parseCidr(cidr: string): { first: number; last: number } {
  const [address = "", bits = ""] = cidr.split("/");
  const value = parseIp(address);
  const length = Number(bits);
  if (value === null || !/^\d+$/.test(bits) || length < 8 || length > 28) {
    throw new Error(`service CIDR ${JSON.stringify(cidr)}: must be an IPv4 network with a prefix of 8 to 28 bits`);
  }
  const size = 2 ** (32 - length);
  const first = Math.floor(value / size) * size;
  return { first, last: first + size - 1 };
}

export function parseIp(text: string): number | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  let value = 0;
  for (const part of parts) {
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    value = value * 256 + Number(part);
  }
  return value;
}

function formatIp(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}
