// Owns the open streams of a connection and the credit the peer has: who may still send how much.
import { ConnectionError, ErrorCode } from "./error-code.ts";
import { WINDOW_DEFAULT } from "./frame.ts";
import { RESET_MEMORY_MAX, type Limits } from "./limits.ts";
import { OpenStreams } from "./open-streams.ts";
import type { Sender } from "./sender.ts";
import { H2Stream } from "./stream.ts";

/** A WINDOW_UPDATE goes out when this part of a window is owed: the peer need not wait for credit, and updates stay rare. */
const CREDIT_PART = 1 / 4;

export class StreamTable<C> {
  readonly open = new OpenStreams<C>();
  readonly #limits: Limits;
  readonly #sender: Sender<C>;
  /** Streams that we reset lately: frames of theirs that were on the way are not the peer's fault. */
  readonly #reset = new Set<number>();
  /** Connection level: what the peer may still send, and what we took and have not announced. */
  #window: number;
  #owed = 0;

  constructor(limits: Limits, sender: Sender<C>) {
    this.#limits = limits;
    this.#sender = sender;
    this.#window = Math.max(limits.connectionWindow, WINDOW_DEFAULT);
  }

  add(id: number, connect: boolean, context: C | undefined): H2Stream<C> {
    const stream = new H2Stream<C>(id, connect, this.#sender.peer.initialWindowSize, this.#limits.streamWindow, context);
    this.open.add(stream);
    return stream;
  }

  endLocal(stream: H2Stream<C>): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.close(stream);
  }

  endRemote(stream: H2Stream<C>): void {
    stream.remoteEnded = true;
    if (stream.localEnded) this.close(stream);
  }

  close(stream: H2Stream<C>): void {
    stream.closed = true;
    this.open.delete(stream.id);
    this.#sender.forget(stream);
  }

  /** Sends RST_STREAM and gives back the credit of what was not consumed. */
  reset(stream: H2Stream<C>, code: number): void {
    this.consumed(stream, stream.unconsumed);
    if (stream.closed) return;
    this.close(stream);
    this.refuse(stream.id, code);
  }

  /** Sends RST_STREAM for a stream that was never made. */
  refuse(id: number, code: number): void {
    this.#sender.reset(id, code);
    this.#reset.add(id);
    if (this.#reset.size <= RESET_MEMORY_MAX) return;
    for (const oldest of this.#reset) {
      this.#reset.delete(oldest);
      break;
    }
  }

  wasReset(id: number): boolean {
    return this.#reset.has(id);
  }

  /** The peer used up so much of the connection's credit. */
  charge(octets: number): void {
    if (octets > this.#window) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    this.#window -= octets;
  }

  /** Octets of a stream were taken by the application: credit for it and for the connection. */
  consumed(stream: H2Stream<C>, octets: number): void {
    const n = Math.min(octets, stream.unconsumed);
    if (n === 0) return;
    stream.unconsumed -= n;
    this.credit(n);
    if (stream.closed || stream.remoteEnded) return;
    stream.owed += n;
    if (stream.owed < this.#limits.streamWindow * CREDIT_PART) return;
    stream.receiveWindow += stream.owed;
    this.#sender.windowUpdate(stream.id, stream.owed);
    stream.owed = 0;
  }

  /** Octets that belong to no stream, or to one just consumed: credit for the connection. */
  credit(octets: number): void {
    this.#owed += octets;
    if (this.#owed < this.#limits.connectionWindow * CREDIT_PART) return;
    this.#window += this.#owed;
    this.#sender.windowUpdate(0, this.#owed);
    this.#owed = 0;
  }
}
