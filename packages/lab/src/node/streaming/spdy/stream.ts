// Owns one SPDY stream as a Node duplex: half-close, reset, and back-pressure in both directions.
import { Duplex } from "node:stream";
import { RST } from "./frames.ts";

/** Received and not yet read: beyond this the session stops reading. Grants are handed back in steps of half of it. */
const BUFFER_BYTES = 256 * 1024;
const GRANT_BYTES = 32 * 1024;
/** One frame: large enough to be cheap, small enough to let other streams in between. */
const FRAME_BYTES = 32 * 1024;

/** What a stream asks of its session. */
export interface StreamPort {
  sendData(stream: SpdyStream, data: Uint8Array, done: (error?: Error | null) => void): void;
  sendFin(stream: SpdyStream, done: (error?: Error | null) => void): void;
  sendReset(stream: SpdyStream, status: number): void;
  /** So many bytes were read by the stream's user. */
  consumed(stream: SpdyStream, bytes: number): void;
  setSlow(stream: SpdyStream, slow: boolean): void;
  forget(stream: SpdyStream): void;
}

export class SpdyStream extends Duplex {
  readonly id: number;
  readonly #port: StreamPort;
  #unread = 0;
  #slow = false;
  #receivedEnd = false;
  #sentEnd = false;
  #silent = false;
  /** Bytes the peer still takes; undefined when it does not count. */
  #window: number | undefined;
  #waiting: (() => void) | undefined;

  constructor(id: number, port: StreamPort) {
    super({ allowHalfOpen: true, readableHighWaterMark: BUFFER_BYTES, writableHighWaterMark: BUFFER_BYTES });
    this.id = id;
    this.#port = port;
    // Ends are told by close; an error nobody waits for must not end the process.
    this.on("error", () => undefined);
  }

  receive(data: Uint8Array): void {
    if (this.#receivedEnd || this.destroyed) return;
    this.#unread += data.length;
    if (!this.push(data) && !this.#slow) {
      this.#slow = true;
      this.#port.setSlow(this, true);
    }
  }

  receiveEnd(): void {
    if (this.#receivedEnd) return;
    this.#receivedEnd = true;
    this.push(null);
  }

  receiveReset(status: number): void {
    this.#silent = true;
    this.destroy(status === RST.CANCEL ? undefined : new Error(`the peer reset the stream (${status})`));
  }

  /** The connection is gone: whoever reads sees the end, whoever writes an error. */
  sessionEnded(): void {
    this.#silent = true;
    if (this.#receivedEnd && this.#sentEnd) return;
    this.destroy(this.#receivedEnd ? undefined : new Error("the connection ended"));
  }

  /** From now on at most this many bytes may be under way. */
  limit(window: number): void { this.#window ??= window; }
  grant(delta: number): void {
    if (this.#window !== undefined) this.#window += delta;
    const go = this.#waiting;
    this.#waiting = undefined;
    go?.();
  }

  override _read(): void {
    if (this.#unread >= GRANT_BYTES) { this.#port.consumed(this, this.#unread); this.#unread = 0; }
    if (!this.#slow) return;
    this.#slow = false;
    this.#port.setSlow(this, false);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (chunk.length === 0) return done();
    const size = Math.min(chunk.length, FRAME_BYTES, this.#window ?? FRAME_BYTES);
    if (size <= 0) {
      this.#waiting = () => this._write(chunk, _encoding, done);
      return;
    }
    if (this.#window !== undefined) this.#window -= size;
    const rest = chunk.subarray(size);
    this.#port.sendData(this, chunk.subarray(0, size), (error) => {
      if (error !== null && error !== undefined) done(error);
      else if (rest.length === 0) done();
      else this._write(rest, _encoding, done);
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#sentEnd = true;
    this.#port.sendFin(this, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#silent && !(this.#receivedEnd && this.#sentEnd)) this.#port.sendReset(this, error === null ? RST.CANCEL : RST.INTERNAL_ERROR);
    this.#port.forget(this);
    done(error);
  }
}
