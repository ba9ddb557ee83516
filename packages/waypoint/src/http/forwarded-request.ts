// Owns what carrying out a plan needs of its request: facts, the body so far, and where the answer goes.
import type { BodySize, Fields } from "@ambit/http";
import type { RequestFacts } from "../facts.ts";
import type { LocalReply, ResponseFlag } from "../plan/request-plan.ts";
import type { BodyBuffer } from "./body-buffer.ts";
import type { ForwardPlan, HttpOptions } from "./options.ts";

/** What is known of a request's body before it comes. */
export interface IncomingBody {
  readonly size: BodySize;
  readonly expectContinue: boolean;
}

export interface ForwardedRequest {
  readonly o: HttpOptions;
  readonly facts: RequestFacts;
  readonly incoming: IncomingBody;
  readonly body: BodyBuffer;
  /** The whole request came; its trailers then. */
  readonly bodyEnded: boolean;
  readonly trailers: Fields;
  readonly upgraded: boolean;
  /** Since the request's head. */
  readonly elapsedMs: number;
  /** Its method may be done twice. */
  readonly idempotent: boolean;
  readonly flags: ResponseFlag[];
  /** The client should send no more, or may again. */
  pause(): void;
  resume(): void;
  informational(status: number, fields: Fields): void;
  answer(status: number, fields: Fields, size: BodySize, plan: ForwardPlan, o: { readonly serviceMs: number; readonly more: readonly string[] }): void;
  upgrade(protocol: string, fields: Fields, plan: ForwardPlan): void;
  /** False: enough; `onClientWritable` follows. */
  write(bytes: Uint8Array): boolean;
  end(trailers: Fields): void;
  broken(flag: ResponseFlag, details: string): void;
  localReply(local: LocalReply): void;
}
