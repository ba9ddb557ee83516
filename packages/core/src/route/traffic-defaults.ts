// Owns what holds of connections to a destination that nobody wrote a rule for, and which rule holds for one that somebody did.
import type { Backend } from "./route.ts";
import type { TrafficPolicy, TrafficSettings } from "./traffic-policy.ts";

/** Istio's: least request, 10 s to connect, an hour idle, no limits, no ejection. */
export const DEFAULT_TRAFFIC: TrafficSettings = {
  balancer: { kind: "least-request" }, warmup: undefined, locality: undefined,
  pool: {
    maxConnections: undefined, connectTimeoutMs: 10_000, maxPendingRequests: undefined, maxRequests: undefined, maxRequestsPerConnection: undefined,
    maxRetries: undefined, idleTimeoutMs: 3_600_000, upgradeToHttp2: undefined,
  },
  outlier: undefined, tls: undefined, retryBudget: undefined, proxyProtocol: undefined,
};

/** Port of the subset, subset, port, rule; each is whole already. */
export function trafficSettings(policy: TrafficPolicy | undefined, { port, subset }: Pick<Backend, "port" | "subset">): TrafficSettings {
  if (policy === undefined) return DEFAULT_TRAFFIC;
  const named = subset === undefined ? undefined : policy.subsets.get(subset);
  return named?.ports.get(port) ?? named?.settings ?? policy.ports.get(port) ?? policy.settings;
}
