// Owns a waypoint's Gateway as `ambit waypoint` writes and reads it. Pure.
import type { Condition, KubeObject } from "@ambit/kube";

export const TRAFFIC = ["service", "workload", "all", "none"] as const;
export type Traffic = (typeof TRAFFIC)[number];
export const USE_WAYPOINT = "istio.io/use-waypoint";
const WAYPOINT_FOR = "istio.io/waypoint-for";
const FOR_ACCOUNT = "istio.io/for-service-account";
const REVISION = "istio.io/rev";
const CLASSES: readonly string[] = ["istio-waypoint", "ambit-waypoint"];

export interface Asked {
  readonly name: string;
  /** undefined: left out, so that kubectl's own namespace counts. */
  readonly namespace: string | undefined;
  readonly traffic: Traffic | undefined;
  readonly serviceAccount: string | undefined;
  readonly revision: string | undefined;
}

/** Istio's own: class istio-waypoint, one HBONE listener. `none` means "no waypoint" in the label that names it. */
export function gatewayOf(asked: Asked): KubeObject | { readonly problem: string } {
  if (asked.name === "none") return { problem: 'a waypoint cannot be called "none": in the label istio.io/use-waypoint that means no waypoint' };
  // A service account is one of workloads; the Services in front of them are bound by their own labels.
  const traffic = asked.traffic ?? (asked.serviceAccount === undefined ? undefined : "workload");
  if (asked.serviceAccount !== undefined && traffic !== "workload" && traffic !== "all") return { problem: `--service-account needs --for workload or all, not ${traffic}` };
  const labels = { ...(traffic === undefined ? {} : { [WAYPOINT_FOR]: traffic }), ...(asked.revision === undefined ? {} : { [REVISION]: asked.revision }) };
  return {
    apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway",
    metadata: {
      name: asked.name, ...(asked.namespace === undefined ? {} : { namespace: asked.namespace }), ...(Object.keys(labels).length === 0 ? {} : { labels }),
      ...(asked.serviceAccount === undefined ? {} : { annotations: { [FOR_ACCOUNT]: asked.serviceAccount } }),
    },
    spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
  };
}

export interface WaypointSummary {
  readonly namespace: string;
  readonly name: string;
  readonly revision: string;
  /** What its label says; without one a waypoint serves services. */
  readonly traffic: string;
  readonly serviceAccount: string | undefined;
  readonly programmed: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

export const isWaypoint = (g: KubeObject): boolean => CLASSES.includes(String((g["spec"] as Record<string, unknown> | undefined)?.["gatewayClassName"] ?? ""));

export function summaryOf(g: KubeObject): WaypointSummary {
  const conditions = ((g["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? []);
  const programmed = conditions.find((c) => c.type === "Programmed");
  const accepted = conditions.find((c) => c.type === "Accepted" && c.status === "False");
  const said = accepted ?? programmed;
  return {
    namespace: g.metadata.namespace ?? "", name: g.metadata.name, revision: g.metadata.labels?.[REVISION] ?? "default",
    traffic: g.metadata.labels?.[WAYPOINT_FOR] ?? "service", serviceAccount: g.metadata.annotations?.[FOR_ACCOUNT],
    // A condition of an older generation says nothing about this one.
    programmed: programmed === undefined || (programmed.observedGeneration ?? 0) < (g.metadata.generation ?? 0) ? "Unknown" : programmed.status,
    reason: said?.reason ?? "Pending", message: said?.message ?? "no controller has looked at it yet",
  };
}

export type Enrolment =
  | { readonly kind: "label"; readonly warning: string | undefined }
  | { readonly kind: "already" }
  | { readonly kind: "keep"; readonly warning: string };

/** May the namespace be labelled with this waypoint? */
export function enrolmentOf(namespace: KubeObject, waypoint: string, overwrite: boolean): Enrolment {
  const labels = namespace.metadata.labels ?? {};
  const now = labels[USE_WAYPOINT];
  if (now === waypoint) return { kind: "already" };
  if (now !== undefined && !overwrite)
    return { kind: "keep", warning: `namespace ${namespace.metadata.name} has the label ${USE_WAYPOINT}=${now} already: nothing changed (--overwrite changes it)` };
  return {
    kind: "label",
    warning: labels["istio.io/dataplane-mode"] === "ambient" ? undefined
      : `namespace ${namespace.metadata.name} is not in the mesh: pods use the waypoint once it has the label istio.io/dataplane-mode=ambient`,
  };
}
