// Owns the limits of one destination (Istio's connectionPool): connections, requests, waiting requests, retries.
import { mayRetry } from "../../plan/retry.ts";
import type { UpstreamEndpoint } from "../options.ts";

/** Bounds of the process where a destination says none: connections, and requests that wait for one. */
const CONNECTIONS_MAX = 10_000;
const PENDING_MAX = 10_000;

export class DestinationLimits {
  /** Whose: UpstreamEndpoint.cluster. */
  readonly cluster: string;
  connections = 0;
  /** Attempts that are under way, waiting ones included. */
  requests = 0;
  pending = 0;
  retries = 0;

  constructor(cluster: string) {
    this.cluster = cluster;
  }

  mayRequest(endpoint: UpstreamEndpoint): boolean {
    return this.requests < (endpoint.pool.maxRequests ?? Number.POSITIVE_INFINITY);
  }

  mayWait(endpoint: UpstreamEndpoint): boolean {
    return this.pending < (endpoint.pool.maxPendingRequests ?? PENDING_MAX);
  }

  mayConnect(endpoint: UpstreamEndpoint): boolean {
    return this.connections < (endpoint.pool.maxConnections ?? CONNECTIONS_MAX);
  }

  mayRetry(endpoint: UpstreamEndpoint): boolean {
    return mayRetry(this.requests, this.retries, endpoint.retryBudget, endpoint.pool.maxRetries);
  }

  /** Nothing counts: it need not be kept. */
  get empty(): boolean {
    return this.connections === 0 && this.requests === 0 && this.retries === 0;
  }
}
