// Owns what carrying out a plan needs of its request: facts, the body so far, and where the answer goes.
import type { BodySize, Fields } from "@ambit/http";
import type { RequestFacts } from "../facts.ts";
import type { LocalReply, ResponseFlag } from "../plan/request-plan.ts";
import type { BodyBuffer } from "./body-buffer.ts";
import type { SeenFields } from "./fields.ts";
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
  /** The fields as they came. */
  readonly seen: Pick<SeenFields, "fields" | "marks">;
  /** undefined: nothing of it came. */
  readonly body: BodyBuffer | undefined;
  /** Everything of the body since its first octet is here: another attempt can begin. */
  readonly replayable: boolean;
  /** The whole request came; its trailers then. */
  readonly bodyEnded: boolean;
  readonly trailers: Fields;
  readonly upgraded: boolean;
  /** Since the request's head. */
  readonly elapsedMs: number;
  /** Its method may be done twice. */
  readonly idempotent: boolean;
  flag(flag: ResponseFlag): void;
  /** No other attempt will need the body. */
  dontKeepBody(): void;
  /** The client should send no more, or may again. */
  pause(): void;
  resume(): void;
  informational(status: number, fields: Fields): void;
  /** The upstream's head: `fields`, with their marks, are given away. `more`: names and values that the answer gets. */
  answer(status: number, fields: string[], marks: number, size: BodySize, plan: ForwardPlan, serviceMs: number, grpcStatus: number | undefined, more: readonly string[]): void;
  upgrade(protocol: string, fields: string[], plan: ForwardPlan): void;
  /** False: enough; `onClientWritable` follows. */
  write(bytes: Uint8Array): boolean;
  /** `grpcStatus`: of the whole answer. */
  end(trailers: Fields, grpcStatus: number | undefined): void;
  broken(flag: ResponseFlag, details: string): void;
  localReply(local: LocalReply): void;
}
