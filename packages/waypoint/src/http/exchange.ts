// Owns one request from its head to its record: the decision, the body on its way, and exactly one answer.
import type { BodySize, Fields } from "@ambit/http";
import type { LocalReply, ResponseFlag } from "../plan/request-plan.ts";
import { BODY_PEEK_MAX_OCTETS, BodyBuffer, WAITING_BODY_OCTETS } from "./body-buffer.ts";
import type { Downstream, DownstreamEvents } from "./downstream.ts";
import type { EventTime } from "./event-time.ts";
import { answerFields, marksOf, replyFields, type SeenFields } from "./fields.ts";
import { ExchangeRecord } from "./exchange-record.ts";
import { Forward } from "./forward.ts";
import type { ForwardedRequest } from "./forwarded-request.ts";
import { renderReply, reply } from "./local-reply.ts";
import type { BodyPeek, FinalPlan, ForwardPlan, HttpOptions } from "./options.ts";
import type { IncomingRequest } from "./request.ts";

/** Facts that one request may need: every rule of tokens and every checker that can apply, and then some. */
const NEEDS_MAX = 32;

const NO_FIELDS: Fields = [];
const NO_OCTETS = new Uint8Array(0);

const latin1 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Methods that may be done twice (RFC 9110 §9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

interface Peek { readonly maxBytes: number; readonly resolve: (peek: BodyPeek) => void }

export class Exchange extends ExchangeRecord implements DownstreamEvents, ForwardedRequest {
  readonly o: HttpOptions;
  readonly down: Downstream;
  body: BodyBuffer | undefined = undefined;
  /** The whole request came. */
  bodyEnded: boolean;
  trailers: Fields = NO_FIELDS;
  readonly #time: EventTime;
  readonly #began: number;
  #stopDelay: (() => void) | undefined = undefined;
  #peeks: Peek[] | undefined = undefined;
  /** The answer's head went out. */
  #answered = false;
  #over = false;
  #paused = false;
  #continued = false;
  #keepBody = true;

  constructor(o: HttpOptions, down: Downstream, request: IncomingRequest) {
    super(request);
    this.o = o;
    this.down = down;
    this.bodyEnded = request.size === "none";
    this.#time = o.upstreams.shared.time;
    this.#began = this.#time.monotonic;
    if (this.bodyEnded) this.requestEndMs = 0;
  }

  get elapsedMs(): number {
    return this.#time.monotonic - this.#began;
  }

  get idempotent(): boolean {
    return IDEMPOTENT.has(this.facts.method);
  }

  get seen(): Pick<SeenFields, "fields" | "marks"> {
    return this.incoming.seen;
  }

  get replayable(): boolean {
    return this.body === undefined ? this.#keepBody : this.body.replayable;
  }

  start(): void {
    this.#decide(NEEDS_MAX);
  }

  /** Refused before anybody was asked. */
  refuse(status: number, body: string, flag: ResponseFlag, details: string): void {
    this.localReply(reply(status, body, flag, details));
  }

  // ---- the decision ----------------------------------------------------------------------------------------------------------------------------

  #decide(needsLeft: number): void {
    if (this.#over) return;
    const plan = this.o.plan(this.facts);
    if (plan.kind !== "need") return this.#carryOut(plan);
    if (needsLeft === 0) return this.localReply(reply(500, "the request needs too much to be judged", "-", "too_many_needs"));
    this.o.satisfy(plan.need, this.facts, (maxBytes) => this.#peek(maxBytes)).then((facts) => {
      this.facts = facts;
      this.#decide(needsLeft - 1);
    }, (error: unknown) => this.localReply(reply(500, "the request could not be judged", "-", `need_failed{${error instanceof Error ? error.message : String(error)}}`)));
  }

  #carryOut(plan: FinalPlan): void {
    this.plan = plan;
    if (plan.delayMs > 0) {
      this.flag("DI");
      const timer = this.o.clock.after(plan.delayMs, () => {
        this.#stopDelay = undefined;
        this.#act(plan);
      });
      this.#stopDelay = () => timer.cancel();
    } else this.#act(plan);
  }

  #act(plan: FinalPlan): void {
    if (plan.kind === "reply") return this.localReply(plan.reply);
    this.forward = new Forward(this, plan);
    if (!this.o.forwardExpect) this.#continue();
    this.forward.start();
    this.#takeAgain();
  }

  /** Waits for the first octets of the body: they stay for the upstream. */
  #peek(maxBytes: number): Promise<BodyPeek> {
    const most = Math.min(maxBytes, BODY_PEEK_MAX_OCTETS);
    this.#continue();
    return new Promise((resolve) => {
      (this.#peeks ??= []).push({ maxBytes: most, resolve });
      this.#settlePeeks();
      this.#takeAgain();
    });
  }

  #settlePeeks(): void {
    const peeks = this.#peeks;
    if (peeks === undefined) return;
    const octets = this.body?.octets ?? 0;
    const met = peeks.filter((p) => this.#over || this.bodyEnded || octets >= p.maxBytes);
    this.#peeks = peeks.filter((p) => !met.includes(p));
    for (const peek of met) peek.resolve({ bytes: this.body?.peek(peek.maxBytes) ?? NO_OCTETS, complete: this.bodyEnded && octets <= peek.maxBytes });
  }

  /** Answers `Expect: 100-continue`: from now on the body is wanted. */
  #continue(): void {
    if (!this.incoming.expectContinue || this.#continued || this.bytesReceived > 0 || this.bodyEnded) return;
    this.#continued = true;
    this.down.informational(100, NO_FIELDS);
  }

  // ---- from the client -------------------------------------------------------------------------------------------------------------------------

  onBody(bytes: Uint8Array): void {
    if (this.#over) return;
    this.bytesReceived += bytes.length;
    this.messagesIn?.read(bytes);
    if (this.body === undefined) this.body = new BodyBuffer(this.o.upstreams.shared.kept, this.#keepBody);
    this.body.push(bytes);
    if (this.#peeks !== undefined) this.#settlePeeks();
    if (this.forward !== undefined) this.forward.onBody(bytes);
    else if (this.body.octets >= this.#wanted()) this.pause();
  }

  onBodyTrailers(fields: Fields): void {
    this.trailers = fields;
  }

  onBodyEnd(): void {
    if (this.#over || this.bodyEnded) return;
    this.bodyEnded = true;
    this.requestEndMs = this.elapsedMs;
    if (this.#peeks !== undefined) this.#settlePeeks();
    this.forward?.onBodyEnd();
  }

  onClientGone(protocol: boolean): void {
    if (this.#over) return;
    this.details = protocol ? "downstream_protocol_error" : "downstream_remote_disconnect";
    this.flag(protocol ? "DPE" : "DC");
    this.forward?.abandon();
    this.#finish();
  }

  onWritable(): void {
    this.forward?.onClientWritable();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.down.pauseBody();
  }

  resume(): void {
    if (!this.#paused || this.#over) return;
    this.#paused = false;
    this.down.resumeBody();
  }

  #wanted(): number {
    return this.#peeks === undefined ? WAITING_BODY_OCTETS : Math.max(WAITING_BODY_OCTETS, ...this.#peeks.map((p) => p.maxBytes));
  }

  #takeAgain(): void {
    if (this.forward === undefined && (this.body?.octets ?? 0) < this.#wanted()) this.resume();
  }

  // ---- the answer ------------------------------------------------------------------------------------------------------------------------------

  dontKeepBody(): void {
    this.#keepBody = false;
    this.body?.dontKeep();
  }

  /** Our own answer, unless one went out already: then that breaks off. */
  localReply(local: LocalReply): void {
    if (this.#over) return;
    if (local.flag !== "-" && !this.flags.includes(local.flag)) this.flag(local.flag);
    this.details = local.details;
    if (this.#answered) return this.cut();
    const wire = renderReply(local, this.facts.grpc);
    const body = latin1(wire.body);
    const plan = this.plan?.kind === "forward" ? this.plan : undefined;
    this.grpcStatus = wire.grpcStatus;
    this.#head(wire.status, replyFields(wire.fields, plan, this.o.serverName, this.#time), body.length === 0 ? "none" : body.length, !this.bodyEnded);
    const bodiless = this.facts.method === "HEAD" || wire.status === 204 || wire.status === 304;
    if (body.length > 0 && !bodiless) {
      this.down.write(body);
      this.bytesSent += body.length;
    }
    this.down.end(NO_FIELDS);
    this.#finish();
  }

  informational(status: number, fields: Fields): void {
    if (!this.#answered && !this.#over) this.down.informational(status, fields);
  }

  answer(status: number, fields: string[], marks: number, size: BodySize, plan: ForwardPlan, serviceMs: number, grpcStatus: number | undefined, more: readonly string[]): void {
    this.responseStartMs = this.elapsedMs;
    this.details = "via_upstream";
    this.grpcStatus = grpcStatus;
    answerFields(fields, marks, plan, serviceMs, more, this.o.serverName, this.#time);
    this.#head(status, fields, size, false);
  }

  /** The upstream switched protocols, so we do. */
  upgrade(protocol: string, fields: string[], plan: ForwardPlan): void {
    this.responseStartMs = this.elapsedMs;
    this.details = "via_upstream";
    this.#answered = true;
    this.upgraded = true;
    this.status = 101;
    answerFields(fields, marksOf(fields), plan, undefined, NO_FIELDS, this.o.serverName, this.#time);
    this.responseFields = fields;
    this.bodyEnded = false; // what comes now, even at once, is the tunnel's
    this.down.upgrade(protocol, fields);
  }

  write(bytes: Uint8Array): boolean {
    this.bytesSent += bytes.length;
    this.messagesOut?.read(bytes);
    return this.down.write(bytes);
  }

  end(trailers: Fields, grpcStatus: number | undefined): void {
    if (this.#over) return;
    this.responseTrailers = trailers;
    this.grpcStatus = grpcStatus;
    this.down.end(trailers);
    this.#finish();
  }

  /** The answer broke off. */
  broken(flag: ResponseFlag, details: string): void {
    if (this.#over) return;
    this.flag(flag);
    this.details = details;
    this.cut();
  }

  cut(): void {
    this.down.cut();
    this.#finish();
  }

  #head(status: number, fields: Fields, size: BodySize, last: boolean): void {
    this.#answered = true;
    this.status = status;
    this.responseFields = fields;
    this.down.respond(status, fields, size, last);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopDelay?.();
    this.forward?.finish();
    if (this.#peeks !== undefined) this.#settlePeeks();
    this.body?.clear();
    this.durationMs = this.elapsedMs;
    this.o.onRequest(this);
  }
}
