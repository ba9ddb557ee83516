// Owns the status of a waypoint's Gateway: accepted, programmed, its addresses and its listeners. Pure; protocol.md §10.4.
import { describeProblems, type Problem } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { namesOf, record } from "./objects.ts";

export const HBONE_PORT = 15008;

export interface GatewayFacts {
  /** The managed Service as it stands, or the one that spec.addresses names. */
  readonly service: KubeObject | undefined;
  /** Ready pods of the Deployment. */
  readonly readyPods: number;
  readonly clusterDomain: string;
  /** What kept the objects from being made. */
  readonly problems: readonly Problem[];
}

export interface Condition { readonly type: string; readonly status: "True" | "False" | "Unknown"; readonly reason: string; readonly message: string }
export interface GatewayStatus {
  readonly addresses: readonly { readonly type: "IPAddress" | "Hostname"; readonly value: string }[];
  readonly conditions: readonly Condition[];
  readonly listeners: readonly { readonly name: string; readonly attachedRoutes: number; readonly supportedKinds: readonly object[]; readonly conditions: readonly Condition[] }[];
}

/** Addresses order: IPv4, IPv6, host name. Once there they stay, so that clients do not forget the way while pods restart. */
export function gatewayStatus(gateway: KubeObject, facts: GatewayFacts): GatewayStatus {
  const listeners = (Array.isArray(record(gateway["spec"])["listeners"]) ? (record(gateway["spec"])["listeners"] as unknown[]) : []).map(record).map(listenerStatus);
  const accepted: Condition = facts.problems.length > 0
    ? { type: "Accepted", status: "False", reason: "InvalidParameters", message: describeProblems(facts.problems) }
    : listeners.every((l) => l.ok) ? { type: "Accepted", status: "True", reason: "Accepted", message: "Resource accepted" }
      : { type: "Accepted", status: "False", reason: "ListenersNotValid", message: `no listener is HBONE on port ${HBONE_PORT}, or another one is there` };
  const addresses = addressesOf(gateway, facts);
  return {
    addresses,
    conditions: [accepted, programmed(gateway, facts, accepted, addresses.length > 0), { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "All references resolved" }],
    listeners: listeners.map((l) => l.status),
  };
}

function programmed(gateway: KubeObject, facts: GatewayFacts, accepted: Condition, addressed: boolean): Condition {
  const { name } = namesOf(gateway);
  const no = (reason: string, message: string): Condition => ({ type: "Programmed", status: "False", reason, message });
  if (accepted.status !== "True") return no("Invalid", "the Gateway is not accepted");
  if (!addressed) return no("AddressNotAssigned", `Service ${name} has no address yet`);
  if (facts.readyPods === 0) return no("NoResources", `no pod of Deployment ${name} is ready: traffic that needs this waypoint is refused until one is`);
  return { type: "Programmed", status: "True", reason: "Programmed", message: `Resource programmed, ${facts.readyPods} ready ${facts.readyPods === 1 ? "pod" : "pods"}` };
}

function addressesOf(gateway: KubeObject, facts: GatewayFacts): GatewayStatus["addresses"] {
  const spec = record(facts.service?.["spec"]);
  const ips = (Array.isArray(spec["clusterIPs"]) ? spec["clusterIPs"].map(String) : []).filter((ip) => ip !== "" && ip !== "None");
  if (facts.service === undefined || ips.length === 0) return [];
  const host = `${facts.service.metadata.name}.${gateway.metadata.namespace ?? ""}.svc.${facts.clusterDomain}`;
  const ordered = [...ips.filter((ip) => !ip.includes(":")), ...ips.filter((ip) => ip.includes(":"))];
  return [...ordered.map((value) => ({ type: "IPAddress" as const, value })), { type: "Hostname", value: host }];
}

function listenerStatus(l: Record<string, unknown>): { readonly ok: boolean; readonly status: GatewayStatus["listeners"][number] } {
  const ok = l["port"] === HBONE_PORT && l["protocol"] === "HBONE";
  const accepted: Condition = ok ? { type: "Accepted", status: "True", reason: "Accepted", message: "No errors found" }
    : { type: "Accepted", status: "False", reason: "UnsupportedProtocol", message: `a waypoint listens for HBONE on port ${HBONE_PORT} only, not for ${String(l["protocol"])} on ${String(l["port"])}` };
  const rest: Condition[] = ok ? [
    { type: "Conflicted", status: "False", reason: "NoConflicts", message: "No errors found" },
    { type: "Programmed", status: "True", reason: "Programmed", message: "No errors found" },
    { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "No errors found" },
  ] : [{ type: "Programmed", status: "False", reason: "Invalid", message: "the listener is not accepted" }];
  return { ok, status: { name: String(l["name"] ?? ""), attachedRoutes: 0, supportedKinds: [], conditions: [accepted, ...rest] } };
}

/** The status to write, or undefined when what stands says the same. Transition times of what did not change stay. */
export function gatewayStatusToApply(gateway: KubeObject, want: GatewayStatus, now: string): object | undefined {
  const standing = record(gateway["status"]);
  const generation = gateway.metadata.generation ?? 0;
  const timed = (conditions: readonly Condition[], before: unknown): object[] => conditions.map((c) => {
    const old = (Array.isArray(before) ? before.map(record) : []).find((b) => b["type"] === c.type);
    return { ...c, observedGeneration: generation, lastTransitionTime: old?.["status"] === c.status ? (old["lastTransitionTime"] ?? now) : now };
  });
  const listenersBefore = Array.isArray(standing["listeners"]) ? standing["listeners"].map(record) : [];
  const next = {
    addresses: want.addresses,
    conditions: timed(want.conditions, standing["conditions"]),
    listeners: want.listeners.map((l) => {
      const before = listenersBefore.find((b) => b["name"] === l.name);
      return { ...l, attachedRoutes: Number(before?.["attachedRoutes"] ?? 0), conditions: timed(l.conditions, before?.["conditions"]) };
    }),
  };
  return covers(standing, next) ? undefined : next;
}

/** Everything of `want` stands in `have`; others may have written more. Lists of ours are whole. */
function covers(have: unknown, want: unknown): boolean {
  if (Array.isArray(want)) {
    if (!Array.isArray(have)) return want.length === 0;
    const named = want.every((w) => "type" in record(w) && "reason" in record(w));
    return named ? want.every((w) => have.some((h) => covers(h, w))) : have.length === want.length && want.every((w, i) => covers(have[i], w));
  }
  if (typeof want === "object" && want !== null) return typeof have === "object" && have !== null && Object.entries(want).every(([k, v]) => covers(record(have)[k], v));
  return have === want;
}
