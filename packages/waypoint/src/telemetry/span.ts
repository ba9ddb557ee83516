// Owns what a span says of a request: name, times, Istio's and HTTP's attributes. Pure.
import { formatIdentity, formatSocketAddress, type TelemetrySettings } from "@ambit/core";
import { fieldValue } from "@ambit/http";
import type { RequestRecord } from "../http/options.ts";
import { routeName } from "./route-name.ts";
import { flagsOf } from "./labels.ts";
import type { TraceContext } from "./trace-context.ts";

export interface SpanRecord {
  readonly context: TraceContext;
  readonly name: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly durationMs: number;
  readonly attributes: readonly (readonly [string, string | number | boolean])[];
  readonly error: boolean;
}

type CustomTags = TelemetrySettings["tracing"]["customTags"];

/** `environment` gives a variable of this process. */
export function spanOf(r: RequestRecord, context: TraceContext, customTags: CustomTags, environment: (name: string) => string | undefined): SpanRecord {
  const { facts, endpoint } = r;
  const { connection: c } = facts;
  const host = c.destination.kind === "service" ? c.destination.service.hostname : c.destination.workload.name;
  const source = c.sourceWorkload;
  const destination = endpoint?.workload;
  const attributes: [string, string | number | boolean][] = [
    ["component", "proxy"], ["http.request.method", facts.method], ["url.path", pathOf(facts.target)], ["http.url", `${facts.scheme}://${facts.authority}${facts.target}`],
    ["http.method", facts.method], ["http.protocol", facts.protocol], ["http.status_code", r.status], ["http.response.status_code", r.status],
    ["response_flags", flagsOf(r)], ["request_size", r.bytesReceived], ["response_size", r.bytesSent], ["guid:x-request-id", r.requestId],
    ["peer.address", formatSocketAddress(c.source)], ["upstream_cluster", endpoint?.cluster ?? "-"], ["route", routeName(r.plan?.origin)], ["retry.attempts", Math.max(0, r.attempts - 1)],
    ["istio.source_principal", formatIdentity(c.peer)], ["istio.source_workload", source?.workloadName ?? "unknown"], ["istio.source_namespace", source?.namespace ?? c.peer.namespace],
    ["istio.destination_workload", destination?.workloadName ?? "unknown"], ["istio.destination_namespace", destination?.namespace ?? "unknown"],
    ["istio.canonical_service", destination?.canonicalName ?? "unknown"], ["istio.canonical_revision", destination?.canonicalRevision ?? "latest"],
  ];
  const agent = fieldValue(facts.fields, "user-agent");
  if (agent !== undefined) attributes.push(["user_agent", agent]);
  if (r.grpcStatus !== undefined) attributes.push(["grpc.status_code", String(r.grpcStatus)]);
  if (r.details !== "") attributes.push(["response_code_details", r.details]);
  if (r.upstreamFailure !== undefined) attributes.push(["upstream_failure", r.upstreamFailure]);
  for (const remark of r.plan === undefined ? [] : r.plan.remarks)
    if (remark.kind !== "audit") attributes.push([`istio.authorization.dry_run.${remark.kind === "dry-run-allow" ? "allow" : "deny"}_policy.name`, remark.policy]);
  for (const t of customTags) {
    const value = t.from === "literal" ? t.value : t.from === "header" ? fieldValue(facts.fields, t.value.toLowerCase()) : environment(t.value);
    const said = value ?? (t.fallback === "" ? undefined : t.fallback);
    if (said !== undefined) attributes.push([t.tag, said]);
  }
  return { context, name: `${host}:${c.address.port}/*`, startedAt: r.startedAt, durationMs: r.durationMs, attributes, error: r.status >= 500 || (r.grpcStatus !== undefined && [2, 4, 12, 13, 14, 15].includes(r.grpcStatus)) };
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}
