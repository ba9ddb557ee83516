// Owns the Authorization type as pushed. Versioned, unlike Istio's: a reconnect carries the policies that changed, not all of them (ADR 0022).
import type { Collection } from "@ambit/collections";
import type { Policy } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import { AUTHORIZATION_TYPE } from "@ambit/xds";
import type { Ticker } from "./debounce.ts";
import { encodePolicy } from "./encode.ts";
import { serve, type ServedSource } from "./served.ts";

/**
 * A policy that workloads list by name leaves after the workloads have been told to list it no longer: a name without a
 * policy is refused by our ztunnel, and every connection would be cut for a moment.
 */
export const REMOVE_AFTER_MS = 500;

export const authorizationSource = (policies: Collection<Policy>, ticker: Ticker, clock: Clock): ServedSource => serve({
  typeUrl: AUTHORIZATION_TYPE, versioned: true, urgent: true, collection: policies, ticker, encode: encodePolicy, aliases: () => [], joins: () => [],
  linger: { clock, ms: REMOVE_AFTER_MS, applies: (p) => p.scope === "workload" },
});
