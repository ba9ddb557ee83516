// Owns one tunnel, either end of it: an HTTP/2 connection on a byte stream, flushed once a turn, kept alive by PING, ended with a reason.
import { MeshError } from "@ambit/core";
import { ErrorCode, H2Connection, useMemory, type ConnectionEvents, type Fields, type H2Stream, type Limits } from "@ambit/http";
import type { Clock, Timer } from "@ambit/runtime";
import { atEndOfTurn, StreamFault, type ByteStream, type ByteStreamHandler } from "@ambit/transport";

/** How often a peer is asked whether it is there. (Ambient peers ask every 10 s and wait for 20.) */
export const PING_EVERY_MS = 5_000;
/**
 * Looks in vain, one each PING_EVERY_MS, until a peer that was asked is given up: time for several retransmissions, or for a pause of its process. Together a
 * peer that vanishes is given up at most 15 s after its last octet (users.md R25). Looks are counted, not time: while we ourselves stand still there are none.
 */
export const PING_LOOKS_MAX = 2;
/** After our last octet the peer has so long to close its side. */
const LINGER_MS = 1000;
const PING_PAYLOAD = Uint8Array.from([0x6b, 0x65, 0x65, 0x70, 0x2d, 0x75, 0x70, 0x21]);

useMemory(Buffer.allocUnsafeSlow);

/** What one stream means to us: a tunnel stream, or a request that waits for its answer. */
export interface StreamOwner {
  onResponse?(status: number, fields: Fields): void;
  onData(bytes: Uint8Array): void;
  onEnd(): void;
  /** `error`: why the whole connection ended, when that was the reason. */
  onReset(code: number, processed: boolean, error: Error | undefined): void;
  onWritable(): void;
}

export interface TunnelEvents {
  /** Server. */
  onRequest?(stream: H2Stream<StreamOwner>, fields: Fields): void;
  /** A stream ended, or the peer's settings changed: there may be room, or nothing left to wait for. */
  onChange?(): void;
  /** Once, last. Without an error after a graceful end. */
  onClosed(error: Error | undefined): void;
}

export class TunnelConnection implements ByteStreamHandler {
  readonly h2: H2Connection<StreamOwner>;
  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #events: TunnelEvents;
  readonly #pings: Timer;
  #linger: Timer | undefined;
  #scheduled = false;
  #heardAt: number;
  /** Looks since the peer was asked, that one included, if it has said nothing since. */
  #unanswered = 0;
  /** Set when the tunnel is over: no more octets in, only the rest of the output. */
  #over = false;
  #error: Error | undefined;
  #closed = false;

  constructor(role: "client" | "server", stream: ByteStream, options: { readonly clock: Clock; readonly limits?: Partial<Limits> }, events: TunnelEvents) {
    this.#stream = stream;
    this.#clock = options.clock;
    this.#events = events;
    this.h2 = new H2Connection<StreamOwner>({ role, limits: options.limits ?? {} }, this.#h2Events());
    this.#heardAt = options.clock.monotonic();
    this.#pings = options.clock.every(PING_EVERY_MS, () => this.#ping());
    stream.attach(this);
    this.touch();
  }

  /** The tunnel takes no octets any more. */
  get over(): boolean {
    return this.#over;
  }

  get error(): Error | undefined {
    return this.#error;
  }

  /** After every command: the output leaves at the end of this turn. */
  touch(): void {
    if (this.#scheduled || this.#closed || this.h2.pendingOutput === 0) return;
    this.#scheduled = true;
    atEndOfTurn(this.#flush);
  }

  /** Graceful: the peer opens nothing new; when the last stream ended the tunnel closes without an error. */
  drain(): void {
    this.h2.drain();
    this.touch();
    this.#endIfDrained();
  }

  /** Ends the tunnel and every stream in it, with this reason (none: a clean end). */
  close(error: Error | undefined, code: number = ErrorCode.NO_ERROR): void {
    if (this.#over) return;
    this.#end(error);
    this.h2.close(code, "");
    this.touch();
    this.#finish();
  }

  onData(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#heardAt = this.#clock.monotonic();
    this.#unanswered = 0;
    this.h2.receive(bytes, this.#heardAt);
    this.touch();
  }

  onEnd(): void {
    this.#lost(undefined);
    this.#finish();
  }

  onDrain(): void {
    this.h2.resume();
    this.touch();
  }

  onClose(error?: Error): void {
    if (this.#closed) return;
    this.#lost(error);
    this.#closed = true;
    this.#linger?.cancel();
    this.#events.onClosed(this.#error);
  }

  /** The transport ended; that is clean only when no stream was under way. */
  #lost(error: Error | undefined): void {
    if (this.#over) return;
    const clean = error === undefined && this.h2.openStreams === 0 && this.h2.settled;
    this.#end(clean ? undefined : (error ?? new StreamFault("reset", "the peer closed the tunnel")));
    this.h2.lost();
  }

  #end(error: Error | undefined): void {
    this.#over = true;
    this.#error = error;
    this.#pings.cancel();
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (this.#closed) return;
    while (this.h2.pendingOutput > 0) {
      if (!this.#stream.writeMany(this.h2.takeOutput())) {
        this.h2.hold();
        break;
      }
      this.h2.resume(); // may fill the output again; the transport says when it is enough
    }
    this.#finish();
  };

  /** Over and flushed: end our side, and do not wait for ever for the peer's. */
  #finish(): void {
    if (!this.#over || this.#scheduled || this.#linger !== undefined) return;
    this.#stream.end();
    this.#stream.resume();
    this.#linger = this.#clock.after(LINGER_MS, () => this.#stream.destroy());
  }

  #ping(): void {
    if (this.#unanswered === PING_LOOKS_MAX)
      return this.close(new StreamFault("timeout", `the tunnel's peer was silent for ${Math.round((this.#clock.monotonic() - this.#heardAt) / 1000)} s`));
    if (this.#unanswered++ > 0) return;
    this.h2.ping(PING_PAYLOAD);
    this.touch();
  }

  #endIfDrained(): void {
    const done = this.h2.drained || (this.h2.goneAway && this.h2.role === "client" && this.h2.openStreams === 0);
    if (done && !this.#over) this.close(undefined);
  }

  #changed(): void {
    this.#events.onChange?.();
    this.#endIfDrained();
  }

  /** A stream of ours ended by our own command: the machine has no event for that. */
  changed(): void {
    this.touch();
    if (!this.#over) this.#changed();
  }

  #h2Events(): ConnectionEvents<StreamOwner> {
    return {
      onRequest: (stream, fields) => this.#events.onRequest?.(stream, fields),
      onResponse: (stream, status, fields) => stream.context?.onResponse?.(status, fields),
      onData: (stream, bytes) => {
        if (stream.context === undefined) this.h2.consumed(stream, bytes.length);
        else stream.context.onData(bytes);
      },
      onEnd: (stream) => {
        stream.context?.onEnd();
        if (stream.closed) this.#changed();
      },
      onReset: (stream, code, processed) => {
        stream.context?.onReset(code, processed, this.#over ? (this.#error ?? DRAINED) : undefined);
        if (!this.#over) this.#changed();
      },
      onWritable: (stream) => stream.context?.onWritable(),
      onSettings: () => this.#changed(),
      onPong: () => {},
      onGoaway: () => this.#changed(),
      onFailed: (error) => {
        this.#end(new MeshError(this.h2.settled ? "upstream-reset" : "h2-handshake", `the tunnel's peer broke HTTP/2: ${error.message}`, { cause: error }));
        this.touch(); // its GOAWAY
        this.#finish();
      },
    };
  }
}

const DRAINED = new MeshError("drained", "the tunnel was closed");
