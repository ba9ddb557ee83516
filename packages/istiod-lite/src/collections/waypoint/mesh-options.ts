// Owns what MeshConfig says to waypoints, and what holds when it says nothing.
import type { AuthorizationProvider, PathNormalization, RetryPolicy, TelemetrySettings } from "@ambit/core";
import { BACKOFF_CAP, BACKOFF_MS, RETRIES } from "./rule-settings.ts";

export interface MeshOptions {
  readonly pathNormalization: PathNormalization;
  readonly defaultRetry: RetryPolicy;
  readonly trustedProxies: number;
  readonly authorizationProviders: ReadonlyMap<string, AuthorizationProvider>;
  readonly telemetry: TelemetrySettings;
}

/** Istio's: nothing was processed, so also a POST may go again. */
export const DEFAULT_RETRY: RetryPolicy = {
  retries: RETRIES, on: ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"], statuses: [],
  backoffMs: BACKOFF_MS, backoffMaxMs: BACKOFF_MS * BACKOFF_CAP,
};

export const DEFAULT_TELEMETRY: TelemetrySettings = {
  accessLog: { enabled: false, encoding: "text", format: undefined, filter: undefined },
  tracing: { provider: undefined, samplingPercent: 1, customTags: [] },
  metrics: { enabled: true, overrides: [] },
};

export const DEFAULT_OPTIONS: MeshOptions = {
  pathNormalization: "base", defaultRetry: DEFAULT_RETRY, trustedProxies: 0, authorizationProviders: new Map(), telemetry: DEFAULT_TELEMETRY,
};
