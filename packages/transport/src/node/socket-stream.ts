// Owns the node engine: a ByteStream on a net.Socket or a tls.TLSSocket.
import net from "node:net";
import tls from "node:tls";
import type { ByteStream, ByteStreamHandler } from "../byte-stream.ts";
import { streamFault } from "../fault.ts";
import { readBulk } from "../bulk.ts";
import { atEndOfTurn } from "../turn.ts";

/** `write` says "enough" when so much is queued: four reads of libuv, so that a busy turn is one system call and a stalled peer costs little. */
const QUEUE_HIGH_OCTETS = 256 << 10;
/** Node reads each of these into memory of its own. */
const BULK_OCTETS = 8 << 10;

export interface SocketStreamOptions {
  /** Idle time before TCP keep-alive probes. Default: no probes. */
  readonly keepAliveMs?: number;
}

/** Takes over a connected (or connecting) socket, also one made from a file descriptor in another network namespace. */
export function fromSocket(socket: net.Socket, options: SocketStreamOptions = {}): ByteStream {
  return new SocketStream(socket, options);
}

class SocketStream implements ByteStream {
  readonly #socket: net.Socket;
  #handler: ByteStreamHandler | undefined;
  #paused = false;
  #corked = false;
  #ended = false;
  #peerEnded = false;
  #closed = false;
  #gone = false;
  #error: Error | undefined;

  constructor(socket: net.Socket, options: SocketStreamOptions) {
    this.#socket = socket;
    socket.allowHalfOpen = true;
    socket.setNoDelay(true);
    if (options.keepAliveMs !== undefined) socket.setKeepAlive(true, options.keepAliveMs);
    socket.on("error", (error) => this.#onError(error));
    socket.on("close", () => this.#onClose());
    socket.on("drain", () => this.#handler?.onDrain());
    socket.on("finish", () => { if (!this.#closed) this.#handler?.onFinish?.(); });
    socket.on("end", () => this.#onEnd());
    this.#peerEnded = socket.readableEnded;
    if (socket.destroyed) queueMicrotask(() => this.#onClose());
  }

  get closed(): boolean {
    return this.#closed;
  }

  attach(handler: ByteStreamHandler): void {
    const first = this.#handler === undefined;
    this.#handler = handler;
    if (this.#gone) return queueMicrotask(() => handler.onClose(this.#error));
    if (!first) return;
    this.#socket.on("data", (bytes: Buffer) => { if (bytes.length >= BULK_OCTETS) readBulk(bytes.length); this.#handler?.onData(bytes); });
    if (this.#peerEnded) queueMicrotask(() => this.#onEnd());
    if (this.#paused) this.#socket.pause();
    else this.#socket.resume(); // an accepted socket may come paused
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ended || this.#closed) return false;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      atEndOfTurn(this.#uncork);
    }
    this.#socket.write(bytes);
    return this.#socket.writableLength < QUEUE_HIGH_OCTETS;
  }

  writeMany(pieces: readonly Uint8Array[]): boolean {
    if (this.#ended || this.#closed) return false;
    const many = pieces.length > 1;
    if (many) this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    if (many) this.#socket.uncork();
    return this.#socket.writableLength < QUEUE_HIGH_OCTETS;
  }

  pause(): void {
    this.#paused = true;
    if (this.#handler !== undefined) this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#handler !== undefined && !this.#closed) this.#socket.resume();
  }

  end(): void {
    if (this.#ended || this.#closed) return;
    this.#ended = true;
    this.#socket.end();
  }

  destroy(reason?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error ??= reason;
    // Only TCP has a reset: a TLS or Unix socket is just closed. (`remoteFamily` is what tells them apart without a throw.)
    const resets = reason !== undefined && !(this.#socket instanceof tls.TLSSocket) && !this.#socket.connecting && this.#socket.remoteFamily !== undefined;
    if (!resets) this.#socket.destroy();
    else if (this.#ended && !this.#socket.writableFinished && this.#socket.writableLength === 0) {
      // libuv refuses a reset while a shutdown is under way, and Node's handle can then never be closed. It takes a turn at most.
      this.#socket.pause().once("finish", () => this.#socket.resetAndDestroy());
    } else this.#socket.resetAndDestroy();
  }

  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  /** node:tls reports an alert of the peer and then an end, as if all were well: an error is the end of both halves. */
  #onError(error: Error): void {
    this.#error ??= streamFault(error);
    this.#closed = true;
    this.#socket.destroy();
  }

  /** The end of an empty stream comes even when nobody reads: it is kept for the handler. */
  #onEnd(): void {
    this.#peerEnded = true;
    if (!this.#closed) this.#handler?.onEnd();
  }

  #onClose(): void {
    if (this.#gone) return;
    this.#closed = true;
    this.#gone = true;
    this.#handler?.onClose(this.#error);
  }
}
