// Owns the Authorization type as pushed: unversioned, as Istio's is, so every reconnect carries every policy again.
import type { Collection } from "@ambit/collections";
import type { Policy } from "@ambit/core";
import { AUTHORIZATION_TYPE, type ResourceSource } from "@ambit/xds";
import type { Ticker } from "./debounce.ts";
import { encodePolicy } from "./encode.ts";
import { serve } from "./served.ts";

export const authorizationSource = (policies: Collection<Policy>, ticker: Ticker): ResourceSource => serve({
  typeUrl: AUTHORIZATION_TYPE, versioned: false, collection: policies, ticker, encode: encodePolicy, aliases: () => [], joins: () => [],
});
