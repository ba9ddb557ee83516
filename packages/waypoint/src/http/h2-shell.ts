// Owns one HTTP/2 connection on a byte stream, either end: flushed once a turn, ended with a reason, its streams told.
import { ErrorCode, H2Connection, type ConnectionEvents, type Fields, type H2Stream, type Limits } from "@ambit/http";
import type { Clock, Timer } from "@ambit/runtime";
import { atEndOfTurn, type ByteStream, type ByteStreamHandler } from "@ambit/transport";
import type { EventTime } from "./event-time.ts";

/** After our last octet the peer has so long to close its side. */
const LINGER_MS = 1000;

/** What one stream means to its side. */
export interface H2Owner {
  onInformational?(status: number, fields: Fields): void;
  onResponse?(status: number, fields: string[], endStream: boolean): void;
  onTrailers(fields: Fields): void;
  onData(bytes: Uint8Array): void;
  onEnd(): void;
  /** `lost`: the whole connection ended. */
  onReset(code: number, processed: boolean, lost: boolean): void;
  onWritable(): void;
}

export interface H2ShellEvents {
  /** Server. */
  onRequest?(stream: H2Stream<H2Owner>, fields: string[], endStream: boolean): void;
  /** A stream ended, the peer's settings changed, or it is `over`. */
  onChange(): void;
  /** Once, last. */
  onClosed(): void;
}

export class H2Shell implements ByteStreamHandler {
  readonly h2: H2Connection<H2Owner>;
  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #time: EventTime;
  readonly #events: H2ShellEvents;
  #linger: Timer | undefined;
  #scheduled = false;
  #over = false;
  #closed = false;

  constructor(role: "client" | "server", stream: ByteStream, o: { readonly clock: Clock; readonly time: EventTime; readonly limits: Partial<Limits> }, events: H2ShellEvents) {
    this.#stream = stream;
    this.#clock = o.clock;
    this.#time = o.time;
    this.#events = events;
    this.h2 = new H2Connection<H2Owner>({ role, limits: o.limits }, this.#h2Events());
    stream.attach(this);
    this.touch();
  }

  get over(): boolean {
    return this.#over;
  }

  /** After every command: the output leaves at the end of this turn. */
  touch(): void {
    if (this.#scheduled || this.#closed || this.h2.pendingOutput === 0) return;
    this.#scheduled = true;
    atEndOfTurn(this.#flush);
  }

  /** A stream ended by our own command: the machine has no event for that. */
  changed(): void {
    this.touch();
    if (!this.#over) this.#change();
  }

  drain(): void {
    this.h2.drain();
    this.changed();
  }

  /** Ends the connection and its streams. */
  close(code: number = ErrorCode.NO_ERROR): void {
    if (this.#over) return;
    this.#over = true;
    this.h2.close(code, "");
    this.touch();
    this.#events.onChange();
    this.#finish();
  }

  destroy(reason?: Error): void {
    this.#lost();
    this.#stream.destroy(reason);
  }

  onData(bytes: Uint8Array): void {
    if (this.#over) return;
    const first = this.#time.hold();
    try {
      this.h2.receive(bytes, this.#time.monotonic);
    } finally {
      if (first) this.#time.release();
    }
    this.touch();
  }

  onEnd(): void {
    this.#lost();
    this.#finish();
  }

  onDrain(): void {
    this.h2.resume();
    this.touch();
  }

  onClose(): void {
    if (this.#closed) return;
    this.#lost();
    this.#closed = true;
    this.#linger?.cancel();
    this.#events.onClosed();
  }

  #lost(): void {
    if (this.#over) return;
    this.#over = true;
    this.h2.lost();
    this.#events.onChange();
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

  #finish(): void {
    if (!this.#over || this.#scheduled || this.#linger !== undefined || this.#closed) return;
    this.#stream.end();
    this.#stream.resume();
    this.#linger = this.#clock.after(LINGER_MS, () => this.#stream.destroy());
  }

  #change(): void {
    this.#events.onChange();
    const done = this.h2.drained || (this.h2.role === "client" && this.h2.goneAway && this.h2.openStreams === 0);
    if (done && !this.#over) this.close();
  }

  #h2Events(): ConnectionEvents<H2Owner> {
    return {
      onRequest: (stream, fields, endStream) => this.#events.onRequest?.(stream, fields, endStream),
      onInformational: (stream, status, fields) => stream.context?.onInformational?.(status, fields),
      onResponse: (stream, status, fields, endStream) => stream.context?.onResponse?.(status, fields, endStream),
      onTrailers: (stream, fields) => stream.context?.onTrailers(fields),
      onData: (stream, bytes) => {
        if (stream.context === undefined) this.h2.consumed(stream, bytes.length);
        else stream.context.onData(bytes);
      },
      onEnd: (stream) => {
        stream.context?.onEnd();
        if (stream.closed) this.#change();
      },
      onReset: (stream, code, processed) => {
        stream.context?.onReset(code, processed, this.#over || this.h2.closed);
        if (!this.#over) this.#change();
      },
      onWritable: (stream) => stream.context?.onWritable(),
      onSettings: () => this.#change(),
      onPong: () => this.#change(),
      onGoaway: () => this.#change(),
      onFailed: () => {
        this.#over = true;
        this.touch(); // its GOAWAY
        this.#events.onChange();
        this.#finish();
      },
    };
  }
}
