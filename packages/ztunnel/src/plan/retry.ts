// Owns the decision whether a connection that found no upstream tries another endpoint: nothing of the application's was sent yet.
import type { FaultCode } from "@ambit/core";

/** The first endpoint and two more: a rollout makes one or two of them stale, not all. */
export const ENDPOINT_TRIES_MAX = 3;
/** An application that waited so long has its own retries: one connect timeout fits, two do not. */
export const TRY_ANOTHER_WITHIN_MS = 12_000;

/** What another endpoint may do better. A verdict of policy is final: asking around would be a way round it. */
const PASSING: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "connect-refused", "connect-timeout", "tunnel-timeout", "tls-handshake", "identity-mismatch", "h2-handshake", "upstream-reset", "tunnel-refused",
]);
/** Of refusals only the one that says "not now": 400 is about the request itself. */
const UNAVAILABLE = 503;

export interface FailedTry {
  readonly code: FaultCode;
  /** Of a tunnel request that was answered. */
  readonly status: number | undefined;
  /** Tries so far, this one included. */
  readonly tries: number;
  readonly elapsedMs: number;
}

export function mayTryAnother(t: FailedTry): boolean {
  if (t.tries >= ENDPOINT_TRIES_MAX || t.elapsedMs >= TRY_ANOTHER_WITHIN_MS || !PASSING.has(t.code)) return false;
  return t.code !== "tunnel-refused" || t.status === UNAVAILABLE;
}
