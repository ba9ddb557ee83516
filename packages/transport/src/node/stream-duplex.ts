// Owns the way back from a ByteStream to a Duplex of node, so that TLS can run inside a tunnel's stream.
import { Duplex } from "node:stream";
import type { ByteStream, ByteStreamHandler } from "../byte-stream.ts";

/** Takes over the stream. Ends and resets pass both ways; a slow reader pauses the stream. */
export function toDuplex(stream: ByteStream): Duplex {
  return new StreamDuplex(stream);
}

class StreamDuplex extends Duplex implements ByteStreamHandler {
  readonly #stream: ByteStream;
  #whenDrained: (() => void) | undefined;
  #whenFinished: (() => void) | undefined;

  constructor(stream: ByteStream) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    stream.attach(this);
  }

  onData(bytes: Uint8Array): void {
    if (!this.push(bytes)) this.#stream.pause();
  }

  onEnd(): void {
    this.push(null);
  }

  onDrain(): void {
    this.#takeDrained()?.();
  }

  onFinish(): void {
    this.#whenFinished?.();
    this.#whenFinished = undefined;
  }

  onClose(error?: Error): void {
    this.#takeDrained()?.();
    this.onFinish();
    if (error !== undefined) this.destroy(error);
    else if (!this.readableEnded) this.push(null);
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#stream.closed) return done(new Error("the stream is closed"));
    if (this.#stream.write(chunk)) done();
    else this.#whenDrained = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#stream.closed) return done();
    this.#whenFinished = done;
    this.#stream.end();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#takeDrained()?.();
    if (!this.#stream.closed) this.#stream.destroy(error ?? undefined);
    done(error);
  }

  #takeDrained(): (() => void) | undefined {
    const done = this.#whenDrained;
    this.#whenDrained = undefined;
    return done;
  }
}
