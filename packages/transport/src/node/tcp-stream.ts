// Owns the node engine for plain TCP: a ByteStream on libuv's own handle, without net.Socket's streams in between.
import net from "node:net";
import { getSystemErrorName } from "node:util";
import { parseIp, type SocketAddress } from "@ambit/core";
import type { ByteStreamHandler } from "../byte-stream.ts";
import { streamFault } from "../fault.ts";
import { atEndOfTurn } from "../turn.ts";
import { ReceiveBuffer } from "./receive-buffer.ts";
import type { Request, TcpBinding, TcpHandle } from "./tcp-binding.ts";
import type { TcpConnection } from "./tcp-connection.ts";

/** `write` says "enough" when so much is queued: a busy turn is one system call and a stalled peer costs little. */
const QUEUE_HIGH_OCTETS = 256 << 10;
/** UV_EOF of libuv, which has no errno. */
const END_OF_FILE = -4095;

export class TcpStream implements TcpConnection {
  readonly #binding: TcpBinding;
  readonly #handle: TcpHandle;
  #handler: ByteStreamHandler | undefined;
  readonly #receive = new ReceiveBuffer();
  #pending: Uint8Array[] = [];
  #pendingOctets = 0;
  /** Octets of a write that the kernel has not taken whole; nothing else is written before. */
  #underWay = 0;
  #scheduled = false;
  #wantsDrain = false;
  #reading = false;
  #paused = false;
  #ending = false;
  /** Between our end and libuv's word that it is out: at most a turn. */
  #shutting = false;
  #resetWaits = false;
  #finished = false;
  #peerEnded = false;
  #closed = false;
  #gone = false;
  #error: Error | undefined;

  constructor(binding: TcpBinding, handle: TcpHandle) {
    this.#binding = binding;
    this.#handle = handle;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get fd(): number {
    return this.#closed ? -1 : this.#handle.fd;
  }

  get peer(): SocketAddress | undefined {
    return this.#address("getpeername");
  }

  get local(): SocketAddress | undefined {
    return this.#address("getsockname");
  }

  noDelay(): void {
    this.#handle.setNoDelay(true);
  }

  toSocket(): net.Socket {
    this.#closed = true;
    // `handle` and `pauseOnCreate` are how net.Server itself makes its sockets.
    const options = { handle: this.#handle, allowHalfOpen: true, pauseOnCreate: true, readable: true, writable: true };
    return new net.Socket(options as ConstructorParameters<typeof net.Socket>[0]);
  }

  attach(handler: ByteStreamHandler): void {
    const first = this.#handler === undefined;
    this.#handler = handler;
    if (this.#gone) return queueMicrotask(() => handler.onClose(this.#error));
    if (!first || this.#closed) return;
    this.#handle.onread = this.#onRead;
    this.#handle.useUserBuffer(this.#receive.current);
    if (!this.#paused) this.#startReading();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ending || this.#closed) return false;
    this.#pending.push(bytes);
    this.#pendingOctets += bytes.length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      atEndOfTurn(this.#flushAtEndOfTurn);
    }
    return this.#room();
  }

  writeMany(pieces: readonly Uint8Array[]): boolean {
    if (this.#ending || this.#closed) return false;
    if (this.#pendingOctets === 0 && this.#underWay === 0 && !this.#wantsDrain) { // nearly always
      const octets = octetsOf(pieces);
      if (octets > 0) this.#send(pieces, octets);
      return this.#room();
    }
    for (const piece of pieces) {
      this.#pending.push(piece);
      this.#pendingOctets += piece.length;
    }
    this.#flush();
    return this.#room();
  }

  pause(): void {
    this.#paused = true;
    if (!this.#reading) return;
    this.#reading = false;
    this.#handle.readStop();
  }

  resume(): void {
    this.#paused = false;
    if (this.#handler !== undefined) this.#startReading();
  }

  end(): void {
    if (this.#ending || this.#closed) return;
    this.#ending = true;
    if (this.#scheduled) return; // what waits for the end of this turn goes first
    this.#flush();
  }

  destroy(reason?: Error): void {
    if (this.#closed) return;
    this.#error ??= reason;
    this.#close(reason !== undefined);
  }

  // ---- inside --------------------------------------------------------------------------------------------------------------------------------

  #room(): boolean {
    if (this.#closed) return false;
    const room = this.#pendingOctets + this.#underWay < QUEUE_HIGH_OCTETS;
    if (!room) this.#wantsDrain = true;
    return room;
  }

  #startReading(): void {
    if (this.#reading || this.#closed || this.#peerEnded) return;
    this.#reading = true;
    const status = this.#handle.readStart();
    if (status < 0) this.#fail(status, "read");
  }

  readonly #onRead = (): Uint8Array | undefined => {
    const octets = this.#binding.state[this.#binding.READ] ?? 0;
    if (this.#closed || octets === 0) return undefined;
    if (octets < 0) {
      this.#onEnd(octets);
      return undefined;
    }
    const before = this.#receive.current;
    const bytes = this.#receive.take(octets);
    this.#handler?.onData(bytes);
    return this.#receive.current === before ? undefined : this.#receive.current;
  };

  #onEnd(status: number): void {
    if (status !== END_OF_FILE) return this.#fail(status, "read");
    this.#peerEnded = true;
    this.#reading = false;
    this.#handle.readStop();
    this.#handler?.onEnd();
    if (this.#finished) this.#close(false);
  }

  readonly #flushAtEndOfTurn = (): void => {
    this.#scheduled = false;
    this.#flush();
  };

  #flush(): void {
    if (this.#closed || this.#underWay > 0) return;
    if (this.#pendingOctets > 0 && !this.#sendPending()) return;
    if (this.#wantsDrain && this.#pendingOctets === 0) {
      this.#wantsDrain = false;
      if (this.#scheduled) queueMicrotask(this.#drained); // the writer is still in `write`
      else this.#drained();
    }
    if (this.#ending && this.#pendingOctets === 0 && this.#underWay === 0) this.#shutdown();
  }

  readonly #drained = (): void => {
    if (!this.#closed && !this.#ending) this.#handler?.onDrain();
  };

  #sendPending(): boolean {
    const pieces = this.#pending;
    const octets = this.#pendingOctets;
    this.#pending = [];
    this.#pendingOctets = 0;
    return this.#send(pieces, octets);
  }

  /** Hands these to the kernel, with nothing before them under way; false when it did not take all of it at once. */
  #send(pieces: readonly Uint8Array[], octets: number): boolean {
    const request = (spare ??= new this.#binding.WriteRequest());
    const [only] = pieces;
    const status = pieces.length === 1 && only !== undefined ? this.#handle.writeBuffer(request, only) : this.#handle.writev(request, pieces, true);
    if (status < 0) {
      this.#fail(status, "write");
      return false;
    }
    if (this.#binding.state[this.#binding.WRITE_IS_ASYNC] === 0) return true;
    spare = undefined;
    this.#underWay = octets;
    // `pieces` lives as long as this function: the kernel reads from them until then.
    request.oncomplete = (result) => this.#written(result, pieces);
    return false;
  }

  #written(status: number, _pieces: readonly Uint8Array[]): void {
    this.#underWay = 0;
    if (this.#closed) return;
    if (status < 0) return this.#fail(status, "write");
    this.#flush();
  }

  #shutdown(): void {
    if (this.#finished) return;
    const request = new this.#binding.ShutdownRequest();
    request.oncomplete = () => this.#onShutdown();
    // Not connected any more: there is nobody to tell.
    if (this.#handle.shutdown(request) < 0) queueMicrotask(() => this.#onShutdown());
    else this.#shutting = true;
  }

  #onShutdown(): void {
    this.#shutting = false;
    if (this.#resetWaits) this.#handle.reset(this.#onClose);
    if (this.#closed || this.#finished) return;
    this.#finished = true;
    this.#handler?.onFinish?.();
    if (this.#peerEnded) this.#close(false);
  }

  #fail(status: number, call: string): void {
    if (this.#closed) return;
    this.#error ??= streamFault(systemError(status, call));
    this.#close(false);
  }

  #close(reset: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending = [];
    this.#pendingOctets = 0;
    this.#handle.onread = ignoreRead;
    if (!reset) return this.#handle.close(this.#onClose);
    // libuv refuses a reset while a shutdown is under way, and Node's handle can then never be closed: descriptor and handle would be lost.
    if (this.#shutting) this.#resetWaits = true;
    else this.#handle.reset(this.#onClose);
  }

  readonly #onClose = (): void => {
    this.#gone = true;
    this.#handler?.onClose(this.#error);
  };

  #address(which: "getpeername" | "getsockname"): SocketAddress | undefined {
    const out: { address?: string; port?: number } = {};
    if (this.#closed || this.#handle[which](out) < 0) return undefined;
    const ip = parseIp(out.address ?? "");
    return ip.ok && out.port !== undefined ? { ip: ip.value, port: out.port } : undefined;
  }
}

function octetsOf(pieces: readonly Uint8Array[]): number {
  let octets = 0;
  for (const piece of pieces) octets += piece.length;
  return octets;
}

/** Handles accept nothing but a function. */
const ignoreRead = (): undefined => undefined;

/** A request that is not under way: most writes are done at once and leave theirs untouched. */
let spare: Request | undefined;

/** As Node's own errors are: `code` is the errno's name. */
export function systemError(status: number, syscall: string): Error {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`${syscall} ${code}`), { code, syscall });
}
