// Owns one HTTP/1 connection of a client: requests one after another, each as an exchange.
import { H1Server, type BodySize, type Fields, type H1Problem, type H1RequestHead } from "@ambit/http";
import { afterSilence, type Timer } from "@ambit/runtime";
import { atEndOfTurn, type ByteStream, type ByteStreamHandler } from "@ambit/transport";
import type { ConnectionFacts } from "../facts.ts";
import type { Downstream } from "./downstream.ts";
import type { EventTime } from "./event-time.ts";
import { Exchange } from "./exchange.ts";
import type { HttpOptions } from "./options.ts";
import { badRequest, requestOf } from "./request.ts";

/** `write` says "enough" when so much waits for the end of the turn. */
const OUTPUT_MAX_OCTETS = 256 << 10;
/** After our last octet the client has so long to close its side; what it still sends is not looked at. */
const LINGER_MS = 1000;
/** A client has so long for the rest of a head that it began. */
export const HEAD_MS = 60_000;
/** A quiet connection of a process that drains ends after so long: a client that is busy learns by its next answer, so that no request meets a closing end. */
const DRAIN_QUIET_MS = 1000;
/** A connection without requests is closed after so long: Istio's default. */
export const IDLE_MS = 3_600_000;

export class H1Downstream implements ByteStreamHandler, Downstream {
  readonly #stream: ByteStream;
  readonly #facts: ConnectionFacts;
  readonly #o: HttpOptions;
  readonly #time: EventTime;
  readonly #onOver: () => void;
  readonly #server: H1Server;
  readonly #watch: Timer;
  #exchange: Exchange | undefined;
  #scheduled = false;
  #held = false;
  #toldToWait = false;
  #bodyPaused = false;
  #streamPaused = false;
  #tunnel = false;
  /** Our half ends when everything is flushed. */
  #ending = false;
  #over = false;
  #linger: Timer | undefined;
  #draining: Timer | undefined;
  #quietSince: number;
  #servedAtWatch = 0;
  #served = 0;

  constructor(stream: ByteStream, facts: ConnectionFacts, o: HttpOptions, onOver: () => void) {
    this.#stream = stream;
    this.#facts = facts;
    this.#o = o;
    this.#onOver = onOver;
    this.#time = o.upstreams.shared.time;
    this.#quietSince = this.#time.monotonic;
    this.#server = new H1Server({
      onRequest: (head) => this.#onRequest(head),
      onData: (bytes) => this.#exchange?.onBody(bytes),
      onTrailers: (fields) => this.#exchange?.onBodyTrailers(fields),
      onEnd: () => this.#exchange?.onBodyEnd(),
      onFailed: (problem, answerable) => this.#onFailed(problem, answerable),
    });
    this.#watch = o.clock.every(HEAD_MS, () => this.#look());
    stream.attach(this);
  }

  get active(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  drain(): void {
    this.#server.drain();
    this.#draining ??= afterSilence(this.#o.clock, DRAIN_QUIET_MS, () => { if (this.#exchange === undefined && this.#server.quiet) this.#close(); });
  }

  destroy(reason: Error): void {
    this.#stream.destroy(reason);
    this.#gone(false);
  }

  // ---- from the transport ----------------------------------------------------------------------------------------------------------------------

  onData(bytes: Uint8Array): void {
    if (this.#over) return;
    const first = this.#time.hold();
    try {
      this.#server.receive(bytes);
    } finally {
      if (first) this.#time.release();
    }
    this.#adjust();
  }

  onEnd(): void {
    if (this.#over) return;
    this.#server.receiveEnd();
    // A client that closes while it waits for an answer has given up (as Envoy and nginx see it).
    if (this.#exchange !== undefined && !this.#tunnel) this.#gone(false);
    else if (this.#exchange === undefined) this.#close();
  }

  onDrain(): void {
    this.#held = false;
    this.#touch();
    this.#wake();
  }

  onClose(): void {
    this.#gone(false);
    this.#linger?.cancel();
    this.#linger = undefined;
  }

  // ---- from the exchange -----------------------------------------------------------------------------------------------------------------------

  informational(status: number, fields: Fields): void {
    this.#server.informational(status, fields);
    this.#touch();
  }

  respond(status: number, fields: Fields, size: BodySize, last: boolean): void {
    this.#server.respond(status, fields, size, last);
    this.#touch();
  }

  upgrade(protocol: string, fields: Fields): void {
    this.#tunnel = true;
    this.#server.upgrade(protocol, fields);
    this.#touch();
    this.#adjust();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    try {
      this.#server.data(bytes);
    } catch {
      this.cut(); // the upstream's codec holds it to its length, so this is a defect; the client must not take it for whole
      return true;
    }
    this.#touch();
    if (!this.#held && this.#server.output.octets < OUTPUT_MAX_OCTETS) return true;
    this.#toldToWait = true;
    return false;
  }

  end(trailers: Fields): void {
    if (this.#over) return;
    this.#exchange = undefined;
    this.#bodyPaused = false;
    this.#quietSince = this.#time.monotonic;
    if (!this.#server.end(trailers)) return this.cut();
    this.#touch();
    if (this.#server.closing || this.#tunnel) this.#close();
    else this.#adjust();
  }

  cut(): void {
    this.#exchange = undefined;
    this.#stream.destroy(new Error("the answer broke off"));
    this.#gone(false);
  }

  pauseBody(): void {
    this.#bodyPaused = true;
    this.#adjust();
  }

  resumeBody(): void {
    this.#bodyPaused = false;
    this.#adjust();
  }

  // ---- inside ----------------------------------------------------------------------------------------------------------------------------------

  #onRequest(head: H1RequestHead): void {
    this.#served++;
    const request = requestOf(head, this.#facts, this.#o.http10 === true, this.#time);
    const exchange = new Exchange(this.#o, this, request);
    this.#exchange = exchange;
    if (request.refused === undefined) exchange.start();
    else exchange.refuse(request.refused.status, request.refused.body, "-", request.refused.details);
  }

  #onFailed(problem: H1Problem, answerable: boolean): void {
    const exchange = this.#exchange;
    if (exchange !== undefined) {
      if (answerable) exchange.refuse(problem.status, problem.reason, "DPE", "http1.codec_error");
      else exchange.onClientGone(true);
      if (!answerable) this.cut();
      return;
    }
    const bad = new Exchange(this.#o, this, badRequest(this.#facts, this.#time));
    this.#exchange = bad;
    bad.refuse(problem.status, problem.reason, "DPE", "http1.codec_error");
  }

  /** The stream is paused while the body waits, or while the next request waits for this one. */
  #adjust(): void {
    const pause = this.#bodyPaused || this.#server.holds;
    if (pause === this.#streamPaused || this.#over) return;
    this.#streamPaused = pause;
    if (pause) this.#stream.pause();
    else this.#stream.resume();
  }

  #gone(protocol: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#watch.cancel();
    this.#draining?.cancel();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.onClientGone(protocol);
    if (!this.#ending) this.#stream.destroy();
    this.#onOver();
  }

  /** Ends our half behind what is still to be flushed, and does not wait for ever for the client's. */
  #close(): void {
    if (this.#ending || this.#over) return;
    this.#ending = true;
    if (!this.#scheduled && !this.#held) this.#finish();
  }

  #finish(): void {
    if (this.#linger !== undefined || this.#over) return;
    this.#stream.end();
    this.#stream.resume();
    this.#linger = this.#o.clock.after(LINGER_MS, () => this.#stream.destroy());
    this.#gone(false);
  }

  #touch(): void {
    if (this.#scheduled || this.#held || this.#over || this.#server.output.octets === 0) return;
    this.#scheduled = true;
    atEndOfTurn(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (this.#over || this.#stream.closed) return;
    if (this.#server.output.octets > 0) this.#held = !this.#stream.writeMany(this.#server.output.take());
    if (this.#ending && this.#server.output.octets === 0) return this.#finish(); // what the transport took, it sends before the end
    this.#wake();
  };

  #wake(): void {
    if (this.#held || !this.#toldToWait) return;
    this.#toldToWait = false;
    this.#exchange?.onWritable();
  }

  /** Half-read heads and long silence. */
  #look(): void {
    const served = this.#served;
    const still = served === this.#servedAtWatch;
    this.#servedAtWatch = served;
    if (this.#exchange !== undefined || this.#over) return;
    const now = this.#o.clock.monotonic();
    if (!this.#server.quiet && still && now - this.#quietSince >= HEAD_MS) return this.#slow();
    if (now - this.#quietSince >= IDLE_MS) this.#close();
  }

  #slow(): void {
    const bad = new Exchange(this.#o, this, badRequest(this.#facts, this.#time));
    this.#exchange = bad;
    bad.refuse(408, "the head did not come in time", "SI", "request_header_timeout");
    this.#close();
  }
}
