// Owns one HTTP/2 connection to an endpoint: many attempts at once.
import { ErrorCode, errorCodeName, type Fields, type H2Stream, type Limits } from "@ambit/http";
import type { Clock } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { EventTime } from "../event-time.ts";
import { dropFirst } from "../fields.ts";
import { H2Body } from "../h2-body.ts";
import { H2Shell, type H2Owner } from "../h2-shell.ts";
import type { Link, UpstreamAttempt } from "./attempt.ts";

/** Requests at once on one connection, whatever the peer allows. */
const STREAMS_MAX = 100;
/** Octets an upstream may send before the clients took them; all streams together fit, so that a slow client stops no other's. */
const UPSTREAM_LIMITS: Partial<Limits> = { streamWindow: 256 << 10, connectionWindow: 32 << 20, maxFrameSize: 16 << 10, maxHeaderListSize: 60 << 10, outputMax: 256 << 10 };

export interface H2UpstreamEvents {
  /** There may be room for another attempt, or nothing left under way. */
  onChange(connection: H2Upstream): void;
  /** Once: it takes no attempts any more. */
  onGone(connection: H2Upstream): void;
}

export class H2Upstream {
  /** Requests so far. */
  served = 0;
  /** Monotonic milliseconds, set by the pool while nothing is under way. */
  idleSince = 0;
  readonly #shell: H2Shell;
  #retired = false;

  constructor(stream: ByteStream, clock: Clock, time: EventTime, events: H2UpstreamEvents) {
    this.#shell = new H2Shell("client", stream, { clock, time, limits: UPSTREAM_LIMITS }, { onChange: () => events.onChange(this), onClosed: () => events.onGone(this) });
  }

  get usable(): boolean {
    return !this.#retired && !this.#shell.over && this.#shell.h2.canOpen && this.#shell.h2.openStreams < STREAMS_MAX;
  }

  /** The peer's settings came. */
  get settled(): boolean {
    return this.#shell.h2.settled;
  }

  get active(): number {
    return this.#shell.h2.openStreams;
  }

  get over(): boolean {
    return this.#shell.over;
  }

  /** Only while `usable`. */
  start(attempt: UpstreamAttempt): void {
    const { method, target, authority, passed, added, body, upgrade } = attempt.request;
    if (upgrade !== undefined && !this.#shell.h2.peerExtendedConnect)
      return queueMicrotask(() => attempt.failed({ kind: "reset", by: "protocol", refused: true, why: "the upstream does not take extended CONNECT (RFC 8441)" }));
    const { scheme } = attempt.endpoint;
    const head = upgrade === undefined ? [":method", method, ":scheme", scheme, ":authority", authority, ":path", target]
      : [":method", "CONNECT", ":protocol", upgrade, ":scheme", scheme, ":authority", authority, ":path", target];
    if (typeof body === "number") head.push("content-length", String(body));
    const request = new Request(this.#shell, attempt, this.served > 0);
    this.served++;
    const stream = this.#shell.h2.request(head, body === "none" && upgrade === undefined, request, passed, added);
    if (stream === undefined) return queueMicrotask(() => attempt.failed({ kind: "reset", by: "connection", refused: true, why: "the connection takes no more streams" }));
    request.began(stream);
    this.#shell.touch();
    attempt.began(request);
  }

  /** No new attempts; closes when those under way are over. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#shell.drain();
  }

  close(): void {
    this.#retired = true;
    this.#shell.close();
  }
}

class Request extends H2Body implements H2Owner, Link {
  sent = false;
  stale: boolean;
  readonly #attempt: UpstreamAttempt;
  #upgraded = false;
  #ended = false;

  constructor(shell: H2Shell, attempt: UpstreamAttempt, reused: boolean) {
    super(shell);
    this.#attempt = attempt;
    this.stale = reused;
  }

  began(stream: H2Stream<H2Owner>): void {
    this.opened(stream);
    this.sent = true;
  }

  override end(trailers: Fields): void {
    this.#ended = true;
    super.end(this.#upgraded ? NO_FIELDS : trailers);
  }

  abandon(): void {
    this.reset(ErrorCode.CANCEL);
  }

  onInformational(status: number, fields: Fields): void {
    this.stale = false;
    this.#attempt.informational(status, fields.slice(2));
  }

  onResponse(status: number, fields: string[], endStream: boolean): void {
    this.stale = false;
    // A 2xx to an extended CONNECT is what 101 is in HTTP/1.
    this.#upgraded = this.#attempt.request.upgrade !== undefined && status >= 200 && status < 300;
    dropFirst(fields, 2); // :status
    this.#attempt.answer(status, fields, this.#upgraded ? "upgraded" : endStream ? "empty" : "body");
  }

  onTrailers(fields: Fields): void {
    this.#attempt.trailers(fields);
  }

  onData(bytes: Uint8Array): void {
    this.#attempt.data(bytes);
    this.received(bytes.length);
  }

  onEnd(): void {
    const unfinished = !this.#ended && this.#attempt.request.body !== "none";
    this.#attempt.ended();
    if (unfinished || (this.#upgraded && !this.#ended)) this.reset(ErrorCode.CANCEL); // nobody wants the rest
    else this.resume(); // the connection's credit of what was held back
  }

  onReset(code: number, processed: boolean, lost: boolean): void {
    this.resume();
    this.#attempt.failed({ kind: "reset", by: lost ? "connection" : code === ErrorCode.PROTOCOL_ERROR ? "protocol" : "remote", refused: !processed,
      why: lost ? "the upstream closed the connection" : `the upstream reset the stream: ${errorCodeName(code)}` });
  }

  onWritable(): void {
    if (this.flush()) this.#attempt.writable();
  }
}

const NO_FIELDS: Fields = [];
