// Owns one HTTP/2 connection without I/O (RFC 9113): octets in become events, commands become octets out.
import { HpackError, type Fields } from "../hpack/decoder.ts";
import { ConnectionError, ErrorCode } from "./error-code.ts";
import type { ConnectionEvents } from "./events.ts";
import { STREAM_ID_MAX } from "./frame.ts";
import { FrameReader } from "./frame-reader.ts";
import { ANSWERS_MAX, ASSUMED_PEER_STREAMS, CLIENT_LIMITS, SERVER_LIMITS, type Limits } from "./limits.ts";
import { fieldValue } from "./message.ts";
import { DRAIN_PING, Receiver } from "./receiver.ts";
import { Sender } from "./sender.ts";
import { StreamTable } from "./stream-table.ts";
import type { H2Stream } from "./stream.ts";

export interface ConnectionOptions {
  readonly role: "client" | "server";
  /** Overrides of CLIENT_LIMITS or SERVER_LIMITS. */
  readonly limits?: Partial<Limits>;
}

export class H2Connection<C> {
  readonly role: "client" | "server";
  readonly limits: Limits;
  readonly #events: ConnectionEvents<C>;
  readonly #sender: Sender<C>;
  readonly #table: StreamTable<C>;
  readonly #receiver: Receiver<C>;
  readonly #reader: FrameReader;
  #state: "open" | "draining" | "closed" = "open";

  constructor(options: ConnectionOptions, events: ConnectionEvents<C>) {
    this.role = options.role;
    this.limits = { ...(options.role === "server" ? SERVER_LIMITS : CLIENT_LIMITS), ...options.limits };
    this.#events = events;
    this.#sender = new Sender(this.limits, (stream) => events.onWritable(stream));
    this.#table = new StreamTable(this.limits, this.#sender);
    this.#receiver = new Receiver(options.role === "client", this.limits, events, this.#sender, this.#table);
    this.#reader = new FrameReader({ expectPreface: options.role === "server", maxFrameSize: this.limits.maxFrameSize, blockMax: this.limits.maxHeaderListSize },
      this.#receiver);
    this.#sender.preface(options.role);
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** The peer sent GOAWAY. */
  get goneAway(): boolean {
    return this.#receiver.goneAway;
  }

  get openStreams(): number {
    return this.#table.open.size;
  }

  /** The peer's SETTINGS have come: the handshake is over. */
  get settled(): boolean {
    return this.#receiver.settingsSeen;
  }

  /** Client: how many streams the peer lets us have open at once, as far as we know. */
  get peerMaxStreams(): number {
    return this.#sender.peer.maxConcurrentStreams ?? (this.#receiver.settingsSeen ? Number.POSITIVE_INFINITY : ASSUMED_PEER_STREAMS);
  }

  /** Client: the peer takes extended CONNECT (RFC 8441). */
  get peerExtendedConnect(): boolean {
    return this.#sender.peer.extendedConnect;
  }

  /** Client: may `request` open a stream now? */
  get canOpen(): boolean {
    return this.#state === "open" && !this.goneAway && this.#receiver.nextId <= STREAM_ID_MAX && this.openStreams < this.peerMaxStreams;
  }

  /** After `drain`: the peer knows that nothing new is taken, and nothing is under way. */
  get drained(): boolean {
    return this.#state === "draining" && this.openStreams === 0 && (this.role === "client" || this.#receiver.lastNamed);
  }

  /** Octets that wait for `takeOutput`. */
  get pendingOutput(): number {
    return this.#sender.output.octets;
  }

  /** A copy: safe to reset streams while going through it. */
  streams(): H2Stream<C>[] {
    return [...this.#table.open];
  }

  /** Octets from the peer at `now` (monotonic milliseconds), ours from here on. Never throws: a broken rule becomes `onFailed`. */
  receive(bytes: Uint8Array, now: number): void {
    if (this.#state === "closed") return;
    this.#receiver.now = now;
    try {
      this.#reader.read(bytes);
      if (this.pendingOutput > this.limits.outputMax + ANSWERS_MAX) throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "the peer asks without reading our answers");
    } catch (error) {
      if (error instanceof ConnectionError) this.#fail(error);
      else if (error instanceof HpackError) this.#fail(new ConnectionError(ErrorCode.COMPRESSION_ERROR, error.message));
      else throw error;
    }
  }

  /** Everything to send, in order. Call `resume` after it went to the transport. */
  takeOutput(): Uint8Array[] {
    return this.#sender.output.take();
  }

  /** The transport takes no more for now: `data` takes nothing until `resume`. */
  hold(): void {
    this.#sender.hold(true);
  }

  /** There is room again: streams that wait are told, in turn. */
  resume(): void {
    if (this.#state !== "closed") this.#sender.hold(false);
  }

  /** Client. `undefined` when no stream can be opened now (see `canOpen`). `more` and `last`: fields behind `fields`, which have all that begin with a colon. */
  request(fields: Fields, endStream: boolean, context: C, more?: Fields, last?: Fields): H2Stream<C> | undefined {
    if (!this.canOpen) return undefined;
    const method = fieldValue(fields, ":method");
    const stream = this.#table.add(this.#receiver.nextId, method === "CONNECT", context);
    stream.bodiless = method === "HEAD";
    this.#receiver.nextId += 2;
    this.#sender.headers(stream.id, fields, endStream, more, last);
    if (endStream) stream.localEnded = true;
    return stream;
  }

  /** Server: the response head, or an informational one (1xx); `more` as of a request. */
  respond(stream: H2Stream<C>, fields: Fields, endStream: boolean, more?: Fields): void {
    if (stream.closed || stream.localEnded) return;
    if (fieldValue(fields, ":status")?.startsWith("1") !== true) stream.answered = true;
    this.#sender.headers(stream.id, fields, endStream, more);
    if (endStream) this.#table.endLocal(stream);
  }

  /** Ends our half with trailers. */
  trailers(stream: H2Stream<C>, fields: Fields): void {
    if (stream.closed || stream.localEnded) return;
    this.#sender.headers(stream.id, fields, true);
    this.#table.endLocal(stream);
  }

  /**
   * Sends as many of `bytes` as both windows and the output allow and returns how many; the rest stays the caller's, who hears `onWritable` later. With
   * `endStream` our half ends when all were taken. Taken bytes must not change any more. A closed stream takes nothing.
   */
  data(stream: H2Stream<C>, bytes: Uint8Array, endStream: boolean): number {
    if (stream.closed || stream.localEnded) return 0;
    const taken = this.#sender.data(stream, bytes, endStream);
    if (endStream && taken === bytes.length) this.#table.endLocal(stream);
    return taken;
  }

  /** The caller is done with so many octets of `onData`: the peer may send as many more. Also after the stream's end. */
  consumed(stream: H2Stream<C>, octets: number): void {
    if (this.#state !== "closed") this.#table.consumed(stream, octets);
  }

  /** Ends the stream at once, without event, and gives back the credit of what was not consumed; after the stream's end only the latter. */
  reset(stream: H2Stream<C>, code: number): void {
    if (this.#state !== "closed") this.#table.reset(stream, code);
  }

  /** Asks for a PONG; `payload` is eight octets, not all equal to ours for draining. */
  ping(payload: Uint8Array): void {
    if (this.#state !== "closed") this.#sender.ping(payload, false);
  }

  /** Graceful end: the peer opens no new streams, those under way go on. The shell closes when `openStreams` is 0 or its deadline comes. */
  drain(): void {
    if (this.#state !== "open") return;
    this.#state = "draining";
    if (this.role === "client") return this.#sender.goaway(0, ErrorCode.NO_ERROR, "");
    this.#sender.goaway(STREAM_ID_MAX, ErrorCode.NO_ERROR, "");
    this.#sender.ping(DRAIN_PING, false);
  }

  /** Ends the connection: GOAWAY into the output, `onReset` for every stream. */
  close(code: number, debug: string): void {
    if (this.#state === "closed") return;
    this.#sender.goaway(this.#receiver.lastPeerId, code, debug);
    this.#end(code);
  }

  /** The transport is gone: `onReset` with CONNECT_ERROR for every stream. */
  lost(): void {
    if (this.#state !== "closed") this.#end(ErrorCode.CONNECT_ERROR);
  }

  #fail(error: ConnectionError): void {
    if (this.#state === "closed") return;
    this.close(error.code, error.message);
    this.#events.onFailed(error);
  }

  #end(code: number): void {
    this.#state = "closed";
    this.#reader.stop();
    for (const stream of this.streams()) {
      this.#table.close(stream);
      this.#events.onReset(stream, code, true);
    }
  }
}
