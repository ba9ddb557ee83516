// Owns the choice of one workload of a service, and of the address to dial on a workload.
import {
  eligible, familyOf, nearest, pickForClient, pickWeighted, type Candidate, type Ip, type ResolutionMode, type Service, type Workload, type WorkloadUid,
} from "@ambit/core";
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

export interface EndpointQuestion {
  readonly service: Service;
  readonly port: number;
  readonly client: Workload;
  /** The address that a service which keeps its clients knows them by. */
  readonly clientIp: Ip;
  readonly gathered: Gathered;
  readonly mode: ResolutionMode;
}

/**
 * One of the eligible endpoints that are as near as the service asks and did not fail this connection already: where this client went
 * lately if the service keeps its clients, else random, weighted by capacity.
 */
export function chooseEndpoint(view: StateView, q: EndpointQuestion, random: () => number): Choice {
  const { service, port, client, gathered } = q;
  const key = keyOf(service);
  const endpoints = view.endpoints(key);
  const able = eligible(service, endpoints, port, client.network, q.mode);
  const near = nearest(without(able, gathered.failed), service.loadBalancing, client);
  const picked = service.clientAffinityMs === undefined ? pickWeighted(near, capacity, random) : keepClient(near, gathered.lately?.get(key), q.clientIp);
  if (picked !== undefined) return { kind: "chosen", chosen: { ...picked, service } };

  const total = view.members(key).length;
  const counts = `${total} endpoint${total === 1 ? "" : "s"}, ${endpoints.length} healthy, ${able.length} with port ${port}, ${near.length} near enough`;
  if (endpoints.length > 0 && able.length === 0 && !service.ports.has(port))
    return { kind: "none", code: "no-such-port", message: `no healthy upstream: ${key} has no port ${port}, only ${[...service.ports.keys()].join(", ") || "none"}` };
  return { kind: "none", code: "no-healthy-endpoint", message: `no healthy upstream: ${key} port ${port} has ${counts}` };
}

const capacity = (c: Candidate): number => c.workload.capacity;
const without = (all: readonly Candidate[], failed: Gathered["failed"]): readonly Candidate[] =>
  failed === undefined || failed.size === 0 ? all : all.filter((c) => !failed.has(c.workload.uid));

function keepClient(near: readonly Candidate[], lately: WorkloadUid | undefined, clientIp: Ip): Candidate | undefined {
  const known = lately === undefined ? undefined : near.find((c) => c.workload.uid === lately && c.workload.capacity > 0);
  return known ?? pickForClient(near, capacity, (c) => c.workload.uid, clientIp);
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
