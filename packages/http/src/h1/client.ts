// Owns the asking end of one HTTP/1.1 connection without I/O: one request at a time, and the answer that belongs to it.
import type { Fields } from "../hpack/decoder.ts";
import { Output } from "../output.ts";
import { CHUNKED, TUNNEL } from "./framing.ts";
import { readResponseHead, type H1ResponseHead } from "./heads.ts";
import { H1_LIMITS, H1Error, INFORMATIONAL_MAX, type H1Limits, type H1Problem } from "./limits.ts";
import { MessageReader, type MessageSink } from "./message-reader.ts";
import { BodyMismatch, MessageWriter } from "./message-writer.ts";
import type { BodySize } from "./server.ts";

/** They must not throw, and may call every command. */
export interface H1ClientEvents {
  onInformational(status: number, fields: Fields): void;
  /** `upgraded` when `head.body` is TUNNEL: `data` and `onData` are the other protocol's from now on. */
  onResponse(head: H1ResponseHead): void;
  onData(bytes: Uint8Array): void;
  onTrailers(fields: Fields): void;
  /** The whole answer came; after an upgrade: the peer's half ended. See `reusable`. */
  onEnd(): void;
  /** Octets that are no proper answer, or an answer to nothing: the connection cannot be used any more. */
  onFailed(problem: H1Problem): void;
}

const NO_FIELDS: Fields = [];

export class H1Client {
  readonly output = new Output();
  readonly #events: H1ClientEvents;
  readonly #limits: H1Limits;
  readonly #reader: MessageReader;
  readonly #writer = new MessageWriter(this.output);
  #asked: { readonly method: string; readonly upgrade: boolean } | undefined;
  #sent = true;
  #informational = 0;
  #reusable = true;
  #failed = false;
  #heard = false;
  #ended = false;

  constructor(events: H1ClientEvents, limits: Partial<H1Limits> = {}) {
    this.#events = events;
    const sink: MessageSink = {
      head: (bytes, from, to) => this.#head(bytes, from, to),
      data: (bytes) => events.onData(bytes),
      trailers: (fields) => events.onTrailers(fields),
      end: () => { this.#ended = true; },
    };
    this.#limits = { ...H1_LIMITS, ...limits };
    this.#reader = new MessageReader(this.#limits, sink);
  }

  /** Nothing is asked, the last request went out whole, and the last answer lets the connection live. */
  get reusable(): boolean {
    return this.#reusable && !this.#failed && this.#asked === undefined && this.#sent;
  }

  /** Something of an answer to the request under way was read. */
  get heard(): boolean {
    return this.#heard;
  }

  /** Only while `reusable`. `fields`, and `more` behind them, without host, framing and hop-by-hop fields. An upgrade has no body. */
  request(method: string, target: string, authority: string, fields: Fields, body: BodySize, upgrade: string | undefined, more: Fields = NO_FIELDS): void {
    this.#asked = { method, upgrade: upgrade !== undefined };
    this.#informational = 0;
    this.#heard = false;
    this.#reader.next();
    const silent = method === "GET" || method === "HEAD" || method === "DELETE" || method === "OPTIONS" || method === "TRACE" || upgrade !== undefined;
    const size = body === "none" ? (silent ? undefined : 0) : body === "unknown" ? CHUNKED : body;
    this.#writer.request(method, target, authority, fields, more, { body: size, bodiless: body === "none", connection: upgrade === undefined ? undefined : "upgrade", upgrade });
    this.#sent = body === "none";
  }

  /** Throws BodyMismatch: a defect of the caller. */
  data(bytes: Uint8Array): void {
    if (this.#failed || this.#sent) return;
    this.#writer.data(bytes);
  }

  /** The request is complete. False: the body is not what was announced; close abortively. */
  end(trailers: Fields): boolean {
    if (this.#failed || this.#sent) return true;
    try {
      this.#writer.end(trailers);
    } catch (error) {
      if (!(error instanceof BodyMismatch)) throw error;
      this.#reusable = false;
      return false;
    }
    this.#sent = true;
    return true;
  }

  /** Octets from the peer, ours from here on. */
  receive(bytes: Uint8Array): void {
    if (this.#failed) return;
    if (this.#asked === undefined) return this.#fail(new H1Error(400, "octets though nothing was asked"));
    this.#heard = true;
    try {
      if (this.#reader.read(bytes) < bytes.length) this.#reusable = false; // octets behind the answer belong to nothing
    } catch (error) {
      if (!(error instanceof H1Error)) throw error;
      return this.#fail(error);
    }
    this.#deliverEnd();
  }

  /** The peer's half ended: that may be the end of the answer. False: in the middle of one, or before it. */
  receiveEnd(): boolean {
    this.#reusable = false;
    const whole = this.#reader.close() && (this.#asked === undefined || this.#ended);
    this.#deliverEnd();
    return whole;
  }

  #head(bytes: Uint8Array, from: number, to: number): number | undefined {
    const asked = this.#asked;
    if (asked === undefined) throw new H1Error(400, "an answer though nothing was asked");
    const head = readResponseHead(bytes, from, to, this.#limits.fieldsMax, asked);
    if (head.status < 200 && head.body !== TUNNEL) {
      if (++this.#informational > INFORMATIONAL_MAX) throw new H1Error(400, "too many informational answers");
      this.#events.onInformational(head.status, head.fields);
      return undefined;
    }
    if (!head.keepAlive) this.#reusable = false;
    if (head.body === TUNNEL) {
      this.#writer.tunnel();
      this.#sent = false;
    }
    this.#events.onResponse(head);
    return head.body;
  }

  /** Only after the read: what the shell asks next must not be answered by octets that were here before. */
  #deliverEnd(): void {
    if (!this.#ended) return;
    this.#ended = false;
    this.#asked = undefined;
    this.#events.onEnd();
  }

  #fail(error: H1Error): void {
    this.#failed = true;
    this.#asked = undefined;
    this.#reader.stop();
    this.#events.onFailed({ status: error.status, reason: error.message });
  }
}
