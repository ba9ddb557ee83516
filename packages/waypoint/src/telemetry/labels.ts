// Owns who is who in a request's telemetry: Istio's labels of source, destination and outcome (protocol.md §11.2).
import { formatIdentity, type Identity, type TelemetrySettings, type Workload } from "@ambit/core";
import type { Labels } from "@ambit/runtime";
import type { ConnectionFacts } from "../facts.ts";
import type { RequestRecord } from "../http/options.ts";

/** Values of tags that are read off a request or a connection, by their expression. */
export type TagValues = ReadonlyMap<string, string>;

const UNKNOWN = "unknown";
const or = (value: string | undefined, otherwise = UNKNOWN): string => (value === undefined || value === "" ? otherwise : value);
const uri = (id: Identity | undefined): string => (id === undefined ? UNKNOWN : formatIdentity(id));

/** What both requests and plain connections have; `destination` is the endpoint that was chosen. */
export function partyLabels(c: ConnectionFacts, destination: Workload | undefined): Labels {
  const s = c.sourceWorkload;
  const d = destination ?? (c.destination.kind === "workload" ? c.destination.workload : undefined);
  const service = c.destination.kind === "service" ? c.destination.service : undefined;
  return {
    reporter: "waypoint",
    source_workload: or(s?.workloadName), source_canonical_service: or(s?.canonicalName), source_canonical_revision: or(s?.canonicalRevision, "latest"),
    source_workload_namespace: or(s?.namespace, c.peer.namespace), source_principal: uri(c.peer), source_app: or(s?.canonicalName), source_version: or(s?.canonicalRevision),
    source_cluster: or(s?.clusterId),
    destination_workload: or(d?.workloadName), destination_workload_namespace: or(d?.namespace), destination_principal: uri(d?.identity),
    destination_app: or(d?.canonicalName), destination_version: or(d?.canonicalRevision),
    destination_service: or(service?.hostname), destination_canonical_service: or(d?.canonicalName), destination_canonical_revision: or(d?.canonicalRevision, "latest"),
    destination_service_name: or(service?.name), destination_service_namespace: or(service?.namespace), destination_cluster: or(d?.clusterId),
    connection_security_policy: "mutual_tls",
  };
}

export function requestLabels(r: RequestRecord): Labels {
  return {
    ...partyLabels(r.facts.connection, r.endpoint?.workload),
    request_protocol: r.facts.grpc ? "grpc" : "http", response_code: String(r.status),
    grpc_response_status: r.facts.grpc && r.grpcStatus !== undefined ? String(r.grpcStatus) : "",
    response_flags: flagsOf(r),
  };
}

export const flagsOf = (r: RequestRecord): string => (r.flags.length === 0 ? "-" : r.flags.join(","));

/** Telemetry API overrides; undefined: the metric is switched off. `values`: by expression. */
export function overridden(settings: TelemetrySettings["metrics"], metric: string, labels: Labels, values?: TagValues): Labels | undefined {
  if (!settings.enabled) return undefined;
  const applicable = settings.overrides.filter((o) => o.metric === metric || o.metric === "ALL_METRICS");
  if (applicable.length === 0) return labels;
  if (applicable.some((o) => o.disabled)) return undefined;
  const out: Record<string, string> = { ...labels };
  for (const o of applicable) {
    for (const tag of o.removeTags) delete out[tag];
    for (const [tag, value] of o.setTags) out[tag] = value;
    for (const [tag, expression] of o.expressionTags ?? []) out[tag] = values?.get(expression) ?? UNKNOWN;
  }
  return out;
}
