// Owns the serving end of one HTTP/1.1 connection without I/O: requests come one at a time, answers go in their order.
import type { Fields } from "../hpack/decoder.ts";
import { Output } from "../output.ts";
import { CHUNKED, TUNNEL, UNTIL_CLOSE } from "./framing.ts";
import { readRequestHead, type H1RequestHead } from "./heads.ts";
import { H1_LIMITS, H1Error, type H1Limits, type H1Problem } from "./limits.ts";
import { MessageReader, type MessageSink } from "./message-reader.ts";
import { BodyMismatch, MessageWriter } from "./message-writer.ts";

/** They must not throw, and may call every command. */
export interface H1ServerEvents {
  onRequest(head: H1RequestHead): void;
  /** Of the request's body, or after `upgrade` of the other protocol. They may be kept. */
  onData(bytes: Uint8Array): void;
  onTrailers(fields: Fields): void;
  /** The whole request came; after `upgrade`: the peer's half ended. */
  onEnd(): void;
  /**
   * Octets that are no proper request; nothing more is read. `answerable`: no answer was begun, so the shell may `respond` with the problem's status
   * (even before any `onRequest`); then it ends the connection.
   */
  onFailed(problem: H1Problem, answerable: boolean): void;
}

/** A body to be written: none, so many octets, or until `end`. */
export type BodySize = "none" | "unknown" | number;

export class H1Server {
  readonly output = new Output();
  readonly #events: H1ServerEvents;
  readonly #limits: H1Limits;
  readonly #reader: MessageReader;
  readonly #writer = new MessageWriter(this.output);
  #request: H1RequestHead | undefined;
  #answer: "none" | "begun" | "ended" = "none";
  #close = false;
  #failed = false;
  #draining = false;
  #tunnel = false;
  /** Read behind the message that is under way: at most one read, since the shell pauses. */
  #held: Uint8Array | undefined;
  #reading = false;

  constructor(events: H1ServerEvents, limits: Partial<H1Limits> = {}) {
    this.#events = events;
    const sink: MessageSink = {
      head: (bytes, from, to) => this.#head(bytes, from, to),
      data: (bytes) => events.onData(bytes),
      trailers: (fields) => events.onTrailers(fields),
      end: () => this.#end(),
    };
    this.#limits = { ...H1_LIMITS, ...limits };
    this.#reader = new MessageReader(this.#limits, sink);
  }

  /** No request is under way. */
  get idle(): boolean {
    return this.#request === undefined;
  }

  /** Octets of the next request are here already: the shell should pause until this one is answered. */
  get holds(): boolean {
    return this.#held !== undefined;
  }

  /** After the answer that was just ended the connection is to be closed. */
  get closing(): boolean {
    return this.#close && this.#request === undefined;
  }

  /** Nothing, not even part of a head, was read since the last answer. */
  get quiet(): boolean {
    return this.#request === undefined && this.#reader.idle && this.#held === undefined;
  }

  /** Octets from the peer, ours from here on. Never throws for what the peer does. */
  receive(bytes: Uint8Array): void {
    if (this.#failed) return;
    if (this.#held !== undefined) {
      this.#held = join(this.#held, bytes);
      return;
    }
    this.#read(bytes);
  }

  /** The peer's half ended. False: in the middle of a request (nothing is reported). */
  receiveEnd(): boolean {
    return this.#reader.close() && this.#held === undefined;
  }

  informational(status: number, fields: Fields): void {
    if (this.#answer === "none" && this.#request?.minor === 1) this.#writer.informational(status, fields);
  }

  /**
   * The answer's head; `fields` without framing. `body` of an answer that has none (HEAD, 304) is what is said only. `close`: the connection ends after it.
   */
  respond(status: number, fields: Fields, body: BodySize, close: boolean): void {
    if (this.#answer !== "none") return;
    const head = this.#request;
    const bodiless = status === 204 || status === 304 || head?.method === "HEAD";
    const size = bodiless ? (typeof body === "number" && status !== 204 ? body : undefined) : body === "none" ? 0 : body === "unknown" ? (head?.minor === 1 ? CHUNKED : UNTIL_CLOSE) : body;
    if (close || this.#failed || this.#draining || head?.keepAlive !== true || leaves(head) || size === UNTIL_CLOSE) this.#close = true;
    this.#answer = "begun";
    this.#writer.response(status, fields, { body: size, bodiless, connection: this.#close ? "close" : head?.minor === 0 ? "keep-alive" : undefined, upgrade: undefined });
  }

  /** 101: from now on `data` and `onData` are the other protocol's. The request must have come whole. */
  upgrade(protocol: string, fields: Fields): void {
    if (this.#answer !== "none" || !this.#reader.ended) return;
    this.#answer = "begun";
    this.#close = true;
    this.#tunnel = true;
    this.#writer.response(101, fields, { body: undefined, bodiless: true, connection: "upgrade", upgrade: protocol });
    this.#writer.tunnel();
    this.#reader.tunnel();
    this.#readHeld();
  }

  /** Throws BodyMismatch: a defect of the caller. */
  data(bytes: Uint8Array): void {
    if (this.#answer === "begun") this.#writer.data(bytes);
  }

  /** The answer is complete: the next request is read, unless the connection is `closing`. False: the body is not what was announced; close abortively. */
  end(trailers: Fields): boolean {
    if (this.#answer !== "begun") return true;
    try {
      this.#writer.end(trailers);
    } catch (error) {
      if (!(error instanceof BodyMismatch)) throw error;
      this.#close = true;
      return false;
    }
    this.#answer = "ended";
    if (this.#tunnel) return true;
    if (!this.#reader.ended) this.#close = true; // the rest of the request would be read for nothing
    this.#request = undefined;
    if (this.#close) {
      this.#failed = true;
      this.#reader.stop();
      return true;
    }
    this.#answer = "none";
    this.#reader.next();
    this.#readHeld();
    return true;
  }

  /** The next answer is the last. */
  drain(): void {
    this.#draining = true;
  }

  #head(bytes: Uint8Array, from: number, to: number): number {
    const head = readRequestHead(bytes, from, to, this.#limits.fieldsMax);
    this.#request = head;
    if (head.method === "CONNECT") {
      this.#events.onRequest(head);
      return TUNNEL; // what follows is no request, whatever becomes of it
    }
    if (head.body !== 0) this.#events.onRequest(head);
    return head.body;
  }

  #end(): void {
    const head = this.#request;
    if (head === undefined) return;
    if (head.body === 0 && !this.#tunnel) this.#events.onRequest(head); // only now: it may be answered at once, and the next one read
    if (this.#request === head) this.#events.onEnd();
  }

  #readHeld(): void {
    if (this.#reading) return; // the loop below goes on by itself
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) this.#read(held);
  }

  #read(bytes: Uint8Array): void {
    this.#reading = true;
    let rest = bytes;
    try {
      for (;;) {
        const n = this.#reader.read(rest);
        if (n === rest.length || this.#failed) break;
        rest = rest.subarray(n);
        if (this.#reader.ended) {
          this.#held = rest;
          break;
        }
      }
    } catch (error) {
      if (!(error instanceof H1Error)) throw error;
      this.#fail(error);
    } finally {
      this.#reading = false;
    }
  }

  #fail(error: H1Error): void {
    this.#failed = true;
    this.#close = true;
    this.#reader.stop();
    this.#events.onFailed({ status: error.status, reason: error.message }, this.#answer === "none");
  }
}

/** What follows a CONNECT, or a wish to upgrade, was meant for another protocol: it is never read as a request. Nobody who asks for h2c sends it early. */
const leaves = (head: H1RequestHead): boolean => head.method === "CONNECT" || (head.upgrade !== undefined && head.upgrade !== "h2c");

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
