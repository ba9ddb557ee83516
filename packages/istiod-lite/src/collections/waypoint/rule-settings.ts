// Owns timeouts, retries and session persistence of Gateway API rules (gateway-conformance.md §7).
import type { RetryCondition, RetryPolicy, RouteOrigin, SessionPersistence, Timeouts } from "@ambit/core";
import type { Reader } from "../decode.ts";
import { gatewayDuration, headerName, integer } from "./read.ts";

/** Zero disables. */
export function timeoutsOf(reader: Reader, value: unknown, path: string): Timeouts {
  const fields = reader.object(value, path, ["request", "backendRequest"]) ?? {};
  const requestMs = gatewayDuration(reader, fields["request"], `${path}.request`) || undefined;
  const attemptMs = gatewayDuration(reader, fields["backendRequest"], `${path}.backendRequest`) || undefined;
  if (requestMs !== undefined && attemptMs !== undefined && attemptMs > requestMs) reader.refuse(`${path}.backendRequest`, "is longer than request");
  return { requestMs, attemptMs };
}

/** Istio's default of retries, and the base of its back-off in milliseconds. */
const RETRIES = 2;
export const BACKOFF_MS = 25;
/** The cap of the back-off, as a multiple of its base (Envoy). */
export const BACKOFF_CAP = 10;
/** Nobody wants more; each one is load for a backend in trouble. */
export const RETRIES_MAX = 100;
/** Istio's: nothing was processed, so also a POST may go again. */
export const DEFAULT_RETRY: RetryPolicy = {
  retries: RETRIES, on: ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"], statuses: [],
  backoffMs: BACKOFF_MS, backoffMaxMs: BACKOFF_MS * BACKOFF_CAP,
};

/** Nothing was processed, or the connection broke: what GEP-1731 says should be retried beside the codes. */
const GATEWAY_CONDITIONS: readonly RetryCondition[] = ["connect-failure", "refused-stream", "unavailable", "cancelled", "reset"];

export function retryOf(reader: Reader, value: unknown, path: string): RetryPolicy | undefined {
  const fields = reader.object(value, path, ["codes", "attempts", "backoff"]);
  if (fields === undefined) return undefined;
  const statuses = (reader.list(fields["codes"], `${path}.codes`) ?? []).flatMap((c, i) => integer(reader, c, `${path}.codes[${i}]`, 400, 599) ?? []);
  const backoffMs = gatewayDuration(reader, fields["backoff"], `${path}.backoff`) || BACKOFF_MS;
  return {
    retries: integer(reader, fields["attempts"], `${path}.attempts`, 0, RETRIES_MAX) ?? RETRIES,
    on: statuses.length > 0 ? [...GATEWAY_CONDITIONS, "retriable-status-codes"] : GATEWAY_CONDITIONS, statuses,
    backoffMs, backoffMaxMs: backoffMs * BACKOFF_CAP, ...(fields["backoff"] === undefined ? {} : { backoffMinMs: backoffMs }),
  };
}

export function sessionOf(reader: Reader, value: unknown, path: string, origin: RouteOrigin): SessionPersistence | undefined {
  const fields = reader.object(value, path, ["sessionName", "type", "absoluteTimeout", "cookieConfig"]);
  if (fields === undefined) return undefined;
  const kind = reader.oneOf(fields["type"], `${path}.type`, ["Cookie", "Header"]) === "Header" ? "header" : "cookie";
  const cookie = reader.object(fields["cookieConfig"], `${path}.cookieConfig`, ["lifetimeType"]);
  const lifetime = reader.oneOf(cookie?.["lifetimeType"], `${path}.cookieConfig.lifetimeType`, ["Session", "Permanent"]) ?? "Session";
  const timeout = gatewayDuration(reader, fields["absoluteTimeout"], `${path}.absoluteTimeout`);
  if (lifetime === "Permanent" && timeout === undefined) reader.refuse(`${path}.absoluteTimeout`, "must be given for a permanent cookie");
  // A session cookie has no end of its own that a proxy could keep without storing when it began.
  if (lifetime === "Session" && kind === "cookie" && timeout !== undefined) reader.refuse(`${path}.absoluteTimeout`, "is only for a permanent cookie");
  if (kind === "header" && timeout !== undefined) reader.refuse(`${path}.absoluteTimeout`, "is only for a permanent cookie");
  // Two rules must not take each other's cookies for their own.
  const name = headerName(reader, fields["sessionName"], `${path}.sessionName`) ?? `ambit-session-${origin.namespace}-${origin.name}-${origin.rule}`;
  return { kind, name: typeof fields["sessionName"] === "string" && kind === "cookie" ? fields["sessionName"] : name, absoluteTimeoutMs: timeout, path: "/" };
}
