// Owns copying between two byte streams: back-pressure, half-close, resets, counters, and how it all ends.
import { systemClock, type Clock, type StopSignal, type Timer } from "@ambit/runtime";
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

/** One of the two streams. Thousands of copies idle at once, so it is an object with methods and not a bundle of closures. */
class Side implements ByteStreamHandler {
  readonly name: "a" | "b";
  readonly stream: ByteStream;
  octets = 0;
  /** The stream's peer ended its half. */
  ended = false;
  closed = false;
  /** Everything for it went to its transport. */
  finished = false;
  readonly #copy: Copy;

  constructor(name: "a" | "b", stream: ByteStream, copy: Copy) {
    this.name = name;
    this.stream = stream;
    this.#copy = copy;
  }

  onData(bytes: Uint8Array): void { this.#copy.onData(this, bytes); }
  onEnd(): void { this.#copy.onEnd(this); }
  onDrain(): void { this.#copy.other(this).stream.resume(); }
  onFinish(): void { this.#copy.onFinish(this); }
  onClose(error?: Error): void { this.#copy.onClose(this, error); }
}

class Copy {
  readonly #options: CopyOptions;
  readonly #resolve: (result: CopyResult) => void;
  readonly #a: Side;
  readonly #b: Side;
  #endedBy: CopyResult["endedBy"] | undefined;
  #error: Error | undefined;
  #waiting: Timer | undefined;
  /** Both were told to end: nothing is carried any more. */
  #cutting = false;

  constructor(a: ByteStream, b: ByteStream, options: CopyOptions, resolve: (result: CopyResult) => void) {
    this.#options = options;
    this.#resolve = resolve;
    this.#a = new Side("a", a, this);
    this.#b = new Side("b", b, this);
    const { signal } = options;
    if (signal?.aborted === true) queueMicrotask(this.#onAbort);
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
    a.attach(this.#a);
    b.attach(this.#b);
  }

  other(side: Side): Side {
    return side === this.#a ? this.#b : this.#a;
  }

  onData(side: Side, bytes: Uint8Array): void {
    if (this.#cutting) return this.#cut();
    const to = this.other(side);
    if (to.closed) return this.#onOrphanData(side);
    side.octets += bytes.length;
    this.#options.onBytes?.(side.name === "a" ? "ab" : "ba", bytes.length);
    if (!to.stream.write(bytes)) side.stream.pause();
  }

  onEnd(side: Side): void {
    side.ended = true;
    this.#endedBy ??= side.name;
    this.other(side).stream.end();
  }

  onFinish(side: Side): void {
    side.finished = true;
    if (this.other(side).closed && !side.ended) this.#linger(side);
  }

  onClose(side: Side, error: Error | undefined): void {
    const other = this.other(side);
    side.closed = true;
    this.#endedBy ??= side.name;
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
    this.#wait(() => side.stream.destroy(new StreamFault("reset", "the other side of the copy is closed")));
  }

  #wait(then: () => void): void {
    this.#waiting?.cancel();
    this.#waiting = (this.#options.clock ?? systemClock).after(LINGER_MS, then, { hold: true });
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
    this.#cutting = true;
    for (const side of [this.#a, this.#b]) {
      if (side.closed) continue;
      side.stream.end();
      side.stream.resume();
    }
    this.#wait(() => this.#cut());
  }

  #cut(): void {
    for (const side of [this.#a, this.#b]) if (!side.closed) side.stream.destroy(this.#error);
  }

  #settle(): void {
    this.#waiting?.cancel();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#resolve({ aToB: this.#a.octets, bToA: this.#b.octets, endedBy: this.#endedBy ?? "a", error: this.#error });
  }
}
