// Owns how long a node waits before it tries again what failed: crashing containers, images, sandboxes.

export interface BackoffPolicy { readonly initialMs: number; readonly maxMs: number }
/** Kubernetes' own: 10 s doubling to 5 min, forgotten after a run of twice the maximum. */
export const CRASH: BackoffPolicy = { initialMs: 10_000, maxMs: 300_000 };
export const PULL: BackoffPolicy = { initialMs: 10_000, maxMs: 300_000 };
/** A sandbox usually fails because an agent is not there yet: it comes back within seconds. */
export const SANDBOX: BackoffPolicy = { initialMs: 500, maxMs: 10_000 };

export interface Backoff { readonly delayMs: number; readonly sinceMs: number }

/** When the next try may happen after a failure at `failedAtMs`; now or earlier means at once. */
export function retryAt(backoff: Backoff | undefined, failedAtMs: number, policy: BackoffPolicy): number {
  if (backoff === undefined || failedAtMs - backoff.sinceMs > 2 * policy.maxMs) return failedAtMs;
  return failedAtMs + backoff.delayMs;
}

/** State after one more try. */
export function nextBackoff(backoff: Backoff | undefined, nowMs: number, policy: BackoffPolicy): Backoff {
  const fresh = backoff === undefined || nowMs - backoff.sinceMs > 2 * policy.maxMs + backoff.delayMs;
  return { delayMs: fresh ? policy.initialMs : Math.min(policy.maxMs, backoff.delayMs * 2), sinceMs: nowMs };
}
