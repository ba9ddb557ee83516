// Owns how long a request may take: the route's word and, for gRPC, the client's.
import { fieldValue, withField, type Timeouts } from "@ambit/core";
import type { RequestFacts } from "../facts.ts";

/** Milliseconds in each unit of `grpc-timeout` (gRPC over HTTP/2: TimeoutValue at most 8 digits). */
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** Milliseconds, rounded up; undefined: absent or malformed. */
export function grpcTimeoutMs(value: string | undefined): number | undefined {
  const parts = value === undefined ? null : /^([0-9]{1,8})([HMSmun])$/.exec(value);
  return parts === null ? undefined : Math.ceil(Number(parts[1]) * (UNIT_MS[parts[2] ?? ""] ?? 0));
}

export interface EffectiveTimeouts { readonly requestMs: number | undefined; readonly attemptMs: number | undefined; readonly deadline: boolean }

/** What a route's own word comes to, for every request without one of the client. */
export const ownTimeouts = (route: Timeouts): EffectiveTimeouts => effectiveTimeouts(route, { grpc: false, fields: [] });

/** 0 is none. A `grpc-timeout` holds up to the route's own; a try never lasts longer than the whole. */
export function effectiveTimeouts(route: Timeouts, { grpc, fields }: Pick<RequestFacts, "grpc" | "fields">): EffectiveTimeouts {
  const own = route.requestMs === 0 ? undefined : route.requestMs;
  const asked = grpc ? grpcTimeoutMs(fieldValue(fields, "grpc-timeout")) : undefined;
  const deadline = asked !== undefined && (own === undefined || asked < own);
  const requestMs = deadline ? asked : own;
  const attempt = route.attemptMs === 0 ? undefined : route.attemptMs;
  return { requestMs, attemptMs: attempt !== undefined && requestMs !== undefined ? Math.min(attempt, requestMs) : attempt, deadline };
}

/** Tells the application: how long we shall wait, and a gRPC server its deadline where the route's is shorter than the client's. */
export function withTimeouts(fields: readonly string[], { requestMs, attemptMs, deadline }: EffectiveTimeouts): readonly string[] {
  const expected = attemptMs ?? requestMs;
  if (expected === undefined) return fields;
  const told = withField(fields, "x-envoy-expected-rq-timeout-ms", String(expected));
  return !deadline && requestMs !== undefined && fieldValue(fields, "grpc-timeout") !== undefined ? withField(told, "grpc-timeout", `${Math.min(requestMs, 99_999_999)}m`) : told;
}
