// Owns whether an attempt's outcome is tried again, after how long, and whether there is leave for one more.
import { fieldValue, type RetryBudget, type RetryCondition, type RetryPolicy } from "@ambit/core";
import type { AttemptOutcome } from "../http/options.ts";

type Result = AttemptOutcome["result"];

/** By the policy's conditions (Envoy `retry_on`). An overflow of our own limits and a request given up are never tried again. */
export function isRetryable(policy: RetryPolicy, { result, sent }: Pick<AttemptOutcome, "result" | "sent">): boolean {
  switch (result.kind) {
    case "answered": return answerRetryable(policy, result);
    case "overflow": case "abandoned": return false;
    // The attempt's own time was over; the request's may not be.
    case "timeout": return policy.on.some((c) => WITHOUT_ANSWER.has(c));
    case "connect": return policy.on.some((c) => WITHOUT_ANSWER.has(c) || c === "connect-failure" || (c === "reset-before-request" && !sent));
    case "reset": return policy.on.some((c) => WITHOUT_ANSWER.has(c) || (c === "refused-stream" && result.refused) || (c === "reset-before-request" && (!sent || result.refused)));
  }
}

const NOWHERE: ReadonlySet<string> = new Set();
/** Workloads that one more try goes to only where there is no other. `tried`: keys of endpoints that failed this request. */
export const placesToAvoid = (tried: readonly string[], policy: RetryPolicy | undefined): ReadonlySet<string> =>
  (tried.length === 0 || policy?.samePlaces === true ? NOWHERE : new Set(tried.map((key) => key.split("|")[0] ?? "")));

const WITHOUT_ANSWER: ReadonlySet<RetryCondition> = new Set(["5xx", "gateway-error", "reset"]);

function answerRetryable(policy: RetryPolicy, { status, fields, grpcStatus }: Extract<Result, { kind: "answered" }>): boolean {
  // Somebody already said that there is too much: only who asks for it tries again.
  if (fieldValue(fields, "x-envoy-ratelimited") !== undefined) return policy.on.includes("envoy-ratelimited");
  return policy.on.some((condition) => {
    switch (condition) {
      case "5xx": return status >= 500;
      case "gateway-error": return status === 502 || status === 503 || status === 504;
      case "retriable-4xx": return status === 409;
      case "retriable-status-codes": return policy.statuses.includes(status);
      case "retriable-headers": return (policy.headers ?? []).some((name) => fieldValue(fields, name) !== undefined);
      case "cancelled": return grpcStatus === 1;
      case "deadline-exceeded": return grpcStatus === 4;
      case "resource-exhausted": return grpcStatus === 8;
      case "internal": return grpcStatus === 13;
      case "unavailable": return grpcStatus === 14;
      default: return false;
    }
  });
}

/** Milliseconds before retry `n` (1 = the first): anything up to (2ⁿ−1)·base, at most the cap, at least the minimum. `random` is uniform in [0, 1). */
export function retryDelayMs(policy: Pick<RetryPolicy, "backoffMs" | "backoffMaxMs" | "backoffMinMs">, n: number, random: () => number): number {
  const ceiling = Math.min(policy.backoffMaxMs, (2 ** Math.min(n, 31) - 1) * policy.backoffMs);
  return Math.max(policy.backoffMinMs ?? 0, Math.floor(random() * ceiling));
}

/** `active`: requests under way at the destination, retries included. A budget wins over a plain limit; neither: no limit. */
export function mayRetry(active: number, retries: number, budget: RetryBudget | undefined, maxRetries: number | undefined): boolean {
  if (budget !== undefined) return retries < Math.max(budget.minConcurrency, Math.floor((active * budget.percent) / 100));
  return maxRetries === undefined || retries < maxRetries;
}
