// Owns what the control plane needs of the world around it: objects, a key, who vouches for callers, where results are written.
import type { AuthorityKeeper, AuthoritySource } from "../ca/keeper.ts";
import type { ReviewToken } from "../ca/token-review.ts";
import type { Mesh } from "../collections/graph.ts";
import type { KeyKeeper } from "../jwks/keeper.ts";
import type { KeyStore } from "../jwks/stores.ts";
import type { Inbox } from "../sources/inbox.ts";

export interface RunningSources {
  /** Resolves when the first state is complete. */
  whenSynced(): Promise<void>;
  /** What is still waited for, for readiness. */
  pending(): string[];
  /** False while what is known may be old. Absent: never. */
  fresh?(): boolean;
  stop(): Promise<void> | void;
}

export interface Writers {
  /** From the first complete state on. */
  start(): void;
  /** Roots or revocation list have changed. */
  rootsChanged(): void;
  stop(): Promise<void>;
}

/** Kubernetes, or a folder of files. */
export interface Platform {
  /** Where the authority comes from, now and later. */
  readonly authority: AuthoritySource;
  /** Where issuers' keys outlive us. */
  readonly keys: KeyStore;
  reviewToken(mesh: Mesh): ReviewToken;
  watch(inbox: Inbox): RunningSources;
  writers(mesh: Mesh, authority: AuthorityKeeper, keys: KeyKeeper): Writers;
  close(): void;
}
