// Owns one request from its head to its record: the decision, the body on its way, and exactly one answer.
import type { BodySize, Fields } from "@ambit/http";
import type { RequestFacts } from "../facts.ts";
import type { LocalReply, ResponseFlag } from "../plan/request-plan.ts";
import { BODY_PEEK_MAX_OCTETS, BodyBuffer, WAITING_BODY_OCTETS } from "./body-buffer.ts";
import type { Downstream, DownstreamEvents } from "./downstream.ts";
import { answerFields, grpcStatusOf } from "./fields.ts";
import { Forward } from "./forward.ts";
import type { ForwardedRequest, IncomingBody } from "./forwarded-request.ts";
import { GrpcMessages } from "./grpc-messages.ts";
import { renderReply, reply } from "./local-reply.ts";
import type { BodyPeek, FinalPlan, ForwardPlan, HttpOptions, RequestRecord } from "./options.ts";

/** Facts that one request may need: every rule of tokens and every checker that can apply, and then some. */
const NEEDS_MAX = 32;

const NO_FIELDS: Fields = [];
const NO_MIRRORS: RequestRecord["mirrors"] = [];

const latin1 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Methods that may be done twice (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export class Exchange implements DownstreamEvents, ForwardedRequest {
  readonly o: HttpOptions;
  readonly down: Downstream;
  readonly incoming: IncomingBody;
  readonly requestId: string;
  readonly body: BodyBuffer;
  facts: RequestFacts;
  plan: FinalPlan | undefined;
  /** The whole request came. */
  bodyEnded: boolean;
  trailers: Fields = NO_FIELDS;
  /** The answer's head went out. */
  answered = false;
  upgraded = false;
  readonly flags: ResponseFlag[] = [];
  readonly #startedAt: number;
  readonly #onOver: (() => void) | undefined;
  readonly #began: number;
  #forward: Forward | undefined;
  #stopDelay: (() => void) | undefined;
  #peeks: { readonly maxBytes: number; readonly resolve: (peek: BodyPeek) => void }[] = [];
  #over = false;
  #paused = false;
  #continued = false;
  #details = "";
  #status = 0;
  #grpcStatus: number | undefined;
  #received = 0;
  #sent = 0;
  #requestMessages: GrpcMessages | undefined;
  #responseMessages: GrpcMessages | undefined;
  #requestEndMs: number | undefined;
  #responseStartMs: number | undefined;
  #responseFields: Fields = NO_FIELDS;
  #responseTrailers: Fields = NO_FIELDS;

  constructor(o: HttpOptions, down: Downstream, request: { readonly facts: RequestFacts; readonly requestId: string; readonly body: IncomingBody }, onOver?: () => void) {
    this.o = o;
    this.down = down;
    this.facts = request.facts;
    this.requestId = request.requestId;
    this.incoming = request.body;
    this.#onOver = onOver;
    this.bodyEnded = request.body.size === "none";
    this.body = new BodyBuffer(o.upstreams.shared.kept, true);
    this.#startedAt = request.facts.now;
    this.#began = o.clock.monotonic();
    if (this.bodyEnded) this.#requestEndMs = 0;
    if (this.facts.grpc) {
      this.#requestMessages = new GrpcMessages();
      this.#responseMessages = new GrpcMessages();
    }
  }

  get over(): boolean {
    return this.#over;
  }

  get elapsedMs(): number {
    return this.o.clock.monotonic() - this.#began;
  }

  get idempotent(): boolean {
    return IDEMPOTENT.has(this.facts.method);
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
      this.flags.push("DI");
      const timer = this.o.clock.after(plan.delayMs, () => {
        this.#stopDelay = undefined;
        this.#act(plan);
      });
      this.#stopDelay = () => timer.cancel();
    } else this.#act(plan);
  }

  #act(plan: FinalPlan): void {
    if (plan.kind === "reply") return this.localReply(plan.reply);
    this.#forward = new Forward(this, plan);
    if (!this.o.forwardExpect) this.#continue();
    this.#forward.start();
    this.#takeAgain();
  }

  /** Waits for the first octets of the body: they stay for the upstream. */
  #peek(maxBytes: number): Promise<BodyPeek> {
    const most = Math.min(maxBytes, BODY_PEEK_MAX_OCTETS);
    this.#continue();
    return new Promise((resolve) => {
      this.#peeks.push({ maxBytes: most, resolve });
      this.#settlePeeks();
      this.#takeAgain();
    });
  }

  #settlePeeks(): void {
    if (this.#peeks.length === 0) return;
    const met = this.#peeks.filter((p) => this.#over || this.bodyEnded || this.body.octets >= p.maxBytes);
    if (met.length === 0) return;
    this.#peeks = this.#peeks.filter((p) => !met.includes(p));
    for (const peek of met) peek.resolve({ bytes: this.body.peek(peek.maxBytes), complete: this.bodyEnded && this.body.octets <= peek.maxBytes });
  }

  /** Answers `Expect: 100-continue`: from now on the body is wanted. */
  #continue(): void {
    if (!this.incoming.expectContinue || this.#continued || this.#received > 0 || this.bodyEnded) return;
    this.#continued = true;
    this.down.informational(100, []);
  }

  // ---- from the client -------------------------------------------------------------------------------------------------------------------------

  onBody(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#received += bytes.length;
    this.#requestMessages?.read(bytes);
    this.body.push(bytes);
    this.#settlePeeks();
    if (this.#forward !== undefined) this.#forward.onBody(bytes);
    else if (this.body.octets >= this.#wanted()) this.pause();
  }

  onBodyTrailers(fields: Fields): void {
    this.trailers = fields;
  }

  onBodyEnd(): void {
    if (this.#over || this.bodyEnded) return;
    this.bodyEnded = true;
    this.#requestEndMs = this.elapsedMs;
    this.#settlePeeks();
    this.#forward?.onBodyEnd();
  }

  onClientGone(protocol: boolean): void {
    if (this.#over) return;
    this.#details = protocol ? "downstream_protocol_error" : "downstream_remote_disconnect";
    this.flags.push(protocol ? "DPE" : "DC");
    this.#forward?.abandon();
    this.#finish();
  }

  onWritable(): void {
    this.#forward?.onClientWritable();
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
    return this.#peeks.length === 0 ? WAITING_BODY_OCTETS : Math.max(WAITING_BODY_OCTETS, ...this.#peeks.map((p) => p.maxBytes));
  }

  #takeAgain(): void {
    if (this.#forward === undefined && this.body.octets < this.#wanted()) this.resume();
  }

  // ---- the answer ------------------------------------------------------------------------------------------------------------------------------

  /** Our own answer, unless one went out already: then that breaks off. */
  localReply(local: LocalReply, more: readonly string[] = []): void {
    if (this.#over) return;
    if (local.flag !== "-" && !this.flags.includes(local.flag)) this.flags.push(local.flag);
    this.#details = local.details;
    if (this.answered) return this.cut();
    const wire = renderReply(local, this.facts.grpc);
    const body = latin1(wire.body);
    const plan = this.plan?.kind === "forward" ? this.plan : undefined;
    const fields = answerFields(wire.fields, plan, { serviceMs: undefined, serverName: this.o.serverName, now: this.o.clock.now(), more });
    this.#grpcStatus = wire.grpcStatus;
    this.#head(wire.status, fields, body.length === 0 ? "none" : body.length, !this.bodyEnded);
    const bodiless = this.facts.method === "HEAD" || wire.status === 204 || wire.status === 304;
    if (body.length > 0 && !bodiless) {
      this.down.write(body);
      this.#sent += body.length;
    }
    this.down.end([]);
    this.#finish();
  }

  informational(status: number, fields: Fields): void {
    if (!this.answered && !this.#over) this.down.informational(status, fields);
  }

  /** The upstream's head. */
  answer(status: number, fields: Fields, size: BodySize, plan: ForwardPlan, o: { readonly serviceMs: number; readonly more: readonly string[] }): void {
    this.#responseStartMs = this.elapsedMs;
    this.#details = "via_upstream";
    this.#grpcStatus = grpcStatusOf(fields);
    this.#head(status, answerFields(fields, plan, { serviceMs: o.serviceMs, serverName: this.o.serverName, now: this.o.clock.now(), more: o.more }), size, false);
  }

  /** The upstream switched protocols, so we do. */
  upgrade(protocol: string, fields: Fields, plan: ForwardPlan): void {
    this.#responseStartMs = this.elapsedMs;
    this.#details = "via_upstream";
    this.answered = true;
    this.upgraded = true;
    this.#status = 101;
    this.#responseFields = answerFields(fields, plan, { serviceMs: undefined, serverName: this.o.serverName, now: this.o.clock.now(), more: [] });
    this.bodyEnded = false; // what comes now, even at once, is the tunnel's
    this.down.upgrade(protocol, this.#responseFields);
  }

  write(bytes: Uint8Array): boolean {
    this.#sent += bytes.length;
    this.#responseMessages?.read(bytes);
    return this.down.write(bytes);
  }

  end(trailers: Fields): void {
    if (this.#over) return;
    this.#responseTrailers = trailers;
    this.#grpcStatus = grpcStatusOf(trailers) ?? this.#grpcStatus;
    this.down.end(trailers);
    this.#finish();
  }

  /** The answer broke off. */
  broken(flag: ResponseFlag, details: string): void {
    if (this.#over) return;
    this.flags.push(flag);
    this.#details = details;
    this.cut();
  }

  cut(): void {
    this.down.cut();
    this.#finish();
  }

  #head(status: number, fields: readonly string[], size: BodySize, last: boolean): void {
    this.answered = true;
    this.#status = status;
    this.#responseFields = fields;
    this.down.respond(status, fields, size, last);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopDelay?.();
    this.#forward?.finish();
    this.#settlePeeks();
    this.body.clear();
    this.o.onRequest(this.#record());
    this.#onOver?.();
  }

  #record(): RequestRecord {
    const forward = this.#forward;
    return {
      facts: this.facts, plan: this.plan, requestId: this.requestId, startedAt: this.#startedAt, durationMs: this.elapsedMs, requestEndMs: this.#requestEndMs,
      upstreamStartMs: forward?.startedMs, responseStartMs: this.#responseStartMs, status: this.#status, grpcStatus: this.#grpcStatus, flags: this.flags, details: this.#details,
      bytesReceived: this.#received, bytesSent: this.#sent, requestMessages: this.#requestMessages?.count ?? 0, responseMessages: this.#responseMessages?.count ?? 0,
      endpoint: forward?.endpoint, attempts: forward?.attempts ?? 0, outgoing: forward?.outgoing, responseFields: this.#responseFields, responseTrailers: this.#responseTrailers,
      upstreamFailure: forward?.failureText, upgraded: this.upgraded, mirrors: forward?.mirrored ?? NO_MIRRORS,
    };
  }
}
