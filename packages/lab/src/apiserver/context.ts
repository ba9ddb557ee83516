// Owns the bundle of long-lived parts that every verb works with.
import type { Clock, Logger } from "@ambit/runtime";
import type { Authorizer } from "./auth/authorizer.ts";
import type { Tokens } from "./auth/tokens.ts";
import type { Registry } from "./registry/registry.ts";
import type { Allocators } from "./kinds/service-allocation.ts";
import type { Store } from "./storage/store.ts";
import type { Pages } from "./storage/pages.ts";
import type { KubeletDialer } from "./proxy/kubelet.ts";

export interface Api {
  readonly store: Store;
  readonly registry: Registry;
  readonly authorizer: Authorizer;
  readonly tokens: Tokens;
  readonly pages: Pages;
  readonly allocators: Allocators;
  readonly kubelet: KubeletDialer;
  readonly log: Logger;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Aborted when the server closes: streams end. */
  readonly closing: AbortSignal;
}

/** Kubernetes' timestamp: RFC 3339 in whole seconds. */
export function timestamp(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`;
}
