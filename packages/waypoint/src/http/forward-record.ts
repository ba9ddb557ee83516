// Owns what is known of a request's attempts, and what others are told at the end of each.
import type { Backend } from "@ambit/core";
import type { ForwardedRequest } from "./forwarded-request.ts";
import type { AttemptOutcome, ChosenEndpoint, UpstreamEndpoint } from "./options.ts";
import type { OutgoingRequest } from "./outgoing-request.ts";
import type { Attempt } from "./upstream/upstreams.ts";

/** An AttemptOutcome's result, which is not over when it begins. */
export interface Answer { readonly kind: "answered"; readonly status: number; readonly fields: readonly string[]; grpcStatus: number | undefined; whole: boolean }

interface Outcome extends AttemptOutcome { durationMs: number; sent: boolean }

export class ForwardRecord {
  /** As the last attempt left. */
  outgoing: OutgoingRequest | undefined = undefined;
  attempts = 0;
  /** Of the last attempt, since the request's head. */
  startedMs: number | undefined = undefined;
  failureText: string | undefined = undefined;
  mirrored: Backend[] | undefined = undefined;
  /** Of the last attempt. */
  protected chosen: ChosenEndpoint | undefined = undefined;
  /** The one that goes on to the client. */
  protected answer: Answer | undefined = undefined;
  protected readonly x: ForwardedRequest;
  /** That of an answer is asked for at its head, and again at its end. */
  #last: Outcome | undefined = undefined;

  constructor(exchange: ForwardedRequest) {
    this.x = exchange;
  }

  /** Of the last attempt. */
  get endpoint(): UpstreamEndpoint | undefined {
    return this.chosen?.endpoint;
  }

  /** The attempt is over. */
  protected report(result: AttemptOutcome["result"], attempt: Attempt | undefined): void {
    if (this.chosen !== undefined) this.x.o.onOutcome(this.outcome(result, attempt), this.chosen);
  }

  protected outcome(result: AttemptOutcome["result"], attempt: Attempt | undefined): AttemptOutcome {
    const { endpoint } = this.chosen as ChosenEndpoint; // only called once one was chosen
    const durationMs = this.x.elapsedMs - (this.startedMs ?? 0);
    const sent = attempt?.sent ?? false;
    if (this.#last?.result !== result) return (this.#last = { endpoint, attempt: this.attempts, durationMs, sent, result });
    this.#last.durationMs = durationMs;
    this.#last.sent = sent;
    return this.#last;
  }
}
