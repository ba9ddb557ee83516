// Owns what the control plane needs of the world around it: objects, a key, who vouches for callers, where results are written.
import type { Authority } from "../ca/authority.ts";
import type { ReviewToken } from "../ca/token-review.ts";
import type { Mesh } from "../collections/graph.ts";
import type { Inbox } from "../sources/inbox.ts";

export interface RunningSources {
  /** Resolves when the first state is complete. */
  whenSynced(): Promise<void>;
  /** What is still waited for, for readiness. */
  pending(): string[];
  stop(): Promise<void> | void;
}

export interface Writers {
  /** From the first complete state on. */
  start(): void;
  stop(): Promise<void>;
}

/** Kubernetes, or a folder of files. */
export interface Platform {
  /** Waits for what is only late; rejects when what is there cannot be used. */
  obtainAuthority(): Promise<Authority>;
  reviewToken(mesh: Mesh): ReviewToken;
  watch(inbox: Inbox): RunningSources;
  writers(mesh: Mesh, rootsPem: () => string): Writers;
  close(): void;
}
