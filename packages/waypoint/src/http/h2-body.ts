// Owns the two body directions of one HTTP/2 stream: octets that wait for windows, and the peer's credit while our side waits.
import type { Fields, H2Stream } from "@ambit/http";
import type { H2Owner, H2Shell } from "./h2-shell.ts";

const EMPTY = new Uint8Array(0);

export class H2Body {
  readonly #shell: H2Shell;
  readonly #stream: H2Stream<H2Owner>;
  #outbox: Uint8Array[] = [];
  /** Set when our half is to end behind the outbox. */
  #ending: Fields | undefined;
  #paused = false;

  constructor(shell: H2Shell, stream: H2Stream<H2Owner>) {
    this.#shell = shell;
    this.#stream = stream;
  }

  /** Takes all; false: wait until `flush` says true. */
  write(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return this.#outbox.length === 0;
    if (this.#outbox.length > 0) {
      this.#outbox.push(bytes);
      return false;
    }
    const taken = this.#shell.h2.data(this.#stream, bytes, false);
    this.#shell.touch();
    if (taken === bytes.length) return true;
    this.#outbox.push(taken === 0 ? bytes : bytes.subarray(taken));
    return false;
  }

  end(trailers: Fields): void {
    this.#ending = trailers;
    if (this.#outbox.length === 0) this.#end(trailers);
  }

  /** The machine has room: true when nothing waits any more and our half stays open. */
  flush(): boolean {
    for (let head = this.#outbox[0]; head !== undefined; head = this.#outbox[0]) {
      const taken = this.#shell.h2.data(this.#stream, head, false);
      if (taken < head.length) {
        this.#outbox[0] = head.subarray(taken);
        break;
      }
      this.#outbox.shift();
    }
    this.#shell.touch();
    if (this.#outbox.length > 0) return false;
    if (this.#ending === undefined) return true;
    this.#end(this.#ending);
    return false;
  }

  /** So many octets went on: their credit goes back now, or when we go on. */
  received(octets: number): void {
    if (this.#paused) return;
    this.#shell.h2.consumed(this.#stream, octets);
    this.#shell.touch();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.received(this.#stream.unconsumed);
  }

  reset(code: number): void {
    this.#outbox = [];
    this.#shell.h2.reset(this.#stream, code);
    this.#shell.changed();
  }

  #end(trailers: Fields): void {
    if (trailers.length > 0) this.#shell.h2.trailers(this.#stream, trailers);
    else this.#shell.h2.data(this.#stream, EMPTY, true);
    this.#shell.changed();
  }
}
