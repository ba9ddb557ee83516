// Owns copying between two byte streams: back-pressure, half-close, resets, counters, and how it all ends.
import { systemClock, type Clock, type StopSignal } from "@ambit/runtime";
import { StreamFault, type ByteStream, type ByteStreamHandler } from "@ambit/transport";

/** When one side is gone and all it sent is delivered, the other has so long to close. */
const LINGER_MS = 5_000;

export interface CopyOptions {
  /** Ends both streams with the signal's reason. */
  readonly signal?: StopSignal;
  readonly clock?: Clock;
  /** True of the signal's reason: both streams get an end, not a reset. Who still writes then, or does not close, is reset. */
  readonly gently?: (reason: unknown) => boolean;
  /** Called with each piece's length: for counters that are read while the copy runs. */
  readonly onBytes?: (direction: "ab" | "ba", octets: number) => void;
}

export interface CopyResult {
  readonly aToB: number;
  readonly bToA: number;
  /** The stream that ended, broke or was closed first; "abort": the signal. */
  readonly endedBy: "a" | "b" | "abort";
  /** Why it did not end with both halves closed in peace. */
  readonly error: Error | undefined;
}

/** Resolves when both streams are closed; never rejects. Holds no octets itself: a slow reader pauses the other side. */
export function copyBidirectional(a: ByteStream, b: ByteStream, options: CopyOptions = {}): Promise<CopyResult> {
  return new Promise((resolve) => new Copy(a, b, options, resolve));
}

interface Side extends ByteStreamHandler {
  readonly stream: ByteStream;
  octets: number;
  /** The stream's peer ended its half. */
  ended: boolean;
  closed: boolean;
  /** Everything for it went to its transport. */
  finished: boolean;
}

class Copy {
  readonly #options: CopyOptions;
  readonly #clock: Clock;
  readonly #resolve: (result: CopyResult) => void;
  readonly #a: Side;
  readonly #b: Side;
  #endedBy: CopyResult["endedBy"] | undefined;
  #error: Error | undefined;
  #stopWaiting: () => void = () => {};

  constructor(a: ByteStream, b: ByteStream, options: CopyOptions, resolve: (result: CopyResult) => void) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#resolve = resolve;
    this.#a = this.#side("a", a, () => this.#b);
    this.#b = this.#side("b", b, () => this.#a);
    const { signal } = options;
    if (signal?.aborted === true) queueMicrotask(this.#onAbort);
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
    a.attach(this.#a);
    b.attach(this.#b);
  }

  #side(name: "a" | "b", stream: ByteStream, other: () => Side): Side {
    const direction = name === "a" ? "ab" : "ba";
    const side: Side = {
      stream,
      octets: 0,
      ended: false,
      closed: false,
      finished: false,
      onData: (bytes) => {
        const to = other();
        if (to.closed) return this.#onOrphanData(side);
        side.octets += bytes.length;
        this.#options.onBytes?.(direction, bytes.length);
        if (!to.stream.write(bytes)) stream.pause();
      },
      onEnd: () => {
        side.ended = true;
        this.#endedBy ??= name;
        other().stream.end();
      },
      onDrain: () => other().stream.resume(),
      onFinish: () => {
        side.finished = true;
        if (other().closed && !side.ended) this.#linger(side);
      },
      onClose: (error) => this.#onClose(name, side, other(), error),
    };
    return side;
  }

  #onClose(name: "a" | "b", side: Side, other: Side, error: Error | undefined): void {
    side.closed = true;
    this.#endedBy ??= name;
    this.#error ??= error;
    if (other.closed) return this.#settle();
    if (error !== undefined) return other.stream.destroy(error);
    // Gone in peace: what it sent is still delivered; what the other sends has no reader any more.
    other.stream.end();
    other.stream.resume();
    if (other.finished && !other.ended) this.#linger(other); // else its own end, or the delivery of what waits, comes first
  }

  /** The reader is gone, as when a plain socket was closed: the writer learns it by a reset, but not before its own data arrived. */
  #onOrphanData(side: Side): void {
    if (side.finished) side.stream.destroy(new StreamFault("reset", "the other side of the copy is closed"));
  }

  #linger(side: Side): void {
    this.#stopWaiting();
    const timer = this.#clock.after(LINGER_MS, () => side.stream.destroy(new StreamFault("reset", "the other side of the copy is closed")), { hold: true });
    this.#stopWaiting = () => timer.cancel();
  }

  readonly #onAbort = (): void => {
    this.#endedBy ??= "abort";
    const reason: unknown = this.#options.signal?.reason;
    this.#error ??= reason instanceof Error ? reason : new StreamFault("io", String(reason));
    if (this.#options.gently?.(reason) === true) return this.#endBoth();
    this.#a.stream.destroy(this.#error);
    this.#b.stream.destroy(this.#error);
  };

  #endBoth(): void {
    const error = this.#error;
    const both = [this.#a, this.#b];
    const cut = (): void => { for (const side of both) if (!side.closed) side.stream.destroy(error); };
    for (const side of both) {
      side.onData = cut;
      if (side.closed) continue;
      side.stream.end();
      side.stream.resume();
    }
    this.#stopWaiting();
    const timer = this.#clock.after(LINGER_MS, cut, { hold: true });
    this.#stopWaiting = () => timer.cancel();
  }

  #settle(): void {
    this.#stopWaiting();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#resolve({ aToB: this.#a.octets, bToA: this.#b.octets, endedBy: this.#endedBy ?? "a", error: this.#error });
  }
}
