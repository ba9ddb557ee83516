// Owns copies of a request for mirrors: sent and forgotten, bounded, never felt by the client.
import type { Backend } from "@ambit/core";
import type { Fields } from "@ambit/http";
import { BODY_PEEK_MAX_OCTETS, type BodyBuffer } from "./body-buffer.ts";
import type { ForwardedRequest } from "./forwarded-request.ts";
import { addedFields, grpcStatusOf, passedFields } from "./fields.ts";
import { OutgoingRequest } from "./outgoing-request.ts";
import type { AttemptOutcome, ChosenEndpoint, ForwardPlan } from "./options.ts";
import type { Deadline } from "./timer-wheel.ts";
import type { Attempt, AttemptEvents, AttemptFailure, AttemptRequest } from "./upstream/upstreams.ts";

/** Mirrored requests of a process at once: beyond it copies are not made. */
export const MIRRORS_MAX = 1024;
/** A mirror that is behind by so many octets of body is given up. */
const BEHIND_MAX_OCTETS = 1 << 20;
/** A mirror without a timeout of its route has so long to answer. */
const MIRROR_MS = 30_000;

export class Mirrored implements AttemptEvents {
  readonly #x: ForwardedRequest;
  readonly #chosen: ChosenEndpoint;
  readonly #attempt: Attempt;
  readonly #began: number;
  readonly #deadline: Deadline;
  #behind = 0;
  #over = false;
  #ended = false;
  #answer: { status: number; fields: Fields; grpcStatus: number | undefined } | undefined;

  constructor(exchange: ForwardedRequest, chosen: ChosenEndpoint, request: AttemptRequest, timeoutMs: number) {
    this.#x = exchange;
    this.#chosen = chosen;
    this.#began = exchange.o.clock.monotonic();
    const { shared } = exchange.o.upstreams;
    shared.mirrors++;
    this.#attempt = exchange.o.upstreams.attempt(chosen.endpoint, request, this, false);
    this.#ended = exchange.incoming.size === "none";
    this.#deadline = shared.wheel.after(timeoutMs, () => { this.#attempt.abandon(); this.#finish({ kind: "timeout" }); });
  }

  /** What of the body came before the plan. */
  catchUp(body: BodyBuffer | undefined): void {
    if (body !== undefined && body.octets > 0) {
      const early = body.peek(BODY_PEEK_MAX_OCTETS);
      if (early.length < body.octets) return this.abandon();
      this.write(early);
    }
    if (this.#x.bodyEnded) this.end(this.#x.trailers);
  }

  write(bytes: Uint8Array): void {
    if (this.#over) return;
    if (this.#attempt.write(bytes)) return;
    this.#behind += bytes.length;
    if (this.#behind > BEHIND_MAX_OCTETS) this.abandon();
  }

  end(trailers: Fields): void {
    if (this.#over || this.#ended) return;
    this.#ended = true;
    this.#attempt.end(trailers);
  }

  abandon(): void {
    if (this.#over) return;
    this.#attempt.abandon();
    this.#finish({ kind: "abandoned" });
  }

  onInformational(): void {}
  onData(): void {}

  onWritable(): void {
    this.#behind = 0;
  }

  onAnswer(status: number, fields: Fields): void {
    this.#answer = { status, fields, grpcStatus: grpcStatusOf(fields) };
  }

  onTrailers(fields: Fields): void {
    if (this.#answer !== undefined) this.#answer.grpcStatus = grpcStatusOf(fields) ?? this.#answer.grpcStatus;
  }

  onEnd(): void {
    if (this.#answer !== undefined) this.#finish({ kind: "answered", ...this.#answer, whole: true });
    if (!this.#ended) this.#attempt.abandon();
  }

  onFailed(failure: AttemptFailure): void {
    this.#finish(failure);
  }

  #finish(result: AttemptOutcome["result"]): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline.cancel();
    this.#x.o.upstreams.shared.mirrors--;
    this.#x.o.onOutcome({ endpoint: this.#chosen.endpoint, attempt: 1, durationMs: this.#x.o.clock.monotonic() - this.#began, sent: this.#attempt.sent, result }, this.#chosen);
  }
}

/** Starts the plan's mirrors that can be reached; `sent` gets their backends. */
export function sendMirrors(exchange: ForwardedRequest, plan: ForwardPlan, sent: Backend[]): Mirrored[] {
  const out: Mirrored[] = [];
  for (const mirror of plan.mirrors) {
    if (exchange.o.upstreams.shared.mirrors >= MIRRORS_MAX) break;
    const { requestMs } = plan.timeouts;
    const passed = passedFields(mirror.head.fields, exchange.seen, requestMs !== undefined, false);
    if (passed === undefined) continue;
    const choice = exchange.o.choose({ kind: "service", backend: mirror.backend }, exchange.facts, [], undefined);
    if (choice.kind === "none") continue;
    sent.push(mirror.backend);
    out.push(new Mirrored(exchange, choice, new OutgoingRequest(mirror.head, passed, addedFields(1, requestMs), exchange.incoming.size, undefined), requestMs ?? MIRROR_MS));
  }
  return out;
}
