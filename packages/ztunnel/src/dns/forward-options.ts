// Owns what asking over UDP and over TCP have in common: what they are given, and what they say when nobody answers.
import { MeshError, type Ip } from "@ambit/core";
import type { Kernel, Netns } from "@ambit/linux";
import type { Clock } from "@ambit/runtime";
import type { TcpConnection } from "@ambit/transport";
import type { DialTo } from "../proxy/dial.ts";
import { RCODE } from "./protocol/message.ts";

export interface ForwarderOptions {
  readonly kernel: Pick<Kernel, "bindDatagram">;
  readonly netns: Netns;
  /** The pod is gone: its namespace must not be entered any more. */
  readonly over: AbortSignal;
  readonly mark: number;
  readonly dial: (o: DialTo) => Promise<Pick<TcpConnection, "toSocket">>;
  readonly servers: readonly Ip[];
  readonly budget: ForwardBudget;
  readonly clock: Clock;
}

/** Counts what is under way on the whole node. */
export interface ForwardBudget { taken: number }

/** A server that says this may have a neighbour that knows. */
export const TRY_NEXT: ReadonlySet<number> = new Set([RCODE.serverFailure, RCODE.notImplemented, RCODE.refused]);

export const unanswered = (why: string, cause?: unknown): MeshError => new MeshError("dns-failed", `no name server answered: ${why}`, { cause });
