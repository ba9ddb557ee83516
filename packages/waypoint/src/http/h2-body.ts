// Owns the two body directions of one HTTP/2 stream: octets that wait for windows, and the peer's credit while our side waits.
import type { Fields, H2Stream } from "@ambit/http";
import type { H2Owner, H2Shell } from "./h2-shell.ts";

const EMPTY = new Uint8Array(0);

/** What both sides' owners of a stream are made of. Until `opened` there is nothing to command. */
export class H2Body {
  protected readonly shell: H2Shell;
  protected stream: H2Stream<H2Owner> | undefined = undefined;
  /** undefined: nothing waits. */
  #outbox: Uint8Array[] | undefined = undefined;
  /** Set when our half is to end behind the outbox. */
  #ending: Fields | undefined = undefined;
  #paused = false;

  constructor(shell: H2Shell) {
    this.shell = shell;
  }

  opened(stream: H2Stream<H2Owner>): void {
    this.stream = stream;
  }

  /** Takes all; false: wait until `flush` says true. */
  write(bytes: Uint8Array): boolean {
    const { stream } = this;
    if (stream === undefined) return true;
    if (bytes.length === 0) return this.#outbox === undefined;
    if (this.#outbox !== undefined) {
      this.#outbox.push(bytes);
      return false;
    }
    const taken = this.shell.h2.data(stream, bytes, false);
    this.shell.touch();
    if (taken === bytes.length) return true;
    this.#outbox = [taken === 0 ? bytes : bytes.subarray(taken)];
    return false;
  }

  end(trailers: Fields): void {
    this.#ending = trailers;
    if (this.#outbox === undefined) this.#end(trailers);
  }

  /** The machine has room: true when nothing waits any more and our half stays open. */
  flush(): boolean {
    const { stream } = this;
    if (stream === undefined) return false;
    const outbox = this.#outbox;
    if (outbox !== undefined) {
      let sent = 0;
      for (; sent < outbox.length; sent++) {
        const piece = outbox[sent];
        if (piece === undefined) break;
        const taken = this.shell.h2.data(stream, piece, false);
        if (taken === piece.length) continue;
        outbox[sent] = piece.subarray(taken);
        break;
      }
      this.#outbox = sent === outbox.length ? undefined : outbox.slice(sent);
    }
    this.shell.touch();
    if (this.#outbox !== undefined) return false;
    if (this.#ending === undefined) return true;
    this.#end(this.#ending);
    return false;
  }

  /** So many octets went on: their credit goes back now, or when we go on. */
  received(octets: number): void {
    if (this.#paused || this.stream === undefined) return;
    this.shell.h2.consumed(this.stream, octets);
    this.shell.touch();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.stream !== undefined) this.received(this.stream.unconsumed);
  }

  reset(code: number): void {
    this.#outbox = undefined;
    if (this.stream === undefined) return;
    this.shell.h2.reset(this.stream, code);
    this.shell.changed();
  }

  #end(trailers: Fields): void {
    if (this.stream === undefined) return;
    if (trailers.length > 0) this.shell.h2.trailers(this.stream, trailers);
    else this.shell.h2.data(this.stream, EMPTY, true);
    this.shell.changed();
  }
}
