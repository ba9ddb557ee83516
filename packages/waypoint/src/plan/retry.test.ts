import assert from "node:assert/strict";
import type { RetryCondition, RetryPolicy } from "@ambit/core";
import type { AttemptOutcome } from "../http/options.ts";
import { isRetryable, mayRetry, placesToAvoid, retryDelayMs } from "./retry.ts";

const policy = (on: readonly RetryCondition[], more: Partial<RetryPolicy> = {}): RetryPolicy => ({ retries: 2, on, statuses: [], backoffMs: 25, backoffMaxMs: 250, ...more });
const answered = (status: number, fields: readonly string[] = [], grpcStatus?: number): AttemptOutcome["result"] => ({ kind: "answered", status, fields, grpcStatus, whole: true });
const CONNECT: AttemptOutcome["result"] = { kind: "connect", why: "refused", timeout: false };
const reset = (refused: boolean): AttemptOutcome["result"] => ({ kind: "reset", by: "remote", refused, why: "" });
const ISTIO: readonly RetryCondition[] = ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"];

describe("placesToAvoid", () => {
  it("are those that failed", () => assert.deepEqual([...placesToAvoid(["Kubernetes//Pod/shop/a|10.0.0.1:80|http1", "b|x"], policy([]))], ["Kubernetes//Pod/shop/a", "b"]));
  it("are none at first, and where previous hosts are not ignored", () => assert.deepEqual([placesToAvoid([], policy([])).size, placesToAvoid(["a|x"], policy([], { samePlaces: true })).size, placesToAvoid(["a|x"], undefined).size], [0, 0, 1]));
});

describe("isRetryable (l7-traffic 3)", () => {
  const cases: [string, RetryPolicy, AttemptOutcome["result"], boolean, boolean][] = [
    ["5xx: 500", policy(["5xx"]), answered(500), true, true], ["5xx: 499", policy(["5xx"]), answered(499), true, false], ["5xx: reset", policy(["5xx"]), reset(false), true, true],
    ["5xx: the attempt's time", policy(["5xx"]), { kind: "timeout" }, true, true], ["5xx: no connection", policy(["5xx"]), CONNECT, false, true],
    ["gateway-error: 500", policy(["gateway-error"]), answered(500), true, false], ["gateway-error: 504", policy(["gateway-error"]), answered(504), true, true],
    ["reset: an answer", policy(["reset"]), answered(503), true, false], ["reset: a reset", policy(["reset"]), reset(false), true, true],
    ["reset-before-request: sent", policy(["reset-before-request"]), reset(false), true, false], ["reset-before-request: not sent", policy(["reset-before-request"]), reset(false), false, true],
    ["connect-failure: a reset", policy(["connect-failure"]), reset(false), false, false], ["connect-failure: no connection", policy(["connect-failure"]), CONNECT, false, true],
    ["refused-stream: refused", policy(["refused-stream"]), reset(true), true, true], ["refused-stream: another reset", policy(["refused-stream"]), reset(false), true, false],
    ["retriable-4xx: 409", policy(["retriable-4xx"]), answered(409), true, true], ["retriable-4xx: 404", policy(["retriable-4xx"]), answered(404), true, false],
    ["retriable-status-codes: listed", policy(["retriable-status-codes"], { statuses: [418] }), answered(418), true, true], ["retriable-status-codes: none listed", policy(["retriable-status-codes"]), answered(503), true, false],
    ["retriable-headers", policy(["retriable-headers"], { headers: ["x-again"] }), answered(200, ["x-again", ""]), true, true],
    ["unavailable in the head", policy(ISTIO), answered(200, [], 14), true, true], ["ok", policy(ISTIO), answered(200, [], 0), true, false], ["503 is not in Istio's default", policy(ISTIO), answered(503), true, false],
    ["rate limited is not tried again", policy(["5xx", "retriable-status-codes"], { statuses: [429] }), answered(429, ["x-envoy-ratelimited", "true"]), true, false],
    ["unless asked for", policy(["envoy-ratelimited"]), answered(429, ["x-envoy-ratelimited", "true"]), true, true],
    ["our own limit", policy(["5xx", "reset"]), { kind: "overflow", limit: "pending" }, false, false], ["given up", policy(["5xx", "reset"]), { kind: "abandoned" }, false, false],
  ];
  for (const [name, p, result, sent, expected] of cases) it(name, () => assert.equal(isRetryable(p, { result, sent }), expected));
});

describe("retryDelayMs", () => {
  const cases: [string, number, number, number][] = [["the first", 1, 0.999, 24], ["the second", 2, 0.999, 74], ["the fourth is capped", 4, 0.999, 249], ["chance may be kind", 3, 0, 0], ["a very late one", 1000, 0.999, 249]];
  for (const [name, n, random, expected] of cases) it(name, () => assert.equal(retryDelayMs(policy([]), n, () => random), expected));
  it("at least the minimum", () => assert.equal(retryDelayMs(policy([], { backoffMinMs: 100 }), 1, () => 0), 100));
});

describe("mayRetry", () => {
  const cases: [string, boolean, boolean][] = [
    ["no limit", mayRetry(1, 1000, undefined, undefined), true], ["a limit", mayRetry(1, 3, undefined, 3), false], ["20 % of 100", mayRetry(100, 19, { percent: 20, minConcurrency: 3 }, 1), true],
    ["the 21st of 100", mayRetry(100, 20, { percent: 20, minConcurrency: 3 }, undefined), false], ["few requests have the minimum", mayRetry(1, 2, { percent: 20, minConcurrency: 3 }, undefined), true],
  ];
  for (const [name, actual, expected] of cases) it(name, () => assert.equal(actual, expected));
});
