// Owns the small steps from wire values to domain values that several resource decoders share, collecting problems with paths.
import { cidrFromBytes, ipFromBytes, parseIdentity, type Cidr, type GatewayAddress, type Identity, type Ip, type Problem } from "@ambit/core";
import type { workload } from "@ambit/proto";

/** Accumulates every problem of one resource; a resource with any problem is refused whole. */
export class Problems {
  readonly list: Problem[] = [];

  add(path: string, message: string): undefined {
    this.list.push({ path, message });
    return undefined;
  }
}

/** A closed enum: a number the domain has no word for is a problem, never a default. */
export function enumWord<T extends string>(words: readonly (T | undefined)[], value: number, path: string, p: Problems): T | undefined {
  return words[value] ?? p.add(path, `unknown value ${value}`);
}

const PORT_MAX = 65535;
export function port(value: number, path: string, p: Problems): number {
  if (value > PORT_MAX) p.add(path, `port ${value} is beyond ${PORT_MAX}`);
  return value;
}

export function ip(bytes: Uint8Array, path: string, p: Problems): Ip | undefined {
  const result = ipFromBytes(bytes);
  return result.ok ? result.value : p.add(path, result.error);
}

export function cidr(bytes: Uint8Array, length: number, path: string, p: Problems): Cidr | undefined {
  const result = cidrFromBytes(bytes, length);
  return result.ok ? result.value : p.add(path, result.error);
}

export function required(value: string, path: string, p: Problems): string {
  if (value === "") p.add(path, "must not be empty");
  return value;
}

const DEFAULT_TRUST_DOMAIN = "cluster.local";
const DEFAULT_SERVICE_ACCOUNT = "default";

/** Empty trust domain and service account have defaults. Parts that would not survive inside a SPIFFE URI are problems. */
export function identity(w: Pick<workload.Workload, "trustDomain" | "namespace" | "serviceAccount">, p: Problems): Identity {
  const id = { trustDomain: w.trustDomain || DEFAULT_TRUST_DOMAIN, namespace: w.namespace, serviceAccount: w.serviceAccount || DEFAULT_SERVICE_ACCOUNT };
  // A workload outside Kubernetes may have no namespace; it then simply never equals a verified peer.
  const parsed = parseIdentity(`spiffe://${id.trustDomain}/ns/${id.namespace || "none"}/sa/${id.serviceAccount}`);
  if (!parsed.ok) p.add("identity", parsed.error);
  return id;
}

export function gatewayAddress(g: workload.GatewayAddress, path: string, p: Problems): GatewayAddress | undefined {
  const hbonePort = port(g.hboneMtlsPort, `${path}.hbone_mtls_port`, p);
  const d = g.destination;
  if (d.case === "hostname") return { destination: { kind: "hostname", hostname: { namespace: d.value.namespace, hostname: d.value.hostname } }, hbonePort };
  if (d.case !== "address") return p.add(`${path}.destination`, "is missing");
  const address = ip(d.value.address, `${path}.address`, p);
  return address === undefined ? undefined : { destination: { kind: "address", address: { network: d.value.network, ip: address } }, hbonePort };
}

export function optional<T, U>(value: T | undefined, decode: (value: T) => U): U | undefined {
  return value === undefined ? undefined : decode(value);
}

export function compact<T>(items: readonly (T | undefined)[]): T[] {
  return items.filter((x) => x !== undefined);
}
