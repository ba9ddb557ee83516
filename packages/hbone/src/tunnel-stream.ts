// Owns one stream of a tunnel as a ByteStream: what waits because a window is full, what waits because the reader is paused.
import { ErrorCode, errorCodeName, type H2Stream } from "@ambit/http";
import { MeshError } from "@ambit/core";
import { StreamFault, type ByteStream, type ByteStreamHandler } from "@ambit/transport";
import { REVOKED_CODE } from "./refusal.ts";
import type { StreamOwner, TunnelConnection } from "./tunnel-connection.ts";

const EMPTY = new Uint8Array(0);
/** Smaller pieces that must wait are copied together: a window full of one-octet frames must not become a million objects. */
const KEEP_WHOLE_OCTETS = 8 << 10;
const GATHER_OCTETS = 16 << 10;

export class TunnelStream implements ByteStream, StreamOwner {
  /** Called when the peer gives the stream up, or it breaks, before anybody attached. */
  onGone: (() => void) | undefined;
  readonly #tunnel: TunnelConnection;
  readonly #stream: H2Stream<StreamOwner>;
  #handler: ByteStreamHandler | undefined;
  #paused = false;
  #delivering = false;
  /** Received and not delivered: at most the stream's window, since it was not consumed. */
  #inbox: Uint8Array[] = [];
  /** The last inbox entry may be a gathering buffer: `#gather` with so many octets used. */
  #gather: Uint8Array | undefined;
  #gathered = 0;
  /** Given to us and not taken by the windows: what the writer gives after it was told to wait. */
  #outbox: Uint8Array[] = [];
  #ending = false;
  #peerEnded = false;
  #endDelivered = false;
  #finished = false;
  /** "ending": `onClose` follows the data and the end that wait still. */
  #state: "open" | "ending" | "closed" = "open";
  #error: Error | undefined;

  constructor(tunnel: TunnelConnection, stream: H2Stream<StreamOwner>) {
    this.#tunnel = tunnel;
    this.#stream = stream;
    stream.context = this;
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  attach(handler: ByteStreamHandler): void {
    this.#handler = handler;
    queueMicrotask(() => {
      if (this.#handler !== handler) return;
      if (this.#state === "closed") handler.onClose(this.#error);
      else this.#deliver();
    });
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ending || this.#state !== "open") return false;
    if (this.#outbox.length > 0) {
      this.#outbox.push(bytes);
      return false;
    }
    const taken = this.#tunnel.h2.data(this.#stream, bytes, false);
    this.#tunnel.touch();
    if (taken === bytes.length) return true;
    this.#outbox.push(taken === 0 ? bytes : bytes.subarray(taken));
    return false;
  }

  writeMany(pieces: readonly Uint8Array[]): boolean {
    let room = !this.#ending && this.#state === "open";
    for (const piece of pieces) room = this.write(piece);
    return room;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#deliver();
  }

  end(): void {
    if (this.#ending || this.#state !== "open") return;
    this.#ending = true;
    if (this.#outbox.length === 0) this.#sendEnd();
  }

  destroy(reason?: Error): void {
    if (this.#state === "closed") return;
    this.#tunnel.h2.reset(this.#stream, resetCode(reason));
    this.#close(reason);
    this.#tunnel.changed();
  }

  // ---- from the tunnel -----------------------------------------------------------------------------------------------------------------------

  onData(bytes: Uint8Array): void {
    if (this.#paused || this.#handler === undefined || this.#inbox.length > 0) {
      this.#keep(bytes);
      return;
    }
    this.#handler.onData(bytes);
    this.#consumed(bytes.length);
  }

  onEnd(): void {
    this.#peerEnded = true;
    this.#deliver();
  }

  onReset(code: number, _processed: boolean, error: Error | undefined): void {
    if (this.#state !== "open") return;
    if (error === undefined && (code === ErrorCode.NO_ERROR || code === ErrorCode.CANCEL)) {
      this.#state = "ending"; // as an end: what came before is still delivered
      this.#peerEnded = true;
      this.#outbox = [];
      this.onGone?.();
      this.#deliver();
      this.#closeIfEnded();
      return;
    }
    this.#tunnel.h2.reset(this.#stream, code); // gives back the credit of what is not delivered
    if (error === undefined && code === REVOKED_CODE) return this.#close(new MeshError("policy-revoked", "connection closed due to policy change at the destination"));
    this.#close(error ?? new StreamFault("reset", `the peer reset the stream: ${errorCodeName(code)}`));
  }

  onWritable(): void {
    if (this.#state !== "open") return;
    for (let head = this.#outbox[0]; head !== undefined; head = this.#outbox[0]) {
      const taken = this.#tunnel.h2.data(this.#stream, head, false);
      if (taken < head.length) {
        this.#outbox[0] = head.subarray(taken);
        break;
      }
      this.#outbox.shift();
    }
    this.#tunnel.touch();
    if (this.#outbox.length > 0) return;
    if (this.#ending) this.#sendEnd();
    else this.#handler?.onDrain();
  }

  // ---- inside --------------------------------------------------------------------------------------------------------------------------------

  #sendEnd(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#tunnel.h2.data(this.#stream, EMPTY, true);
    this.#tunnel.changed();
    queueMicrotask(() => {
      if (this.#state === "open") this.#handler?.onFinish?.();
      this.#closeIfEnded();
    });
  }

  #deliver(): void {
    const handler = this.#handler;
    if (this.#delivering || handler === undefined || this.#state === "closed") return;
    this.#delivering = true;
    while (!this.#paused && this.#inbox.length > 0 && this.#handler === handler) {
      const bytes = this.#next();
      handler.onData(bytes);
      this.#consumed(bytes.length);
    }
    this.#delivering = false;
    if (this.#paused || this.#inbox.length > 0 || !this.#peerEnded || this.#endDelivered || this.#closed()) return;
    this.#endDelivered = true;
    handler.onEnd();
    this.#closeIfEnded();
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length >= KEEP_WHOLE_OCTETS) {
      this.#sealGather();
      this.#inbox.push(bytes);
      return;
    }
    for (let at = 0; at < bytes.length; ) {
      if (this.#gather === undefined) {
        this.#gather = new Uint8Array(GATHER_OCTETS);
        this.#gathered = 0;
        this.#inbox.push(this.#gather);
      }
      const n = Math.min(bytes.length - at, GATHER_OCTETS - this.#gathered);
      this.#gather.set(bytes.subarray(at, at + n), this.#gathered);
      this.#gathered += n;
      at += n;
      if (this.#gathered === GATHER_OCTETS) this.#sealGather();
    }
  }

  /** The gathering buffer, always last, becomes an ordinary entry. */
  #sealGather(): void {
    if (this.#gather === undefined) return;
    this.#inbox[this.#inbox.length - 1] = this.#gather.subarray(0, this.#gathered);
    this.#gather = undefined;
  }

  #next(): Uint8Array {
    if (this.#inbox.length === 1) this.#sealGather();
    return this.#inbox.shift() ?? EMPTY;
  }

  #consumed(octets: number): void {
    this.#tunnel.h2.consumed(this.#stream, octets);
    this.#tunnel.touch();
  }

  #closed(): boolean {
    return this.#state === "closed";
  }

  #closeIfEnded(): void {
    if (this.#state === "closed" || !this.#endDelivered) return;
    if (this.#state === "ending" || this.#finished) this.#close(undefined);
  }

  #close(error: Error | undefined): void {
    this.#state = "closed";
    this.#error = error;
    this.#stream.context = undefined; // tables of the connection may hold on to the stream for a while
    this.#inbox = [];
    this.#gather = undefined;
    this.#outbox = [];
    this.onGone?.();
    queueMicrotask(() => this.#handler?.onClose(error));
  }
}

/** RFC 9113 §8.5: an abnormal end of the tunnelled connection is CONNECT_ERROR; CANCEL reads as an end. */
function resetCode(reason: Error | undefined): number {
  if (reason === undefined) return ErrorCode.CANCEL;
  return reason instanceof MeshError && reason.code === "policy-revoked" ? REVOKED_CODE : ErrorCode.CONNECT_ERROR;
}
