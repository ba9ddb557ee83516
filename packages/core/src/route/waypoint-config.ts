// Owns the shape of all that one waypoint is told beyond addresses: one value, replaced in one step (ADR 0025).
import type { Identity } from "../identity/spiffe.ts";
import type { RequestAuthentication, RequestPolicy } from "../policy/request-policy.ts";
import type { ServiceKey, WorkloadUid } from "../workload/workload.ts";
import type { AuthorizationProvider } from "./authorization-provider.ts";
import type { RetryPolicy, ServiceRoutes } from "./route.ts";
import type { TrafficPolicy } from "./traffic-policy.ts";

/** `none` < `base` (Istio's default) < `merge-slashes` < `decode-and-merge-slashes`. */
export type PathNormalization = "none" | "base" | "merge-slashes" | "decode-and-merge-slashes";

/** Where traces go. */
export interface TracingProvider { readonly name: string; readonly service: ServiceKey; readonly port: number; readonly protocol: "otlp-grpc" | "otlp-http" }

/** Telemetry API, merged (root namespace, namespace, target). Of the waypoint, and overridden per service. */
export interface TelemetrySettings {
  readonly accessLog: { readonly enabled: boolean; readonly encoding: "text" | "json"; readonly format: string | undefined; readonly filter: string | undefined };
  readonly tracing: {
    readonly provider: TracingProvider | undefined;
    /** 0 to 100. */
    readonly samplingPercent: number;
    readonly customTags: readonly { readonly tag: string; readonly from: "literal" | "header" | "environment"; readonly value: string; readonly fallback: string }[];
  };
  readonly metrics: {
    readonly enabled: boolean;
    /** Per Istio metric name, or `ALL_METRICS`. */
    readonly overrides: readonly { readonly metric: string; readonly disabled: boolean; readonly removeTags: readonly string[]; readonly setTags: readonly (readonly [string, string])[];
      /** Tag and expression. */
      readonly expressionTags?: readonly (readonly [string, string])[] }[];
  };
}

export interface WaypointConfig {
  readonly namespace: string;
  readonly name: string;
  readonly serves: "service" | "workload" | "all" | "none";
  /** The waypoint's own, where applications are told the client's (x-forwarded-client-cert; annotation ambient.istio.io/xfcc-include-client-identity). */
  readonly ownIdentity?: Identity | undefined;
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly pathNormalization: PathNormalization;
  /** What replicas seal session cookies with; undefined: each its own. */
  readonly sessionSecret?: string | undefined;
  readonly defaultRetry: RetryPolicy;
  /** Right-most entries of X-Forwarded-For that are ours. */
  readonly trustedProxies: number;
  /** Services bound to this waypoint, those without a route included. */
  readonly services: ReadonlyMap<ServiceKey, ServiceRoutes>;
  /** Only of destinations that have a DestinationRule or other policy. */
  readonly traffic: ReadonlyMap<ServiceKey, TrafficPolicy>;
  readonly policies: readonly RequestPolicy[];
  readonly authentications: readonly RequestAuthentication[];
  readonly authorizationProviders: ReadonlyMap<string, AuthorizationProvider>;
  /** Labels that a subset or a source match asks for, of the workloads that have any of them. */
  readonly workloadLabels: ReadonlyMap<WorkloadUid, Readonly<Record<string, string>>>;
  readonly telemetry: TelemetrySettings;
  readonly serviceTelemetry: ReadonlyMap<ServiceKey, TelemetrySettings>;
}
