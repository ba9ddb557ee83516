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
    this.#shell = new H2Shell("server", stream, { clock: o.clock, time: o.upstreams.shared.time, limits: DOWNSTREAM_LIMITS }, {
      onRequest: (h2stream, fields, endStream) => this.#onRequest(h2stream, fields, endStream),
      onChange: () => { this.#idleSince = this.#o.upstreams.shared.time.monotonic; },
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

  #onRequest(h2stream: H2Stream<H2Owner>, fields: string[], endStream: boolean): void {
    const stream = new StreamDownstream(this.#shell);
    stream.opened(h2stream);
    h2stream.context = stream;
    const tooMany = fields.length / 2 > FIELDS_MAX + 4;
    const request = h2RequestOf(fields, endStream, this.#facts, this.#o.upstreams.shared.time);
    const exchange = new Exchange(this.#o, stream, request);
    stream.exchange = exchange;
    if (tooMany) exchange.refuse(431, `more than ${FIELDS_MAX} fields`, "DPE", "http2.too_many_headers");
    else if (request.refused !== undefined) exchange.refuse(request.refused.status, request.refused.body, "-", request.refused.details);
    else exchange.start();
  }
}

/** One stream: both the machine's owner of it and the exchange's way back. */
class StreamDownstream extends H2Body implements H2Owner, Downstream {
  exchange: Exchange | undefined = undefined;

  informational(status: number, fields: Fields): void {
    this.#head([":status", String(status)], fields);
  }

  respond(status: number, fields: Fields, size: BodySize): void {
    this.#head(typeof size === "number" && status !== 204 ? [":status", String(status), "content-length", String(size)] : [":status", String(status)], fields);
  }

  upgrade(_protocol: string, fields: Fields): void {
    this.#head([":status", "200"], fields);
  }

  #head(first: Fields, fields: Fields): void {
    if (this.stream === undefined) return;
    this.shell.h2.respond(this.stream, first, false, fields);
    this.shell.touch();
  }

  override end(trailers: Fields): void {
    super.end(trailers);
    this.exchange = undefined;
    // RFC 9113 §8.1: the answer is whole, the rest of the request is not wanted.
    if (this.stream !== undefined && !this.stream.remoteEnded && this.stream.localEnded) this.reset(ErrorCode.NO_ERROR);
    else this.resume();
  }

  cut(): void {
    this.exchange = undefined;
    this.reset(ErrorCode.INTERNAL_ERROR);
  }

  pauseBody(): void {
    this.pause();
  }

  resumeBody(): void {
    this.resume();
  }

  onTrailers(fields: Fields): void {
    this.exchange?.onBodyTrailers(fields);
  }

  onData(bytes: Uint8Array): void {
    this.exchange?.onBody(bytes);
    this.received(bytes.length);
  }

  onEnd(): void {
    this.exchange?.onBodyEnd();
  }

  onReset(code: number, _processed: boolean, lost: boolean): void {
    const exchange = this.exchange;
    this.exchange = undefined;
    this.resume();
    exchange?.onClientGone(!lost && code === ErrorCode.PROTOCOL_ERROR);
  }

  onWritable(): void {
    if (this.flush()) this.exchange?.onWritable();
  }
}
