// Owns what is known about one container of a pod: the input of every decision and of the pod's status.
import type { Backoff } from "./backoff.ts";

export interface Ended { readonly id: string; readonly exitCode: number; readonly reason: string; readonly message: string; readonly startedAtMs: number; readonly finishedAtMs: number }

export interface ContainerView {
  readonly name: string;
  /** Number of earlier runs: the restart count once it runs. */
  readonly attempt: number;
  readonly state: "none" | "starting" | "running" | "exited";
  readonly id: string;
  readonly imageId: string;
  readonly startedAtMs: number;
  readonly ended: Ended | undefined;
  readonly last: Ended | undefined;
  /** Running, its postStart hook done and its startup probe (if any) passed. */
  readonly started: boolean;
  readonly ready: boolean;
  /** A probe that wants it killed. */
  readonly unhealthy: "liveness" | "startup" | undefined;
  /** Why the last try to start it failed, before any process ran. */
  readonly blocked: { readonly reason: string; readonly message: string; readonly untilMs: number } | undefined;
  readonly backoff: Backoff | undefined;
}

export const neverRun = (name: string, attempt = 0): ContainerView => ({
  name, attempt, state: "none", id: "", imageId: "", startedAtMs: 0, ended: undefined, last: undefined, started: false, ready: false, unhealthy: undefined, blocked: undefined, backoff: undefined,
});
