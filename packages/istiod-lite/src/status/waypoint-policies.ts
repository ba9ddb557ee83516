// Owns what the status of a policy for waypoints says: who enforces it, and where it could not be attached. Pure; protocol.md §10.4.
import { describeProblems } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { isTargeted, type AttachedPolicy } from "../collections/waypoint/request-policy.ts";
import { EVERY_WAYPOINT } from "../collections/waypoint/policy-target.ts";
import type { TelemetryInfo } from "../collections/waypoint/telemetry.ts";
import { desiredForWaypoint, type DesiredCondition, type DesiredStatus, type WaypointPolicyKind } from "./conditions.ts";

export function waypointPolicyStatus(kind: WaypointPolicyKind, p: Attached): DesiredStatus {
  const slash = p.key.indexOf("/");
  return desiredForWaypoint(kind, p.key.slice(0, slash), p.key.slice(slash + 1), [condition(kind, p)], p.problems);
}

function condition(kind: WaypointPolicyKind, p: Attached): DesiredCondition {
  const type = "WaypointAccepted";
  const misses = p.misses.map((m) => m.message).join("; ");
  const first = p.misses[0];
  const where = p.waypoints.map((w) => (w.startsWith(EVERY_WAYPOINT) ? `every waypoint of class ${w.slice(1)}` : `waypoint ${w}`)).join(", ");
  const beside = misses === "" ? "" : `; ${misses}`;
  if (p.problems.length > 0) {
    const effect = p.waypoints.length === 0 ? "" : kind === "authorizationPolicies" || kind === "requestAuthentications" ? `, so ${where} denies everything that it is attached to` : ", so it is left out";
    return { type, status: "False", reason: "Invalid", message: `not understood${effect}: ${describeProblems(p.problems)}${beside}` };
  }
  if (p.waypoints.length === 0) return { type, status: "False", reason: first?.reason ?? "AncestorNotBound", message: first === undefined ? "no targetRefs" : misses };
  const remarks = p.remarks.map((r) => `; ${r}`).join("");
  return { type, status: "True", reason: first === undefined ? "Accepted" : "PartiallyInvalid", message: `enforced by ${where}${beside}${remarks}` };
}

/** Of a kind that only waypoints read: without targetRefs nothing in ambient enforces it. */
export const untargetedStatus = (kind: WaypointPolicyKind, o: KubeObject): DesiredStatus | undefined =>
  isTargeted(o) ? undefined : desiredForWaypoint(kind, o.metadata.namespace ?? "", o.metadata.name, [{
    type: "WaypointAccepted", status: "False", reason: "AncestorNotBound", message: "nothing enforces it: waypoints read what is attached to them, a Service or a route by targetRefs",
  }], []);

/** What a policy's status needs of it. */
type Attached = Pick<AttachedPolicy<unknown>, "key" | "waypoints" | "misses" | "remarks" | "problems">;

/** Of a namespace, or of the mesh, it needs no target. `unusable`: what of it cannot be done as it says; the rest of it holds. */
export function telemetryStatus(t: TelemetryInfo, unusable: readonly string[]): DesiredStatus {
  const [namespace, name] = [t.namespace, t.key.slice(t.namespace.length + 1)];
  const reached = t.selected || (t.services !== undefined && t.waypoints.length === 0) ? [] : unusable;
  if (t.problems.length === 0 && reached.length > 0)
    return desiredForWaypoint("telemetries", namespace, name, [{ type: "WaypointAccepted", status: "False", reason: "Invalid", message: `not possible in part, the rest holds: ${[...reached, ...t.misses.map((m) => m.message), ...t.remarks].join("; ")}` }], []);
  if (t.services !== undefined || t.problems.length > 0) return waypointPolicyStatus("telemetries", t);
  const remarks = t.remarks.map((r) => `; ${r}`).join("");
  return desiredForWaypoint("telemetries", namespace, name, [t.selected
    ? { type: "WaypointAccepted", status: "False", reason: "AncestorNotBound", message: "a selector is for sidecars: waypoints read what is attached to them or a Service by targetRefs, and what is for a whole namespace" }
    : { type: "WaypointAccepted", status: "True", reason: t.remarks.length === 0 ? "Accepted" : "PartiallyInvalid", message: `for every waypoint that it reaches by its namespace${remarks}` }], []);
}
