// Owns carrying out a plan that forwards: attempts, retries, deadlines, and the request's body into the one that is under way.
import type { BodySize, Fields } from "@ambit/http";
import type { Timer } from "@ambit/runtime";
import { WAITING_BODY_OCTETS } from "./body-buffer.ts";
import { ForwardRecord, type Answer } from "./forward-record.ts";
import type { ForwardedRequest } from "./forwarded-request.ts";
import { addedFields, contentLength, grpcStatusOf, marksOf, passedFields } from "./fields.ts";
import { brokenFlag, failureReply, failureText, reply } from "./local-reply.ts";
import { sendMirrors, type Mirrored } from "./mirror.ts";
import { OutgoingRequest } from "./outgoing-request.ts";
import type { AttemptOutcome, ForwardPlan } from "./options.ts";
import { retryDelayMs } from "../plan/retry.ts";
import type { Deadline } from "./timer-wheel.ts";
import type { Attempt, AttemptEvents, AttemptFailure } from "./upstream/upstreams.ts";
import { acceptWebsocket, prepareWebsocket } from "./websocket.ts";

const NO_FIELDS: Fields = [];
const NONE_TRIED: readonly string[] = [];

export class Forward extends ForwardRecord implements AttemptEvents {
  readonly #plan: ForwardPlan;
  #attempt: Attempt | undefined = undefined;
  #writable = true;
  #bodySent = false;
  #staleTried = false;
  #retriesLeft: number;
  #trailers: Fields = NO_FIELDS;
  /** Keys of endpoints that failed. */
  #tried: string[] | undefined = undefined;
  #mirrors: Mirrored[] | undefined = undefined;
  #retryOver: (() => void) | undefined = undefined;
  #backoff: Timer | undefined = undefined;
  #deadline: Deadline | undefined = undefined;
  #attemptDeadline: Deadline | undefined = undefined;
  /** Of a websocket's client. */
  #key: string | undefined = undefined;

  constructor(exchange: ForwardedRequest, plan: ForwardPlan) {
    super(exchange);
    this.#plan = plan;
    this.#retriesLeft = exchange.facts.upgrade === undefined ? plan.retry.retries : 0;
  }

  start(): void {
    const x = this.x;
    if (this.#retriesLeft === 0 && !x.idempotent) x.dontKeepBody();
    if (this.#plan.mirrors.length > 0 && x.facts.upgrade === undefined) {
      this.#mirrors = sendMirrors(x, this.#plan, (this.mirrored = []));
      for (const mirror of this.#mirrors) mirror.catchUp(x.body);
    }
    if (x.bodyEnded) this.#armDeadline();
    this.#try(false);
  }

  // ---- attempts --------------------------------------------------------------------------------------------------------------------------------

  /** `again`: once more at the same endpoint, which counts as the same attempt. */
  #try(again: boolean): void {
    const x = this.x;
    const { o, facts } = x;
    const { head } = this.#plan;
    if (!again) this.attempts++;
    // Before an endpoint is chosen: whoever counts what was chosen hears of its end by an outcome.
    const expectedMs = this.#expectedMs();
    let passed = passedFields(head.fields, x.seen, expectedMs !== undefined, o.forwardExpect === true);
    if (passed === undefined) return x.localReply(reply(500, "a field of the request cannot be sent", "-", "invalid_request_field"));
    if (this.#plan.trace !== undefined && o.propagate !== undefined) {
      const traced = passed.slice();
      o.propagate(this.#plan, traced);
      passed = traced;
    }
    const choice = again && this.chosen !== undefined ? this.chosen : o.choose(this.#plan.to, facts, this.#tried ?? NONE_TRIED, this.#plan);
    if (choice.kind === "none") {
      this.attempts--;
      return x.localReply(choice.reply);
    }
    const { upgrade } = facts;
    if (upgrade === "websocket") {
      const own = passed.slice();
      this.#key = prepareWebsocket(own, facts.fields, choice.endpoint.protocol);
      passed = own;
    }
    const size: BodySize = upgrade !== undefined ? "none" : x.incoming.size;
    const request = new OutgoingRequest(head, passed, addedFields(this.attempts, expectedMs), size, upgrade);
    this.chosen = choice;
    this.outgoing = request;
    this.startedMs = x.elapsedMs;
    this.#bodySent = false;
    this.#writable = true;
    this.#trailers = NO_FIELDS;
    x.body?.rewind();
    this.#attempt = o.upstreams.attempt(choice.endpoint, request, this, again);
    if (size === "none") this.#bodySent = true;
    if (x.bodyEnded) this.#armAttemptDeadline();
    this.#pump();
  }

  #expectedMs(): number | undefined {
    const { attemptMs, requestMs } = this.#plan.timeouts;
    return attemptMs ?? (requestMs === undefined ? undefined : requestMs - (this.attempts > 1 ? this.x.elapsedMs : 0));
  }

  #pump(): void {
    const attempt = this.#attempt;
    const { body } = this.x;
    if (attempt === undefined) {
      if (body !== undefined && body.octets >= WAITING_BODY_OCTETS) this.x.pause();
      return;
    }
    if (body !== undefined) while (this.#writable && body.waiting) {
      const piece = body.take();
      if (piece !== undefined) this.#writable = attempt.write(piece);
    }
    if (!this.#writable) return this.x.pause();
    if (this.x.bodyEnded && !this.#bodySent) {
      this.#bodySent = true;
      attempt.end(this.x.trailers);
    }
    this.x.resume();
  }

  onBody(bytes: Uint8Array): void {
    if (this.#mirrors !== undefined) for (const mirror of this.#mirrors) mirror.write(bytes);
    this.#pump();
  }

  onBodyEnd(): void {
    if (this.#mirrors !== undefined) for (const mirror of this.#mirrors) mirror.end(this.x.trailers);
    if (!this.x.upgraded) {
      this.#armDeadline();
      this.#armAttemptDeadline();
    }
    this.#pump();
  }

  onClientWritable(): void {
    this.#attempt?.resume();
  }

  // ---- from the attempt ------------------------------------------------------------------------------------------------------------------------

  onWritable(): void {
    this.#writable = true;
    this.#pump();
  }

  onInformational(status: number, fields: Fields): void {
    if (status !== 100 || (this.x.o.forwardExpect === true && this.x.incoming.expectContinue)) this.x.informational(status, fields);
  }

  onAnswer(status: number, fields: string[], kind: "body" | "empty" | "upgraded"): void {
    const x = this.x;
    this.#attemptDeadline?.cancel();
    if (kind === "upgraded") return this.#upgrade(fields);
    const { upgrade, protocol } = x.facts;
    if (upgrade !== undefined && protocol === "HTTP/2" && status < 300) {
      // A client of extended CONNECT would take any 2xx for the switch (RFC 8441 §5), and the body for the other protocol.
      this.#attempt?.abandon();
      return this.onFailed({ kind: "reset", by: "protocol", refused: false, why: `answered ${status} and did not switch to ${upgrade}` });
    }
    const marks = marksOf(fields);
    const answer: Answer = { kind: "answered", status, fields, grpcStatus: grpcStatusOf(fields, marks), whole: true };
    if (this.#plan.retry.retries > 0 && this.#retry(answer, this.#attempt)) return;
    this.answer = answer;
    x.dontKeepBody();
    const length = contentLength(fields, marks);
    const size: BodySize = length >= 0 ? length : kind === "empty" ? "none" : "unknown";
    x.answer(status, fields, marks, size, this.#plan, x.elapsedMs - (this.startedMs ?? 0), answer.grpcStatus, this.chosen?.answer ?? NO_FIELDS);
  }

  onData(bytes: Uint8Array): void {
    if (!this.x.write(bytes)) this.#attempt?.pause();
  }

  onTrailers(fields: Fields): void {
    this.#trailers = fields;
    if (this.answer !== undefined) this.answer.grpcStatus = grpcStatusOf(fields) ?? this.answer.grpcStatus;
  }

  onEnd(): void {
    const attempt = this.#attempt;
    const answer = this.answer;
    this.#attempt = undefined;
    if (answer !== undefined) this.report(answer, attempt);
    if (!this.#bodySent) attempt?.abandon(); // an answer before the end of its request
    this.x.end(this.#trailers, answer?.grpcStatus);
  }

  onFailed(failure: AttemptFailure): void {
    const attempt = this.#attempt;
    if (this.answer !== undefined) {
      this.#attempt = undefined;
      this.answer.whole = false;
      this.report(this.answer, attempt);
      this.failureText = failureText(failure);
      return this.x.broken(brokenFlag(failure), "upstream_reset_after_response_started{connection_termination}");
    }
    if (this.#tryFresh(failure, attempt)) return;
    this.failureText = failureText(failure);
    if (this.#retry(failure, attempt)) return;
    this.#attempt = undefined;
    this.x.localReply(failureReply(failure, this.#plan.timeouts.deadline));
  }

  /** A kept connection that its server closed while our request was on the way: once more on a new one, which counts as the same attempt. */
  #tryFresh(failure: AttemptFailure, attempt: Attempt | undefined): boolean {
    if (failure.kind !== "reset" || failure.by !== "connection" || attempt === undefined || !attempt.stale || this.#staleTried) return false;
    if (!this.x.replayable || (attempt.sent && !this.x.idempotent)) return false;
    this.#staleTried = true;
    this.#attempt = undefined;
    this.#try(true);
    return true;
  }

  #upgrade(fields: string[]): void {
    this.answer = { kind: "answered", status: 101, fields, grpcStatus: undefined, whole: true };
    this.x.dontKeepBody();
    this.#deadline?.cancel();
    this.#bodySent = false;
    if (this.x.facts.upgrade === "websocket") acceptWebsocket(fields, this.#key);
    this.x.upgrade(this.x.facts.upgrade ?? "", fields, this.#plan);
    this.#pump();
  }

  // ---- retries and deadlines -------------------------------------------------------------------------------------------------------------------

  /** Reports the attempt's end, and, if the policy says so, arranges another one. */
  #retry(result: AttemptOutcome["result"], ended: Attempt | undefined): boolean {
    const x = this.x;
    const { retry } = this.#plan;
    if (this.chosen === undefined) return false;
    const outcome = this.outcome(result, ended);
    const wanted = retry.retries > 0 && x.facts.upgrade === undefined && x.o.retryable(retry, outcome);
    const over = wanted && this.#retriesLeft > 0 && x.replayable ? x.o.upstreams.retry(this.chosen.endpoint) : undefined;
    if (wanted && over === undefined && this.#retriesLeft === 0) x.flag("URX");
    // There would have been another try, but for the destination's limit or budget of retries.
    if (wanted && over === undefined && this.#retriesLeft > 0 && x.replayable) x.flag("UO");
    if (over === undefined) {
      if (result.kind !== "answered") x.o.onOutcome(outcome, this.chosen); // that of an answer comes at its end
      return false;
    }
    x.o.onOutcome(outcome, this.chosen);
    this.#attempt?.abandon();
    this.#attempt = undefined;
    this.#attemptDeadline?.cancel();
    (this.#tried ??= []).push(this.chosen.endpoint.key);
    this.#retryOver?.();
    this.#retryOver = over;
    this.#retriesLeft--;
    this.#backoff = x.o.clock.after(retryDelayMs(retry, retry.retries - this.#retriesLeft, x.o.random), () => this.#try(false));
    return true;
  }

  #armDeadline(): void {
    const { requestMs } = this.#plan.timeouts;
    if (requestMs === undefined || requestMs <= 0 || this.#deadline !== undefined) return;
    this.#deadline = this.x.o.upstreams.shared.wheel.after(requestMs, () => this.#timedOut());
  }

  #armAttemptDeadline(): void {
    const { attemptMs } = this.#plan.timeouts;
    this.#attemptDeadline?.cancel();
    if (attemptMs === undefined || attemptMs <= 0 || this.answer !== undefined || this.#attempt === undefined) return;
    this.#attemptDeadline = this.x.o.upstreams.shared.wheel.after(attemptMs, () => {
      const attempt = this.#attempt;
      attempt?.abandon();
      this.onFailed({ kind: "timeout" });
    });
  }

  /** The request's own time is over. */
  #timedOut(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.abandon();
    if (this.answer !== undefined) this.answer.whole = false;
    if (attempt !== undefined) this.report(this.answer ?? { kind: "timeout" }, attempt);
    const late = failureReply({ kind: "abandoned" }, this.#plan.timeouts.deadline);
    if (this.answer !== undefined) this.x.broken("UT", late.details);
    else this.x.localReply(late);
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    if (attempt === undefined) return;
    attempt.abandon();
    this.report(this.answer ?? { kind: "abandoned" }, attempt);
  }

  /** The exchange is over. */
  finish(): void {
    this.#deadline?.cancel();
    this.#attemptDeadline?.cancel();
    this.#backoff?.cancel();
    this.#retryOver?.();
    this.#retryOver = undefined;
    if (this.#attempt !== undefined) this.abandon();
    if (this.#mirrors !== undefined && !this.x.bodyEnded) for (const mirror of this.#mirrors) mirror.abandon();
  }
}
