// Owns one HTTP/2 connection of a client: every stream an exchange.
import { ErrorCode, type BodySize, type Fields, type H2Stream, type Limits } from "@ambit/http";
import type { Timer } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { ConnectionFacts } from "../facts.ts";
import type { Downstream } from "./downstream.ts";
import { Exchange } from "./exchange.ts";
import { IDLE_MS } from "./h1-downstream.ts";
import { H2Body } from "./h2-body.ts";
import { H2Shell, type H2Owner } from "./h2-shell.ts";
import type { HttpOptions } from "./options.ts";
import { h2RequestOf } from "./request.ts";

/** What one client may make us hold, heads as Envoy bounds them. All its streams fit in its connection's window: one that waits for its upstream stops no other. */
const DOWNSTREAM_LIMITS: Partial<Limits> = { streamWindow: 256 << 10, connectionWindow: 32 << 20, maxFrameSize: 16 << 10, maxHeaderListSize: 60 << 10, maxConcurrentStreams: 100,
  outputMax: 256 << 10, extendedConnect: true };
/** Fields of a head, as in HTTP/1. */
const FIELDS_MAX = 100;

export class H2Downstream {
  readonly #shell: H2Shell;
  readonly #facts: ConnectionFacts;
  readonly #o: HttpOptions;
  readonly #watch: Timer;
  #idleSince: number;

  constructor(stream: ByteStream, facts: ConnectionFacts, o: HttpOptions, onOver: () => void) {
    this.#facts = facts;
    this.#o = o;
    this.#idleSince = o.clock.monotonic();
    this.#watch = o.clock.every(IDLE_MS / 10, () => { if (this.active === 0 && o.clock.monotonic() - this.#idleSince >= IDLE_MS) this.#shell.drain(); });
    this.#shell = new H2Shell("server", stream, { clock: o.clock, limits: DOWNSTREAM_LIMITS }, {
      onRequest: (h2stream, fields, endStream) => this.#onRequest(h2stream, fields, endStream),
      onChange: () => { this.#idleSince = this.#o.clock.monotonic(); },
      onClosed: () => {
        this.#watch.cancel();
        onOver();
      },
    });
  }

  get active(): number {
    return this.#shell.h2.openStreams;
  }

  drain(): void {
    this.#shell.drain();
  }

  destroy(reason: Error): void {
    this.#shell.destroy(reason);
  }

  #onRequest(h2stream: H2Stream<H2Owner>, fields: Fields, endStream: boolean): void {
    const stream = new StreamDownstream(this.#shell, h2stream);
    h2stream.context = stream;
    const request = h2RequestOf(fields, endStream, this.#facts, this.#o);
    const exchange = new Exchange(this.#o, stream, request);
    stream.exchange = exchange;
    if (fields.length / 2 > FIELDS_MAX + 4) exchange.refuse(431, `more than ${FIELDS_MAX} fields`, "DPE", "http2.too_many_headers");
    else if (request.refused !== undefined) exchange.refuse(request.refused.status, request.refused.body, "-", request.refused.details);
    else exchange.start();
  }
}

/** One stream: both the machine's owner of it and the exchange's way back. */
class StreamDownstream implements H2Owner, Downstream {
  exchange: Exchange | undefined;
  readonly #shell: H2Shell;
  readonly #stream: H2Stream<H2Owner>;
  readonly #body: H2Body;

  constructor(shell: H2Shell, stream: H2Stream<H2Owner>) {
    this.#shell = shell;
    this.#stream = stream;
    this.#body = new H2Body(shell, stream);
  }

  informational(status: number, fields: Fields): void {
    this.#shell.h2.respond(this.#stream, [":status", String(status), ...fields], false);
    this.#shell.touch();
  }

  respond(status: number, fields: Fields, size: BodySize): void {
    const head = [":status", String(status)].concat(fields);
    if (typeof size === "number" && status !== 204) head.push("content-length", String(size));
    this.#shell.h2.respond(this.#stream, head, false);
    this.#shell.touch();
  }

  upgrade(_protocol: string, fields: Fields): void {
    this.#shell.h2.respond(this.#stream, [":status", "200", ...fields], false);
    this.#shell.touch();
  }

  write(bytes: Uint8Array): boolean {
    return this.#body.write(bytes);
  }

  end(trailers: Fields): void {
    this.#body.end(trailers);
    this.exchange = undefined;
    // RFC 9113 §8.1: the answer is whole, the rest of the request is not wanted.
    if (!this.#stream.remoteEnded && this.#stream.localEnded) this.#body.reset(ErrorCode.NO_ERROR);
    else this.#body.resume();
  }

  cut(): void {
    this.exchange = undefined;
    this.#body.reset(ErrorCode.INTERNAL_ERROR);
  }

  pauseBody(): void {
    this.#body.pause();
  }

  resumeBody(): void {
    this.#body.resume();
  }

  onTrailers(fields: Fields): void {
    this.exchange?.onBodyTrailers(fields);
  }

  onData(bytes: Uint8Array): void {
    this.exchange?.onBody(bytes);
    this.#body.received(bytes.length);
  }

  onEnd(): void {
    this.exchange?.onBodyEnd();
  }

  onReset(code: number, _processed: boolean, lost: boolean): void {
    const exchange = this.exchange;
    this.exchange = undefined;
    this.#body.resume();
    exchange?.onClientGone(!lost && code === ErrorCode.PROTOCOL_ERROR);
  }

  onWritable(): void {
    if (this.#body.flush()) this.exchange?.onWritable();
  }
}
