// Owns the least shell around our HTTP/2 machine that a load program and a backend need.
import { H2Connection, type ConnectionEvents, type H2Stream } from "@ambit/http";
import { atEndOfTurn, type ByteStream } from "@ambit/transport";

/** Streams at once on one connection; proxies put all of theirs on one. */
const STREAMS_MAX = 1_000;

export class H2<C> {
  readonly h2: H2Connection<C>;
  readonly #stream: ByteStream;
  #scheduled = false;

  constructor(role: "client" | "server", stream: ByteStream, events: Omit<ConnectionEvents<C>, "onFailed" | "onReset" | "onWritable">, onOver: () => void) {
    this.#stream = stream;
    this.h2 = new H2Connection<C>({ role, limits: { maxConcurrentStreams: STREAMS_MAX } }, { ...events, onReset: onOver, onWritable: () => undefined, onFailed: () => { stream.destroy(); onOver(); } });
    stream.attach({
      onData: (bytes) => { this.h2.receive(bytes, performance.now()); this.touch(); }, onEnd: () => stream.end(), onDrain: () => { this.h2.resume(); this.touch(); }, onClose: onOver,
    });
    this.touch();
  }

  /** After every command. */
  touch(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    atEndOfTurn(() => {
      this.#scheduled = false;
      if (this.h2.pendingOutput === 0 || this.#stream.closed) return;
      if (this.#stream.writeMany(this.h2.takeOutput())) this.h2.resume();
    });
  }

  took(stream: H2Stream<C>, octets: number): void {
    this.h2.consumed(stream, octets);
  }
}
