// Owns the choice of one workload of a service, and of the address to dial on a workload.
import { eligible, familyOf, nearest, pickWeighted, type Ip, type ResolutionMode, type Service, type Workload } from "@ambit/core";
import type { Gathered } from "../facts.ts";
import { keyOf, type StateView } from "@ambit/proxy/state";
import type { Need } from "./need.ts";

export interface Chosen {
  readonly workload: Workload;
  /** The port to dial on the workload. */
  readonly port: number;
  readonly service: Service | undefined;
}

export type Choice = { readonly kind: "chosen"; readonly chosen: Chosen } | { readonly kind: "none"; readonly code: "no-healthy-endpoint" | "no-such-port"; readonly message: string };

/** Random, weighted by capacity, among the eligible endpoints that are as near as the service asks. */
export function chooseEndpoint(view: StateView, service: Service, servicePort: number, client: Workload, random: () => number, mode: ResolutionMode = "standard"): Choice {
  const key = keyOf(service);
  const endpoints = view.endpoints(key);
  const able = eligible(service, endpoints, servicePort, client.network, mode);
  const near = nearest(able, service.loadBalancing, client);
  const picked = pickWeighted(near, (c) => c.workload.capacity, random);
  if (picked !== undefined) return { kind: "chosen", chosen: { ...picked, service } };

  const total = view.members(key).length;
  const counts = `${total} endpoint${total === 1 ? "" : "s"}, ${endpoints.length} healthy, ${able.length} with port ${servicePort}, ${near.length} near enough`;
  if (endpoints.length > 0 && able.length === 0 && !service.ports.has(servicePort))
    return { kind: "none", code: "no-such-port", message: `no healthy upstream: ${key} has no port ${servicePort}, only ${[...service.ports.keys()].join(", ") || "none"}` };
  return { kind: "none", code: "no-healthy-endpoint", message: `no healthy upstream: ${key} port ${servicePort} has ${counts}` };
}

export type AddressChoice =
  | { readonly kind: "ip"; readonly ip: Ip }
  | { readonly kind: "need"; readonly need: Need }
  | { readonly kind: "none"; readonly code: "dns-failed" | "no-healthy-endpoint"; readonly message: string };

/**
 * The requested address if it is the workload's own; else the first that the service's families allow, preferring the family
 * asked for; else an answer for its hostname, of the same family if there is one.
 */
export function chooseAddress(workload: Workload, service: Service | undefined, asked: Ip, gathered: Gathered, random: () => number): AddressChoice {
  if (workload.addresses.includes(asked)) return { kind: "ip", ip: asked };
  const allowed = workload.addresses.filter((ip) => service === undefined || familyAllowed(service, ip));
  const ip = allowed.find((a) => familyOf(a) === familyOf(asked)) ?? allowed[0];
  if (ip !== undefined) return { kind: "ip", ip };
  if (workload.addresses.length > 0)
    return { kind: "none", code: "no-healthy-endpoint", message: `no healthy upstream: ${workload.uid} has no address of the families that ${service?.hostname ?? "it"} allows` };
  if (workload.hostname === "") return { kind: "none", code: "no-healthy-endpoint", message: `no healthy upstream: ${workload.uid} has no address and no hostname` };

  const answers = gathered.hosts.get(workload.hostname);
  if (answers === undefined) return { kind: "need", need: { kind: "dns", hostname: workload.hostname } };
  const same = answers.filter((a) => familyOf(a) === familyOf(asked));
  const found = pickWeighted(same.length > 0 ? same : answers, () => 1, random);
  return found === undefined ? { kind: "none", code: "dns-failed", message: `${workload.hostname} has no address in DNS` } : { kind: "ip", ip: found };
}

function familyAllowed(service: Service, ip: Ip): boolean {
  if (service.ipFamilies === "ipv4") return familyOf(ip) === 4;
  return service.ipFamilies === "ipv6" ? familyOf(ip) === 6 : true;
}
