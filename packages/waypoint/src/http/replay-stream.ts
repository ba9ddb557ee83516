// Owns a stream of which some octets were read already: they come first again.
import type { ByteStream, ByteStreamHandler } from "@ambit/transport";

/** Made while `inner` is attached and paused by its maker, who gives up its handler. `ended`: the end was read too. */
export class ReplayStream implements ByteStream, ByteStreamHandler {
  readonly #inner: ByteStream;
  #pieces: Uint8Array[];
  #ended: boolean;
  #handler: ByteStreamHandler | undefined;
  #paused = false;
  /** Everything that was read before went to the handler. */
  #through = false;
  #closed: { readonly error: Error | undefined } | undefined;

  constructor(inner: ByteStream, pieces: readonly Uint8Array[], ended: boolean) {
    this.#inner = inner;
    this.#pieces = [...pieces];
    this.#ended = ended;
    inner.attach(this);
  }

  get closed(): boolean {
    return this.#inner.closed;
  }

  attach(handler: ByteStreamHandler): void {
    this.#handler = handler;
    if (this.#through) return this.#inner.attach(handler);
    queueMicrotask(() => this.#deliver());
  }

  write(bytes: Uint8Array): boolean {
    return this.#inner.write(bytes);
  }

  writeMany(pieces: readonly Uint8Array[]): boolean {
    return this.#inner.writeMany(pieces);
  }

  pause(): void {
    this.#paused = true;
    if (this.#through) this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#through) this.#inner.resume();
    else queueMicrotask(() => this.#deliver());
  }

  end(): void {
    this.#inner.end();
  }

  destroy(reason?: Error): void {
    this.#pieces = [];
    this.#inner.destroy(reason);
  }

  // ---- from the inner stream, until everything went through --------------------------------------------------------------------------------------

  onData(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#inner.pause();
    this.#deliver();
  }

  onEnd(): void {
    this.#ended = true;
    this.#deliver();
  }

  onDrain(): void {
    this.#handler?.onDrain();
  }

  onFinish(): void {
    this.#handler?.onFinish?.();
  }

  onClose(error?: Error): void {
    this.#closed = { error };
    this.#deliver();
  }

  #deliver(): void {
    const handler = this.#handler;
    if (handler === undefined || this.#through) return;
    for (let piece = this.#pieces.shift(); piece !== undefined; piece = this.#pieces.shift()) {
      handler.onData(piece);
      if (this.#handler !== handler) return;
      if (this.#paused) break;
    }
    if (this.#closed !== undefined && (this.#pieces.length === 0 || this.#closed.error !== undefined)) {
      this.#through = true;
      return handler.onClose(this.#closed.error);
    }
    if (this.#paused || this.#pieces.length > 0) return;
    if (this.#ended) {
      this.#ended = false;
      handler.onEnd();
    }
    this.#through = true;
    this.#inner.attach(handler);
    if (!this.#paused) this.#inner.resume();
  }
}
