// Owns carrying out a plan that forwards: attempts, retries, deadlines, and the request's body into the one that is under way.
import { randomBytes } from "node:crypto";
import type { Backend } from "@ambit/core";
import type { BodySize, Fields } from "@ambit/http";
import type { Timer } from "@ambit/runtime";
import { WAITING_BODY_OCTETS } from "./body-buffer.ts";
import type { ForwardedRequest } from "./forwarded-request.ts";
import { contentLength, grpcStatusOf, outgoingFields, remove, set, first } from "./fields.ts";
import { brokenFlag, failureReply, failureText, reply } from "./local-reply.ts";
import { sendMirrors, type Mirrored } from "./mirror.ts";
import type { AttemptOutcome, ChosenEndpoint, ForwardPlan, UpstreamChoice, UpstreamEndpoint } from "./options.ts";
import type { OutgoingHead } from "../plan/request-plan.ts";
import { retryDelayMs } from "../plan/retry.ts";
import type { Deadline } from "./timer-wheel.ts";
import type { Attempt, AttemptEvents, AttemptFailure } from "./upstream/upstreams.ts";
import { acceptOf } from "./websocket.ts";

const NO_FIELDS: Fields = [];

export class Forward implements AttemptEvents {
  /** Of the last attempt. */
  endpoint: UpstreamEndpoint | undefined;
  outgoing: OutgoingHead | undefined;
  attempts = 0;
  startedMs: number | undefined;
  failureText: string | undefined;
  readonly mirrored: Backend[] = [];
  readonly #x: ForwardedRequest;
  readonly #plan: ForwardPlan;
  readonly #tried: string[] = [];
  #mirrors: Mirrored[] = [];
  #attempt: Attempt | undefined;
  #chosen: ChosenEndpoint | undefined;
  #writable = true;
  #bodySent = false;
  #retriesLeft: number;
  #staleTried = false;
  #retryOver: (() => void) | undefined;
  #backoff: Timer | undefined;
  #deadline: Deadline | undefined;
  #attemptDeadline: Deadline | undefined;
  #trailers: Fields = NO_FIELDS;
  #status = 0;
  #grpcStatus: number | undefined;
  #answerHead: Fields = NO_FIELDS;
  #answering = false;
  #key: string | undefined;

  constructor(exchange: ForwardedRequest, plan: ForwardPlan) {
    this.#x = exchange;
    this.#plan = plan;
    this.#retriesLeft = exchange.facts.upgrade === undefined ? plan.retry.retries : 0;
  }

  start(): void {
    if (this.#retriesLeft === 0 && !this.#x.idempotent) this.#x.body.dontKeep();
    if (this.#plan.mirrors.length > 0) this.#mirrors = sendMirrors(this.#x, this.#plan, this.mirrored);
    for (const mirror of this.#mirrors) mirror.catchUp(this.#x.body);
    if (this.#x.bodyEnded) this.#armDeadline();
    this.#try(false);
  }

  // ---- attempts --------------------------------------------------------------------------------------------------------------------------------

  #try(again: boolean): void {
    const head = this.#plan.head;
    if (!again) this.attempts++;
    // Before an endpoint is chosen: whoever counts what was chosen hears of its end by an outcome.
    const fields = outgoingFields(head.fields, { attempt: this.attempts, expectedMs: this.#expectedMs(), keepExpect: this.#x.o.forwardExpect === true });
    if (fields === undefined) return this.#x.localReply(reply(500, "a field of the request cannot be sent", "-", "invalid_request_field"));
    this.#x.o.propagate?.(this.#plan, fields);
    const choice: UpstreamChoice = again && this.#chosen !== undefined ? this.#chosen
      : this.#x.o.choose(this.#plan.to, this.#x.facts, this.#tried, this.#plan);
    if (choice.kind === "none") {
      this.attempts--;
      return this.#x.localReply(choice.reply);
    }
    const { endpoint } = choice;
    const upgrade = this.#x.facts.upgrade;
    if (upgrade === "websocket") this.#prepareWebsocket(fields, endpoint);
    this.endpoint = endpoint;
    this.outgoing = { ...head, fields };
    this.#chosen = choice;
    this.startedMs = this.#x.elapsedMs;
    this.#bodySent = false;
    this.#writable = true;
    this.#trailers = NO_FIELDS;
    this.#x.body.rewind();
    const size: BodySize = upgrade !== undefined ? "none" : this.#x.incoming.size;
    this.#attempt = this.#x.o.upstreams.attempt(endpoint, { method: head.method, authority: head.authority, target: head.target, fields, body: size, upgrade }, this, again);
    if (size === "none") this.#bodySent = true;
    if (this.#x.bodyEnded) this.#armAttemptDeadline();
    this.#pump();
  }

  /** HTTP/1 shakes hands with a key; HTTP/2 (RFC 8441) has none. */
  #prepareWebsocket(fields: string[], endpoint: UpstreamEndpoint): void {
    this.#key = first(this.#x.facts.fields, "sec-websocket-key");
    if (endpoint.protocol === "http2") remove(fields, "sec-websocket-key");
    else if (this.#key === undefined) set(fields, "sec-websocket-key", randomBytes(16).toString("base64"));
  }

  #expectedMs(): number | undefined {
    const { attemptMs, requestMs } = this.#plan.timeouts;
    return attemptMs ?? (requestMs === undefined ? undefined : requestMs - (this.attempts > 1 ? this.#x.elapsedMs : 0));
  }

  #pump(): void {
    const attempt = this.#attempt;
    const { body } = this.#x;
    if (attempt === undefined) {
      if (body.octets >= WAITING_BODY_OCTETS) this.#x.pause();
      return;
    }
    while (this.#writable && body.waiting) {
      const piece = body.take();
      if (piece !== undefined) this.#writable = attempt.write(piece);
    }
    if (!this.#writable) return this.#x.pause();
    if (this.#x.bodyEnded && !this.#bodySent) {
      this.#bodySent = true;
      attempt.end(this.#x.trailers);
    }
    this.#x.resume();
  }

  onBody(bytes: Uint8Array): void {
    for (const mirror of this.#mirrors) mirror.write(bytes);
    this.#pump();
  }

  onBodyEnd(): void {
    for (const mirror of this.#mirrors) mirror.end(this.#x.trailers);
    if (!this.#x.upgraded) {
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
    if (status !== 100 || (this.#x.o.forwardExpect === true && this.#x.incoming.expectContinue)) this.#x.informational(status, fields);
  }

  onAnswer(status: number, fields: Fields, kind: "body" | "empty" | "upgraded"): void {
    this.#attemptDeadline?.cancel();
    if (kind === "upgraded") return this.#upgrade(fields);
    const { upgrade, protocol } = this.#x.facts;
    if (upgrade !== undefined && protocol === "HTTP/2" && status < 300) {
      // A client of extended CONNECT would take any 2xx for the switch (RFC 8441 §5), and the body for the other protocol.
      this.#attempt?.abandon();
      return this.onFailed({ kind: "reset", by: "protocol", refused: false, why: `answered ${status} and did not switch to ${upgrade}` });
    }
    this.#status = status;
    this.#grpcStatus = grpcStatusOf(fields);
    this.#answerHead = fields;
    if (this.#retry({ kind: "answered", status, fields, grpcStatus: this.#grpcStatus, whole: true }, undefined)) return;
    this.#answering = true;
    this.#x.body.dontKeep();
    const length = contentLength(fields);
    const size: BodySize = length >= 0 ? length : kind === "empty" ? "none" : "unknown";
    this.#x.answer(status, fields, size, this.#plan, { serviceMs: this.#x.elapsedMs - (this.startedMs ?? 0), more: this.#chosen?.answer ?? NO_FIELDS });
  }

  onData(bytes: Uint8Array): void {
    if (!this.#x.write(bytes)) this.#attempt?.pause();
  }

  onTrailers(fields: Fields): void {
    this.#trailers = fields;
    this.#grpcStatus = grpcStatusOf(fields) ?? this.#grpcStatus;
  }

  onEnd(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#report({ kind: "answered", status: this.#status, fields: this.#answerHead, grpcStatus: this.#grpcStatus, whole: true }, attempt);
    if (!this.#bodySent) attempt?.abandon(); // an answer before the end of its request
    this.#x.end(this.#trailers);
  }

  onFailed(failure: AttemptFailure): void {
    const attempt = this.#attempt;
    if (this.#answering) {
      this.#attempt = undefined;
      this.#report({ kind: "answered", status: this.#status, fields: this.#answerHead, grpcStatus: this.#grpcStatus, whole: false }, attempt);
      this.failureText = failureText(failure);
      return this.#x.broken(brokenFlag(failure), "upstream_reset_after_response_started{connection_termination}");
    }
    if (this.#tryFresh(failure, attempt)) return;
    this.failureText = failureText(failure);
    if (this.#retry(failure, attempt)) return;
    this.#attempt = undefined;
    this.#x.localReply(failureReply(failure, this.#plan.timeouts.deadline));
  }

  /** A kept connection that its server closed while our request was on the way: once more on a new one, which counts as the same attempt. */
  #tryFresh(failure: AttemptFailure, attempt: Attempt | undefined): boolean {
    if (failure.kind !== "reset" || failure.by !== "connection" || attempt === undefined || !attempt.stale || this.#staleTried) return false;
    if (!this.#x.body.replayable || (attempt.sent && !this.#x.idempotent)) return false;
    this.#staleTried = true;
    this.#attempt = undefined;
    this.#try(true);
    return true;
  }

  #upgrade(fields: Fields): void {
    this.#answering = true;
    this.#x.body.dontKeep();
    this.#status = 101;
    this.#answerHead = fields;
    this.#deadline?.cancel();
    this.#bodySent = false;
    const all = fields.slice();
    if (this.#x.facts.upgrade === "websocket") {
      remove(all, "sec-websocket-accept");
      if (this.#key !== undefined) all.push("sec-websocket-accept", acceptOf(this.#key));
    }
    this.#x.upgrade(this.#x.facts.upgrade ?? "", all, this.#plan);
    this.#pump();
  }

  // ---- retries and deadlines -------------------------------------------------------------------------------------------------------------------

  /** Reports the attempt's end, and, if the policy says so, arranges another one. */
  #retry(result: AttemptOutcome["result"], ended: Attempt | undefined): boolean {
    if (this.#chosen === undefined || this.endpoint === undefined) return false;
    const outcome = this.#outcome(result, ended ?? this.#attempt);
    const wanted = this.#plan.retry.retries > 0 && this.#x.facts.upgrade === undefined && this.#x.o.retryable(this.#plan.retry, outcome);
    const over = wanted && this.#retriesLeft > 0 && this.#x.body.replayable ? this.#x.o.upstreams.retry(this.endpoint) : undefined;
    if (wanted && over === undefined && this.#retriesLeft === 0) this.#x.flags.push("URX");
    // There would have been another try, but for the destination's limit or budget of retries.
    if (wanted && over === undefined && this.#retriesLeft > 0 && this.#x.body.replayable) this.#x.flags.push("UO");
    if (over === undefined) {
      if (result.kind !== "answered") this.#x.o.onOutcome(outcome, this.#chosen); // that of an answer comes at its end
      return false;
    }
    this.#x.o.onOutcome(outcome, this.#chosen);
    this.#attempt?.abandon();
    this.#attempt = undefined;
    this.#attemptDeadline?.cancel();
    this.#tried.push(this.endpoint.key);
    this.#retryOver?.();
    this.#retryOver = over;
    const { retry } = this.#plan;
    this.#retriesLeft--;
    this.#backoff = this.#x.o.clock.after(retryDelayMs(retry, retry.retries - this.#retriesLeft, this.#x.o.random), () => this.#try(false));
    return true;
  }

  #armDeadline(): void {
    const { requestMs } = this.#plan.timeouts;
    if (requestMs === undefined || requestMs <= 0 || this.#deadline !== undefined) return;
    this.#deadline = this.#x.o.upstreams.shared.wheel.after(requestMs, () => this.#timedOut());
  }

  #armAttemptDeadline(): void {
    const { attemptMs } = this.#plan.timeouts;
    this.#attemptDeadline?.cancel();
    if (attemptMs === undefined || attemptMs <= 0 || this.#answering || this.#attempt === undefined) return;
    this.#attemptDeadline = this.#x.o.upstreams.shared.wheel.after(attemptMs, () => {
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
    if (attempt !== undefined) this.#report(this.#answering ? { kind: "answered", status: this.#status, fields: this.#answerHead, grpcStatus: this.#grpcStatus, whole: false } : { kind: "timeout" }, attempt);
    const late = failureReply({ kind: "abandoned" }, this.#plan.timeouts.deadline);
    if (this.#answering) this.#x.broken("UT", late.details);
    else this.#x.localReply(late);
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    if (attempt === undefined) return;
    attempt.abandon();
    this.#report(this.#answering ? { kind: "answered", status: this.#status, fields: this.#answerHead, grpcStatus: this.#grpcStatus, whole: true } : { kind: "abandoned" }, attempt);
  }

  /** The exchange is over. */
  finish(): void {
    this.#deadline?.cancel();
    this.#attemptDeadline?.cancel();
    this.#backoff?.cancel();
    this.#retryOver?.();
    this.#retryOver = undefined;
    this.abandon();
    if (!this.#x.bodyEnded) for (const mirror of this.#mirrors) mirror.abandon();
  }

  #report(result: AttemptOutcome["result"], attempt: Attempt | undefined): void {
    if (this.#chosen !== undefined) this.#x.o.onOutcome(this.#outcome(result, attempt), this.#chosen);
  }

  #outcome(result: AttemptOutcome["result"], attempt: Attempt | undefined): AttemptOutcome {
    const endpoint = this.endpoint as UpstreamEndpoint; // only called once one was chosen
    return { endpoint, attempt: this.attempts, durationMs: this.#x.elapsedMs - (this.startedMs ?? 0), sent: attempt?.sent ?? false, result };
  }
}
