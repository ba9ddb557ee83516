// Owns which conditions objects should show, and their words. Pure; protocol.md §10.4.
import { describeProblems, type Problem } from "@ambit/core";
import type { PeerAuthInfo } from "../collections/peer-authentication.ts";
import type { PolicyInfo } from "../collections/policies.ts";
import type { EntryInfo } from "../collections/service-entries.ts";
import type { ServiceInfo } from "../collections/services.ts";
import type { WorkloadEntryInfo } from "../collections/workload-entries.ts";
import type { Binding } from "../collections/waypoints.ts";

export type RouteStatusKind = "httpRoutes" | "grpcRoutes" | "tlsRoutes" | "tcpRoutes";
export type WaypointPolicyKind = "authorizationPolicies" | "requestAuthentications" | "virtualServices" | "destinationRules" | "telemetries";
export type StatusKind = "services" | "backendTlsPolicies" | "peerAuthentications" | "serviceEntries" | "workloadEntries" | WaypointPolicyKind | RouteStatusKind;

/** What one field manager wants to stand on one object. An empty list: whatever it wrote before should go. */
export interface DesiredStatus {
  /** Kind, namespace, name and manager as one key. */
  readonly key: string;
  readonly kind: StatusKind;
  readonly namespace: string;
  readonly name: string;
  readonly manager: string;
  /** Every type this manager ever writes: only these are compared and removed. */
  readonly owns: readonly string[];
  readonly conditions: readonly DesiredCondition[];
  /** What made the object be refused, by path: the same that the conditions put into words. */
  readonly problems: readonly Problem[];
  /** Of routes: our entries in `status.parents`, whole; conditions are empty then. */
  readonly parents?: readonly DesiredParent[];
  /** Of policies of the Gateway API: our entries in `status.ancestors`, likewise. */
  readonly ancestors?: readonly DesiredParent[];
}

/** One entry of ours in `status.parents` or `status.ancestors`. */
export interface DesiredParent {
  /** Of a parent as the user wrote it. */
  readonly parentRef: Readonly<Record<string, unknown>>;
  readonly conditions: readonly DesiredCondition[];
}

export interface DesiredCondition {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

const MANAGERS = {
  service: { name: "istio-ambient-service", owns: ["istio.io/WaypointBound", "istio.io/WaypointMissing", "istio.io/VisibilityApplied", "Accepted"] },
  workloadEntry: { name: "istio-ambient-workloadentry", owns: ["istio.io/WaypointBound", "Accepted"] },
  ztunnelPolicy: { name: "istio-ambient-ztunnel-policy", owns: ["ZtunnelAccepted"] },
  waypointPolicy: { name: "istio-ambient-waypoint-policy", owns: ["WaypointAccepted"] },
  route: { name: "istio.io/gateway-controller", owns: [] },
} as const;

/** A message longer than this helps nobody; Kubernetes allows 32,768. */
const MESSAGE_MAX = 1_024;

function desired(kind: StatusKind, namespace: string, name: string, manager: { name: string; owns: readonly string[] }, conditions: readonly DesiredCondition[], problems: readonly Problem[] = []): DesiredStatus {
  return {
    key: `${kind}/${namespace}/${name}/${manager.name}`, kind, namespace, name, manager: manager.name, owns: manager.owns,
    conditions: conditions.map(shortened), problems,
  };
}

const shortened = (c: DesiredCondition): DesiredCondition => ({ ...c, message: c.message.length > MESSAGE_MAX ? `${c.message.slice(0, MESSAGE_MAX - 1)}…` : c.message });

export const desiredForWaypoint = (kind: WaypointPolicyKind, namespace: string, name: string, conditions: readonly DesiredCondition[], problems: readonly Problem[]): DesiredStatus =>
  desired(kind, namespace, name, MANAGERS.waypointPolicy, conditions, problems);

export const desiredParents = (kind: RouteStatusKind, namespace: string, name: string, parents: readonly DesiredParent[], problems: readonly Problem[]): DesiredStatus =>
  ({ ...desired(kind, namespace, name, MANAGERS.route, [], problems), parents: parents.map((p) => ({ ...p, conditions: p.conditions.map(shortened) })) });

export const desiredAncestors = (namespace: string, name: string, ancestors: readonly DesiredParent[], problems: readonly Problem[]): DesiredStatus =>
  ({ ...desired("backendTlsPolicies", namespace, name, MANAGERS.route, [], problems), ancestors: ancestors.map((a) => ({ ...a, conditions: a.conditions.map(shortened) })) });

const split = (key: string): [string, string] => {
  const slash = key.indexOf("/");
  return [key.slice(0, slash), key.slice(slash + 1)];
};

/** `idle`: no enrolled workload is selected now. */
export function policyStatus(p: PolicyInfo, idle = false): DesiredStatus[] {
  const [namespace, name] = split(p.key);
  const waypoint = p.outcome.kind === "for-waypoint";
  return [
    desired("authorizationPolicies", namespace, name, MANAGERS.ztunnelPolicy, waypoint ? [] : [idle ? withNobody(ztunnelAccepted(p)) : ztunnelAccepted(p)], p.outcome.kind === "refused" ? p.outcome.problems : []),
    // Of those with targetRefs the derivation for waypoints speaks.
    ...(waypoint ? [] : [desired("authorizationPolicies", namespace, name, MANAGERS.waypointPolicy, [])]),
  ];
}

/** Accepted is not enforced: a policy that is not on anybody's way must not look like protection. */
const withNobody = (c: DesiredCondition): DesiredCondition =>
  ({ ...c, message: `${c.message}; nobody enforces it now: it selects no workload that is enrolled in the mesh` });

function ztunnelAccepted(p: PolicyInfo): DesiredCondition {
  const type = "ZtunnelAccepted";
  switch (p.outcome.kind) {
    case "stricter": return { type, status: "True", reason: "UnsupportedValue", message: `${p.outcome.remarks.join("; ")}; a waypoint checks all of a policy that is attached to it, or to a Service, by targetRefs` };
    case "not-sent": return { type, status: "False", reason: "UnsupportedValue", message: p.outcome.remark };
    case "refused": {
      const effect = p.policy === undefined ? "not understood" : "not understood, so everything that it selects is denied";
      return { type, status: "False", reason: "Invalid", message: `${effect}: ${describeProblems(p.outcome.problems)}` };
    }
    case "accepted": return { type, status: "True", reason: "Accepted", message: p.outcome.remark === undefined ? "attached to ztunnel" : `attached to ztunnel; ${p.outcome.remark}` };
    case "for-waypoint": throw new Error(`defect: ${p.key} is not for ztunnel`);
  }
}

/** Istio writes nothing here; we write only where a PeerAuthentication does not do what it says. */
export function peerAuthStatus(p: PeerAuthInfo): DesiredStatus[] {
  const conditions: DesiredCondition[] = [];
  if (p.problems.length > 0)
    conditions.push({ type: "ZtunnelAccepted", status: "False", reason: "Invalid", message: `not understood, so plaintext is refused by everything that it selects: ${describeProblems(p.problems)}` });
  else if (p.ignored !== undefined) conditions.push({ type: "ZtunnelAccepted", status: "False", reason: "UnsupportedValue", message: p.ignored });
  return [desired("peerAuthentications", p.namespace, p.name, MANAGERS.ztunnelPolicy, conditions, p.problems)];
}

/** Refused entries exist for nobody: Istio says nothing of it, we do. */
const refusedEntry = (problems: readonly Problem[]): DesiredCondition =>
  ({ type: "Accepted", status: "False", reason: "Invalid", message: `not understood, so it is left out whole: ${describeProblems(problems)}` });

export function entryStatus(e: EntryInfo): DesiredStatus[] {
  const { namespace, name } = e.owner;
  const { spec } = e;
  const missing = spec !== undefined && e.binding.kind !== "bound" && spec.hosts.some((h) => h.startsWith("*")) && (spec.resolution === "DYNAMIC_DNS" || spec.resolution === "NONE");
  return [desired("serviceEntries", namespace, name, MANAGERS.service, spec === undefined ? [refusedEntry(e.problems)] : [
    ...waypointBound(e.binding, e.ingressUseWaypoint), ...visibilityApplied(e.visibility),
    ...(missing ? [{ type: "istio.io/WaypointMissing", status: "True", reason: "NoWaypointForWildcardService", message: "a service with a wildcard host needs a waypoint to be reached by name" } as const] : []),
  ], e.problems)];
}

const VISIBILITY = {
  public: { reason: "Public", message: "visible to the whole mesh, as serviceEntryVisibility says" },
  namespace: { reason: "Namespace", message: "visible in its own namespace only, as serviceEntryVisibility says" },
  none: { reason: "None", message: "visible to nobody, as serviceEntryVisibility says" },
} as const;
/** Only where the mesh has the setting. */
const visibilityApplied = (visibility: EntryInfo["visibility"]): DesiredCondition[] =>
  (visibility === undefined ? [] : [{ type: "istio.io/VisibilityApplied", status: "True", ...VISIBILITY[visibility] }]);

export const workloadEntryStatus = (e: WorkloadEntryInfo): DesiredStatus[] =>
  [desired("workloadEntries", e.namespace, e.name, MANAGERS.workloadEntry, e.workload === undefined ? [refusedEntry(e.problems)] : waypointBound(e.binding, false), e.problems)];

export const serviceStatus = (s: ServiceInfo): DesiredStatus[] =>
  s.owner.kind !== "Service" ? [] : [desired("services", s.owner.namespace, s.owner.name, MANAGERS.service, waypointBound(s.binding, s.ingressUseWaypoint))];

function waypointBound(binding: Binding, ingress: boolean): DesiredCondition[] {
  const type = "istio.io/WaypointBound";
  if (binding.kind === "none") return [];
  if (binding.kind === "refused") return [{ type, status: "False", reason: binding.reason, message: binding.message }];
  const parts = [`Successfully attached to waypoint ${binding.waypoint}`];
  if (ingress) parts.push("Ingress traffic will traverse the waypoint");
  // A canary that cannot be used leaves the primary alone and the binding true.
  if (binding.canary?.kind === "weighted") parts.push(`Canary waypoint ${binding.canary.waypoint} receives ${binding.canary.weight}%`);
  if (binding.canary?.kind === "refused") parts.push(`Canary not used: ${binding.canary.reason}: ${binding.canary.message}`);
  return [{ type, status: "True", reason: "WaypointAccepted", message: parts.join(". ") }];
}

/** Field managers that may write on a kind: their keys are looked at again when an object changes. */
export const keysOf = (kind: StatusKind, namespace: string, name: string): string[] =>
  MANAGERS_OF[kind].map((manager) => desired(kind, namespace, name, manager, []).key);
const MANAGERS_OF: Readonly<Record<StatusKind, readonly { name: string; owns: readonly string[] }[]>> = {
  services: [MANAGERS.service], serviceEntries: [MANAGERS.service], workloadEntries: [MANAGERS.workloadEntry],
  authorizationPolicies: [MANAGERS.ztunnelPolicy, MANAGERS.waypointPolicy], peerAuthentications: [MANAGERS.ztunnelPolicy],
  requestAuthentications: [MANAGERS.waypointPolicy], virtualServices: [MANAGERS.waypointPolicy], destinationRules: [MANAGERS.waypointPolicy], telemetries: [MANAGERS.waypointPolicy],
  httpRoutes: [MANAGERS.route], grpcRoutes: [MANAGERS.route], tlsRoutes: [MANAGERS.route], tcpRoutes: [MANAGERS.route], backendTlsPolicies: [MANAGERS.route],
};
export const STATUS_KINDS = Object.keys(MANAGERS_OF) as readonly StatusKind[];

/** A condition as it stands on an object. */
export interface StandingCondition extends DesiredCondition {
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: number | string;
}

/**
 * The status to apply, or undefined when what stands is already right.
 * `generation` is the object's; `now` is used for transitions only.
 */
export function statusToApply(want: DesiredStatus, standing: readonly StandingCondition[], generation: number | undefined, now: string): { conditions: object[] } | undefined {
  const mine = standing.filter((c) => want.owns.includes(c.type));
  const next = want.conditions.map((c) => {
    const old = mine.find((m) => m.type === c.type);
    return {
      ...c,
      lastTransitionTime: old?.status === c.status && old.lastTransitionTime !== undefined ? old.lastTransitionTime : now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  });
  const same = mine.length === next.length && next.every((c) => mine.some((m) =>
    m.type === c.type && m.status === c.status && m.reason === c.reason && m.message === c.message && String(m.observedGeneration ?? "") === String(generation ?? "")));
  return same ? undefined : { conditions: next };
}
