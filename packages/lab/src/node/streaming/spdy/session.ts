// Owns the server side of one SPDY/3.1 connection: its streams as Node duplexes, over any byte stream.
import type { Duplex } from "node:stream";
import { dataHead, encode, FrameReader, RST, SpdyError, type Frame, type Headers } from "./frames.ts";
import { HeaderCodec } from "./header-codec.ts";
import { SpdyStream, type StreamPort } from "./stream.ts";

/** kubectl opens two per forwarded connection; a browser behind one port-forward opens dozens. */
const STREAMS_MAX = 2_000;
/** SPDY/3.1 §2.6.4: window ids and the default size. */
const SETTING_INITIAL_WINDOW = 7;
const DEFAULT_WINDOW = 64 * 1024;
const WINDOW_MAX = 2 ** 31 - 1;

export interface SpdyHandler {
  /** A stream the peer opened; it is answered before this returns. Throw to refuse it. */
  onStream(stream: SpdyStream, headers: Headers): void;
  /** Once, when no more can be sent or received; all streams are destroyed. */
  onClose(problem: Error | undefined): void;
}

/**
 * Flow control follows the peer: Go's client neither grants nor honours windows, so only a peer that sends WINDOW_UPDATE or
 * SETTINGS is held to them and granted them. Otherwise a stream nobody reads stops the whole connection, as upstream does.
 */
export class SpdySession implements StreamPort {
  readonly #socket: Duplex;
  readonly #handler: SpdyHandler;
  readonly #reader = new FrameReader();
  readonly #codec = new HeaderCodec();
  readonly #streams = new Map<number, SpdyStream>();
  /** Streams whose reader is behind: while there are any, nothing is read from the socket. */
  readonly #slow = new Set<SpdyStream>();
  #lastStream = 0;
  #initialWindow: number | undefined;
  #work: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(socket: Duplex, handler: SpdyHandler) {
    this.#socket = socket;
    this.#handler = handler;
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("end", () => this.#afterWork(() => this.#end(undefined)));
    socket.on("error", (error: Error) => this.#end(error));
    socket.on("close", () => this.#afterWork(() => this.#end(undefined)));
  }

  get streams(): number { return this.#streams.size; }

  /** Sends what was written, says goodbye, and ends the connection. */
  close(): void {
    if (this.#ended) return;
    this.#socket.end(encode({ kind: "go-away", lastStream: this.#lastStream, status: 0 }));
    this.#end(undefined, false);
  }

  destroy(problem?: Error): void {
    this.#end(problem);
  }

  // What streams ask of their session.
  sendData(stream: SpdyStream, data: Uint8Array, done: (error?: Error | null) => void): void {
    if (this.#ended) return done(new SpdyError("the session is over"));
    this.#socket.write(dataHead(stream.id, data.length, false));
    this.#socket.write(data, done);
  }

  sendFin(stream: SpdyStream, done: (error?: Error | null) => void): void {
    if (this.#ended) return done();
    this.#socket.write(dataHead(stream.id, 0, true), () => done());
  }

  sendReset(stream: SpdyStream, status: number): void {
    if (!this.#ended) this.#socket.write(encode({ kind: "rst-stream", stream: stream.id, status }));
  }

  consumed(stream: SpdyStream, bytes: number): void {
    if (this.#initialWindow !== undefined && !this.#ended) this.#socket.write(encode({ kind: "window-update", stream: stream.id, delta: bytes }));
  }

  setSlow(stream: SpdyStream, slow: boolean): void {
    if (slow) this.#slow.add(stream);
    else this.#slow.delete(stream);
    this.#flow();
  }

  forget(stream: SpdyStream): void {
    this.#slow.delete(stream);
    if (this.#streams.get(stream.id) === stream) this.#streams.delete(stream.id);
    this.#flow();
  }

  #flow(): void {
    if (this.#ended) return;
    if (this.#slow.size > 0) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  #received(chunk: Buffer): void {
    if (this.#ended) return;
    let frames: Frame[];
    try {
      frames = this.#reader.read(chunk);
    } catch (error) {
      return this.#end(error as Error);
    }
    // Header blocks are inflated asynchronously, and everything after them waits its turn.
    this.#socket.pause();
    this.#afterWork(async () => {
      for (const frame of frames) if (!this.#ended) await this.#handle(frame);
      this.#flow();
    });
  }

  #afterWork(task: () => Promise<void> | void): void {
    this.#work = this.#work.then(task).catch((error: unknown) => this.#end(error instanceof Error ? error : new Error(String(error))));
  }

  async #handle(frame: Frame): Promise<void> {
    switch (frame.kind) {
      case "syn-stream": return this.#opened(frame.stream, frame.fin, await this.#codec.decode(frame.block));
      case "syn-reply": case "headers":
        // Nothing in them is for us, but they are part of the compression context.
        await this.#codec.decode(frame.block);
        if (frame.fin) this.#streams.get(frame.stream)?.receiveEnd();
        return;
      case "data": {
        const stream = this.#streams.get(frame.stream);
        if (stream === undefined) {
          if (frame.stream > this.#lastStream) throw new SpdyError(`data for stream ${frame.stream}, which was never opened`);
          return;
        }
        if (frame.data.length > 0) stream.receive(frame.data);
        if (frame.fin) stream.receiveEnd();
        return;
      }
      case "rst-stream": this.#streams.get(frame.stream)?.receiveReset(frame.status); return;
      case "ping":
        // Odd ids are the client's questions, even ones would be answers to questions we never ask.
        if (frame.id % 2 === 1) this.#socket.write(encode(frame));
        return;
      case "settings": {
        const window = frame.values.get(SETTING_INITIAL_WINDOW) ?? this.#initialWindow ?? DEFAULT_WINDOW;
        if (window > WINDOW_MAX) throw new SpdyError(`a window of ${window} bytes`);
        const before = this.#initialWindow ?? DEFAULT_WINDOW;
        this.#initialWindow = window;
        for (const stream of this.#streams.values()) stream.grant(window - before);
        return;
      }
      case "window-update": this.#grant(frame.stream, frame.delta); return;
      case "go-away": case "unknown": return;
    }
  }

  #grant(id: number, delta: number): void {
    if (this.#initialWindow === undefined) {
      this.#initialWindow = DEFAULT_WINDOW;
      for (const stream of this.#streams.values()) stream.limit(DEFAULT_WINDOW);
    }
    // Stream 0 is the connection's own window (3.1), which TCP already is.
    if (id !== 0) this.#streams.get(id)?.grant(delta);
  }

  async #opened(id: number, fin: boolean, headers: Headers): Promise<void> {
    if (id % 2 === 0 || id <= this.#lastStream) throw new SpdyError(`stream ${id} after ${this.#lastStream}`);
    this.#lastStream = id;
    if (this.#streams.size >= STREAMS_MAX) {
      this.#socket.write(encode({ kind: "rst-stream", stream: id, status: RST.REFUSED_STREAM }));
      return;
    }
    const stream = new SpdyStream(id, this);
    if (this.#initialWindow !== undefined) stream.limit(this.#initialWindow);
    this.#streams.set(id, stream);
    const block = await this.#codec.encode(new Map());
    if (this.#ended) return;
    this.#socket.write(encode({ kind: "syn-reply", stream: id, fin: false, block }));
    try {
      this.#handler.onStream(stream, headers);
    } catch {
      stream.destroy();
      return;
    }
    if (fin) stream.receiveEnd();
  }

  #end(problem: Error | undefined, destroy = true): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#codec.close();
    for (const stream of this.#streams.values()) stream.sessionEnded();
    this.#streams.clear();
    if (destroy) this.#socket.destroy();
    else this.#socket.resume();
    this.#handler.onClose(problem);
  }
}
