// Owns fairness between pods: how much of one turn of the event loop a pod may have. What goes beyond waits, in order, for the next turns (users.md R33).
import { nextTurn } from "@ambit/runtime";
import type { ByteStream, ByteStreamHandler } from "@ambit/transport";

/** About a millisecond or two of copying and ciphers. A pod alone on its node has every turn, and loses nothing by it. */
export const OCTETS_PER_TURN = 1 << 20;
/** One read of a stream that carries bulk: so many are let go on as the turn has room for. */
const OCTETS_PER_READ = 64 << 10;
/** Tunnel requests that begin in one turn, each with its plan and its dial. (Of what is accepted, the event loop takes one a turn from each listener.) */
export const REQUESTS_PER_TURN = 16;
/** Requests that wait: what some tunnels full of streams can ask at once. Beyond, they are refused. */
export const WAITING_MAX = 4_096;

interface Reader { goOn(): void }

export class PodShare {
  #octets = 0;
  #begun = 0;
  #scheduled = false;
  #parked: Reader[] = [];
  #waiting: (() => void)[] = [];

  /** Begins work on a request: now, or in a later turn when this pod has had enough of this one. False: too many wait already. */
  begin(work: () => void): boolean {
    if (this.#waiting.length >= WAITING_MAX) return false;
    if (this.#waiting.length === 0 && this.#begun < REQUESTS_PER_TURN) {
      this.#begun++;
      work();
    } else {
      this.#waiting.push(work);
      this.#schedule();
    }
    return true;
  }

  /** The same stream, read from in turn with others of this pod once it has had its octets of a turn. */
  stream(inner: ByteStream): ByteStream {
    return new SharedStream(this, inner);
  }

  /** So many came. True: the reader waits until it is told to go on. */
  took(octets: number, reader: Reader): boolean {
    this.#octets += octets;
    // Whoever reads while others wait goes behind them.
    if (this.#octets < OCTETS_PER_TURN && this.#parked.length === 0) return false;
    this.#parked.push(reader);
    this.#schedule();
    return true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void nextTurn().then(this.#turn);
  }

  /** The end of a turn: what was used beyond its share is still to be made up for. Quiet pods never get here: what they use of many turns adds up to one share. */
  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#octets = Math.max(0, this.#octets - OCTETS_PER_TURN);
    const readers = Math.ceil((OCTETS_PER_TURN - this.#octets) / OCTETS_PER_READ);
    for (const reader of this.#parked.splice(0, Math.max(0, readers))) reader.goOn();
    const next = this.#waiting.splice(0, REQUESTS_PER_TURN);
    this.#begun = next.length;
    for (const work of next) work();
    if (this.#parked.length > 0 || this.#waiting.length > 0) this.#schedule();
  };
}

/** One object for both directions, the stream to its user and the handler to the stream: thousands are idle at once. */
class SharedStream implements ByteStream, ByteStreamHandler {
  readonly #share: PodShare;
  readonly #inner: ByteStream;
  #handler: ByteStreamHandler | undefined;
  #paused = false;
  #parked = false;

  constructor(share: PodShare, inner: ByteStream) {
    this.#share = share;
    this.#inner = inner;
  }

  /** The share lets it be read again. */
  goOn(): void {
    this.#parked = false;
    if (!this.#paused && !this.#inner.closed) this.#inner.resume();
  }

  // ---- to its user ---------------------------------------------------------------------------------------------------------------------------

  get closed(): boolean { return this.#inner.closed; }

  attach(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.#inner.attach(this);
  }

  write(bytes: Uint8Array): boolean { return this.#inner.write(bytes); }
  writeMany(pieces: readonly Uint8Array[]): boolean { return this.#inner.writeMany(pieces); }
  end(): void { this.#inner.end(); }
  destroy(reason?: Error): void { this.#inner.destroy(reason); }

  pause(): void {
    this.#paused = true;
    if (!this.#parked) this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#parked) this.#inner.resume();
  }

  // ---- from the stream -----------------------------------------------------------------------------------------------------------------------

  onData(bytes: Uint8Array): void {
    if (!this.#parked && this.#share.took(bytes.length, this)) {
      this.#parked = true;
      this.#inner.pause();
    }
    this.#handler?.onData(bytes);
  }

  onEnd(): void { this.#handler?.onEnd(); }
  onDrain(): void { this.#handler?.onDrain(); }
  onFinish(): void { this.#handler?.onFinish?.(); }
  onClose(error?: Error): void { this.#handler?.onClose(error); }
}
