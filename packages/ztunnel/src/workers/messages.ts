// Owns what the main thread and its workers say to each other. Everything here survives a structured clone; descriptors are numbers of the whole process.
import type { FaultCode, Identity } from "@ambit/core";
import type { CertBundle } from "@ambit/proxy/identity";
import type { PodInfo } from "@ambit/proxy/state";
import type { MetricsSnapshot } from "@ambit/runtime";
import type { LookupAnswer } from "@ambit/xds";
import type { Config } from "../config.ts";
import type { Live } from "../admin/routes.ts";
import type { ListeningSocket } from "../pod/handover-server.ts";

/** `tally`: of TunnelTally. */
export interface WorkerStart { readonly config: Config; readonly index: number; readonly tally: SharedArrayBuffer; readonly guarded: boolean }

/** An accepted tunnel of a pod that another thread shall carry: its descriptor is whoever reads this one's. */
export interface GivenTunnel { readonly kind: "tunnel"; readonly to: number; readonly uid: string; readonly fd: number }

/** Resources as they came from the control plane; large pushes come in parts, and the last one applies them all. */
export interface PushPart { readonly typeUrl: string; readonly upserts: readonly { readonly name: string; readonly bytes: Uint8Array }[]; readonly removed: readonly string[]; readonly last: boolean }

/** Questions of the main thread: each is answered once. */
export interface Questions {
  start: { ask: { readonly uid: string; readonly info: PodInfo; readonly netnsFd: number; readonly inherited: readonly ListeningSocket[] }; answer: readonly ListeningSocket[] };
  live: { ask: undefined; answer: Live };
  metrics: { ask: undefined; answer: MetricsSnapshot };
  drain: { ask: { readonly deadlineMs: number }; answer: undefined };
}
/** Questions of a worker. */
export interface WorkerQuestions {
  certificate: { ask: Identity; answer: CertBundle };
  lookup: { ask: string; answer: LookupAnswer };
}
/** What the main thread tells. */
export type Told =
  | { readonly kind: "push"; readonly part: PushPart }
  | { readonly kind: "stop"; readonly uid: string }
  | { readonly kind: "rotated"; readonly identity: Identity; readonly bundle: CertBundle }
  | { readonly kind: "forget"; readonly identity: Identity }
  | { readonly kind: "levels"; readonly filter: string }
  | GivenTunnel;

type Asked<Q> = { [K in keyof Q]: Q[K] extends { ask: infer A } ? { readonly kind: K; readonly id: number; readonly ask: A } : never }[keyof Q];
/** An error crosses as its words and, if it had one, its code. */
export type Answered = { readonly kind: "answer"; readonly id: number } & ({ readonly value: unknown } | { readonly error: string; readonly code: FaultCode | undefined });

export type ToWorker = Told | Asked<Questions> | Answered;
export type FromWorker = Asked<WorkerQuestions> | Answered | GivenTunnel;
