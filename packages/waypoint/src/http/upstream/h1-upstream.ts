// Owns one HTTP/1.1 connection to an endpoint: one attempt at a time, kept while it may be used again.
import { H1Client, TUNNEL, type Fields, type H1ResponseHead } from "@ambit/http";
import type { Clock, Timer } from "@ambit/runtime";
import { atEndOfTurn, type ByteStream, type ByteStreamHandler } from "@ambit/transport";
import type { EventTime } from "../event-time.ts";
import type { Link, UpstreamAttempt } from "./attempt.ts";

/** `write` says "enough" when so much waits for the end of the turn. */
const OUTPUT_MAX_OCTETS = 256 << 10;

/** After our end the peer has so long to close its side. */
const LINGER_MS = 1000;

export interface H1UpstreamEvents {
  /** It may take another attempt. */
  onIdle(connection: H1Upstream): void;
  /** Once: nothing more can be done with it. */
  onGone(connection: H1Upstream): void;
}

export class H1Upstream implements ByteStreamHandler, Link {
  /** Requests so far. */
  served = 0;
  /** Monotonic milliseconds, set by the pool. */
  idleSince = 0;
  readonly #stream: ByteStream;
  readonly #events: H1UpstreamEvents;
  readonly #client: H1Client;
  #attempt: UpstreamAttempt | undefined;
  #scheduled = false;
  /** The transport takes no more for now. */
  #held = false;
  #toldToWait = false;
  #sent = false;
  #ending = false;
  #tunnel = false;
  #gone = false;
  #linger: Timer | undefined;
  readonly #clock: Clock;
  readonly #time: EventTime;

  constructor(stream: ByteStream, clock: Clock, time: EventTime, events: H1UpstreamEvents) {
    this.#stream = stream;
    this.#clock = clock;
    this.#time = time;
    this.#events = events;
    this.#client = new H1Client({
      onInformational: (status, fields) => this.#attempt?.informational(status, fields),
      onResponse: (head) => this.#onResponse(head),
      onData: (bytes) => this.#attempt?.data(bytes),
      onTrailers: (fields) => this.#attempt?.trailers(fields),
      onEnd: () => this.#onAnswered(),
      onFailed: (problem) => this.#fail("protocol", problem.reason),
    });
    stream.attach(this);
  }

  get sent(): boolean {
    return this.#sent;
  }

  get stale(): boolean {
    return this.served > 1 && !this.#client.heard;
  }

  get usable(): boolean {
    return !this.#gone && this.#attempt === undefined && this.#client.reusable && !this.#stream.closed;
  }

  /** Only while `usable`. */
  start(attempt: UpstreamAttempt): void {
    const { method, target, authority, passed, added, body, upgrade } = attempt.request;
    this.#attempt = attempt;
    this.served++;
    this.#sent = false;
    this.#client.request(method, target, authority, passed, body, upgrade, added);
    this.#touch();
    attempt.began(this);
  }

  /** It is not to be kept. */
  close(): void {
    if (this.#gone) return;
    this.#end();
    this.#stream.end();
    this.#stream.resume();
    this.#linger = this.#clock.after(LINGER_MS, () => this.#stream.destroy());
  }

  // ---- from the attempt ------------------------------------------------------------------------------------------------------------------------

  write(bytes: Uint8Array): boolean {
    if (this.#gone) return true;
    try {
      this.#client.data(bytes);
    } catch {
      this.#fail("protocol", "more body than was announced");
      return true;
    }
    this.#touch();
    if (!this.#held && this.#client.output.octets < OUTPUT_MAX_OCTETS) return true;
    this.#toldToWait = true;
    return false;
  }

  end(trailers: Fields): void {
    if (!this.#client.end(trailers)) return this.#fail("protocol", "less body than was announced");
    if (this.#tunnel) this.#ending = true;
    this.#touch();
    if (this.#ending && !this.#scheduled) this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  abandon(): void {
    this.#attempt = undefined;
    this.#end();
    this.#stream.destroy();
  }

  // ---- from the transport ----------------------------------------------------------------------------------------------------------------------

  onData(bytes: Uint8Array): void {
    if (this.#gone) return;
    const first = this.#time.hold();
    try {
      this.#client.receive(bytes);
    } finally {
      if (first) this.#time.release();
    }
  }

  onEnd(): void {
    if (this.#gone) return;
    if (!this.#client.receiveEnd()) return this.#fail("connection", "the upstream closed the connection");
    if (!this.#tunnel) this.close();
  }

  onDrain(): void {
    this.#held = false;
    this.#touch();
    this.#wake();
  }

  onClose(error?: Error): void {
    this.#linger?.cancel();
    if (this.#gone) return;
    this.#fail("connection", error?.message ?? "the upstream closed the connection");
  }

  // ---- inside ----------------------------------------------------------------------------------------------------------------------------------

  #onResponse(head: H1ResponseHead): void {
    this.#tunnel = head.body === TUNNEL;
    this.#attempt?.answer(head.status, head.fields, this.#tunnel ? "upgraded" : head.body === 0 ? "empty" : "body");
  }

  #onAnswered(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    const reusable = this.#client.reusable && !this.#tunnel;
    if (!reusable) this.close();
    else {
      this.#stream.resume();
      this.#events.onIdle(this); // first: the end of one exchange may begin the next
    }
    attempt?.ended();
  }

  #fail(by: "connection" | "protocol", why: string): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    const refused = !this.#sent;
    this.#end();
    this.#stream.destroy();
    attempt?.failed({ kind: "reset", by, refused, why });
  }

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#events.onGone(this);
  }

  #touch(): void {
    if (this.#scheduled || this.#held || this.#gone || this.#client.output.octets === 0) return;
    this.#scheduled = true;
    atEndOfTurn(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (this.#gone || this.#stream.closed) return;
    this.#sent = true;
    if (this.#client.output.octets > 0) this.#held = !this.#stream.writeMany(this.#client.output.take());
    if (this.#ending) return this.#stream.end();
    this.#wake();
  };

  #wake(): void {
    if (this.#held || !this.#toldToWait) return;
    this.#toldToWait = false;
    this.#attempt?.writable();
  }
}
