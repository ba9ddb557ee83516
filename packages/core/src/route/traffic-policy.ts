// Owns the shape of how connections to one destination are made: balancing, limits, ejection, TLS (DestinationRule).
import type { ServiceKey } from "../workload/workload.ts";

export type Balancer =
  | { readonly kind: "least-request" | "round-robin" | "random" | "passthrough" }
  | { readonly kind: "consistent-hash"; readonly key: HashKey; readonly algorithm: { readonly kind: "ring"; readonly minimumSize: number } | { readonly kind: "maglev"; readonly tableSize: number } };

export type HashKey =
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "query"; readonly name: string }
  | { readonly kind: "source-ip" }
  /** `ttlS` undefined: the cookie is only read; 0: a session cookie is made. */
  | {
    readonly kind: "cookie"; readonly name: string; readonly path: string; readonly ttlS: number | undefined;
    /** Of a cookie that is made, beside Max-Age, Path and HttpOnly. An empty value: the name alone. */
    readonly attributes?: readonly (readonly [name: string, value: string])[];
  };

/** Every limit: undefined = none of ours beyond the bounds of the process. Per waypoint replica and destination. */
export interface ConnectionPool {
  readonly maxConnections: number | undefined;
  readonly connectTimeoutMs: number;
  readonly maxPendingRequests: number | undefined;
  readonly maxRequests: number | undefined;
  readonly maxRequestsPerConnection: number | undefined;
  readonly maxRetries: number | undefined;
  readonly idleTimeoutMs: number;
  readonly upgradeToHttp2: boolean | undefined;
}

/** Envoy's consecutive-errors detector as Istio configures it. 0 disables a counter. */
export interface OutlierDetection {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly splitLocalOrigin: boolean;
  readonly consecutiveLocalOrigin: number;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
  readonly minHealthPercent: number;
  /** Statuses that count as errors in place of every 5xx (outlierDetectionHttpErrorCodes). */
  readonly errorStatuses?: readonly number[];
}

/** TLS that the application itself expects, inside the mesh's own tunnel. */
export interface UpstreamTls {
  readonly mode: "simple" | "mutual";
  readonly sni: string | undefined;
  readonly subjectAltNames: readonly string[];
  /** PEM; undefined: the system's roots. */
  readonly rootsPem: string | undefined;
  readonly insecureSkipVerify: boolean;
  /** Why no connection may be made: what should be checked cannot be, and plaintext was not asked for. */
  readonly unusable?: string;
}

export interface RetryBudget { readonly percent: number; readonly minConcurrency: number }

export interface LocalityBalancing {
  /** Ordered labels of which each further one counts only if those before matched. */
  readonly failoverPriority: readonly string[];
  readonly failover: readonly { readonly from: string; readonly to: string }[];
  readonly distribute: readonly { readonly from: string; readonly to: Readonly<Record<string, number>> }[];
}

export interface TrafficSettings {
  readonly balancer: Balancer;
  readonly warmup: { readonly durationMs: number; readonly minimumPercent: number; readonly aggression: number } | undefined;
  readonly locality: LocalityBalancing | undefined;
  readonly pool: ConnectionPool;
  readonly outlier: OutlierDetection | undefined;
  readonly tls: UpstreamTls | undefined;
  readonly retryBudget: RetryBudget | undefined;
  readonly proxyProtocol: "v1" | "v2" | undefined;
}

export interface Subset { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly settings: TrafficSettings; readonly ports: ReadonlyMap<number, TrafficSettings> }

/** Resolved already: subset over rule, port over both. */
export interface TrafficPolicy {
  readonly service: ServiceKey;
  /** `namespace/name` of the DestinationRule; undefined: defaults. */
  readonly origin: string | undefined;
  readonly settings: TrafficSettings;
  readonly ports: ReadonlyMap<number, TrafficSettings>;
  readonly subsets: ReadonlyMap<string, Subset>;
}
