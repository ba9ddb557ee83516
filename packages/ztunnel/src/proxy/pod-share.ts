// Owns fairness between pods: how much of one turn of the event loop a pod may have. What goes beyond waits, in order, for the next turns (users.md R33).
import { nextTurn } from "@ambit/runtime";
import type { ByteStream, ByteStreamHandler } from "@ambit/transport";

/** A millisecond or two of copying and ciphers. A pod alone on its node has every turn, and loses nothing by it. */
export const OCTETS_PER_TURN = 1 << 20;
/** While another pod says little and waits for answers: what pods with bulk have between them, tenths of a millisecond. Their smaller writes cost up to a fifth more processor time. */
export const OCTETS_BESIDE_QUIET = 128 << 10;
/** One read of a stream that carries bulk: so many are let go on as the turn has room for. */
const OCTETS_PER_READ = 64 << 10;
/** Whoever reads less at once, and is not of a pod with bulk, is quiet: a request, an answer. */
const OCTETS_OF_QUIET = 16 << 10;
/** Turns of pods with bulk (tenths of a millisecond each, then): who was quiet in one of the last so many is expected again. */
export const QUIET_TURNS = 512;
/** Who wanted more than its share in one of the last so many has bulk, whatever small it reads besides: the other direction of a tunnel, say. */
const LOUD_TURNS = 128;
/** Tunnel requests that begin in one turn, each with its plan and its dial. (Of what is accepted, the event loop takes one a turn from each listener.) */
export const REQUESTS_PER_TURN = 16;
/** Requests that wait: what some tunnels full of streams can ask at once. Beyond, they are refused. */
export const WAITING_MAX = 4_096;

/** False: there is nothing to go on with. */
interface Reader { goOn(): boolean }

/** The pods of one event loop, as far as their shares depend on each other. */
export class Shares {
  /** Counts turns in which a pod with bulk wanted more than it had. */
  turn = 0;
  /** The last of them in which a pod without bulk had something to say. */
  quietAt = -QUIET_TURNS;
  /** Who that was. */
  quietBy: PodShare | undefined;
  /** Pods with bulk in this turn. */
  loud = 0;

  get octets(): number {
    return this.turn - this.quietAt >= QUIET_TURNS ? OCTETS_PER_TURN : Math.max(OCTETS_PER_READ, OCTETS_BESIDE_QUIET / Math.max(1, this.loud));
  }
}

export class PodShare {
  readonly #shares: Shares;
  #octets = 0;
  #begun = 0;
  #scheduled = false;
  /** The last turn in which it wanted more than its share. */
  #loudAt = -LOUD_TURNS;
  #loud = false;
  #parked: Reader[] = [];
  #waiting: (() => void)[] = [];

  constructor(shares = new Shares()) {
    this.#shares = shares;
  }

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
    if (this.#parked.length === 0 && this.#octets < this.#shares.octets) {
      if (octets < OCTETS_OF_QUIET && this.#shares.turn - this.#loudAt >= LOUD_TURNS) this.#beQuiet();
      return false;
    }
    this.#parked.push(reader);
    this.#beLoud();
    this.#schedule();
    return true;
  }

  #beQuiet(): void {
    this.#shares.quietAt = this.#shares.turn;
    this.#shares.quietBy = this;
  }

  #beLoud(): void {
    this.#loudAt = this.#shares.turn;
    if (this.#loud) return;
    // What it said itself before is no reason to have less.
    if (this.#shares.quietBy === this) this.#shares.quietAt = this.#shares.turn - QUIET_TURNS;
    this.#loud = true;
    this.#shares.loud++;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void nextTurn().then(this.#turn);
  }

  /** The end of a turn: what was used beyond its share is still to be made up for. Quiet pods never get here: what they use of many turns adds up to one share. */
  readonly #turn = (): void => {
    this.#scheduled = false;
    const share = this.#shares.octets;
    if (this.#loud) {
      this.#loud = false;
      this.#shares.loud--;
      this.#shares.turn++;
    }
    this.#octets = Math.max(0, this.#octets - share);
    for (let room = share - this.#octets; room > 0 && this.#parked.length > 0;) if (this.#parked.shift()?.goOn() === true) room -= OCTETS_PER_READ;
    const next = this.#waiting.splice(0, REQUESTS_PER_TURN);
    this.#begun = next.length;
    for (const work of next) work();
    if (this.#parked.length > 0) this.#beLoud();
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
  goOn(): boolean {
    this.#parked = false;
    if (this.#paused || this.#inner.closed) return false;
    this.#inner.resume();
    return true;
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
