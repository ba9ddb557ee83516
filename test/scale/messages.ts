// Owns what the parts of a scale run say to each other over IPC, and the clock they share.
import type { Size } from "./world.ts";

/** Milliseconds of CLOCK_MONOTONIC: the same in all processes of one machine. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export type ApiCommand =
  | { readonly kind: "start"; readonly size: Size }
  /** Changes `count` pods, one every `everyMs`, starting with pod `from`. */
  | { readonly kind: "churn"; readonly from: number; readonly count: number; readonly everyMs: number };
export type ApiReport =
  | { readonly kind: "listening"; readonly port: number; readonly caPem: string; readonly pods: number; readonly bytes: number }
  /** When each pod was changed, by pod number. */
  | { readonly kind: "churned"; readonly at: readonly (readonly [number, number])[] };

export type ClientCommand =
  | { readonly kind: "connect"; readonly port: number; readonly rootsPem: string; readonly clients: number; readonly known: boolean }
  | { readonly kind: "disconnect" }
  /** From now on: when does each proxy receive each of these pods? */
  | { readonly kind: "expect"; readonly pods: readonly string[] }
  /** Answers when everybody has received them all. */
  | { readonly kind: "await" }
  | { readonly kind: "certificates"; readonly size: Size; readonly each: number };
export type ClientReport =
  | { readonly kind: "connected"; readonly beganMs: number; readonly lastMs: number; readonly resources: number; readonly requestBytes: number; readonly answerBytes: number; readonly responses: number }
  | { readonly kind: "disconnected" }
  | { readonly kind: "expecting" }
  /** Per client, per expected pod: when it was received. And how many responses each got. */
  | { readonly kind: "received"; readonly at: readonly (readonly number[])[]; readonly responses: readonly number[] }
  | { readonly kind: "certified"; readonly ms: readonly number[]; readonly failures: readonly string[] };
