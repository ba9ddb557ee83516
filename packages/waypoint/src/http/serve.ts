// Owns one connection of a client from its first octet: which protocol it speaks, and who serves it.
import { useMemory } from "@ambit/http";
import { afterSilence, type Timer } from "@ambit/runtime";
import { atEndOfTurn, type ByteStream, type ByteStreamHandler } from "@ambit/transport";
import type { ConnectionFacts, PortProtocol } from "../facts.ts";
import { detectProtocol } from "./detect.ts";
import { H1Downstream, HEAD_MS, IDLE_MS } from "./h1-downstream.ts";
import { H2Downstream } from "./h2-downstream.ts";
import type { HttpOptions, HttpSession, Served } from "./options.ts";
import { ReplayStream } from "./replay-stream.ts";

useMemory(Buffer.allocUnsafeSlow);

/** On a port of unknown protocol a client that says nothing for so long may be one whose server speaks first. */
export const DETECT_MS = 300;
/** The first octet of every TLS connection (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;
/** More than any first line that is looked at. */
const SNIFF_MAX_OCTETS = 16 << 10;

/** Serves HTTP on `stream`, or gives it back as TCP: at once for `tcp` and `tls`, and with `detect` when it is no HTTP. */
export function serveHttp(stream: ByteStream, connection: ConnectionFacts, protocol: PortProtocol, o: HttpOptions): HttpSession {
  if (protocol === "tcp" || protocol === "tls") {
    const done: Served = { kind: "tcp", stream, tls: protocol === "tls" };
    return { done: Promise.resolve(done), active: 0, drain: () => {}, destroy: (reason) => stream.destroy(reason) };
  }
  return new Session(stream, connection, protocol === "detect", o);
}

class Session implements HttpSession, ByteStreamHandler {
  readonly done: Promise<Served>;
  readonly #stream: ByteStream;
  readonly #connection: ConnectionFacts;
  readonly #o: HttpOptions;
  readonly #mayBeTcp: boolean;
  #waiting: Timer | undefined;
  #resolve: (served: Served) => void = () => {};
  #pieces: Uint8Array[] = [];
  #octets = 0;
  #decided = false;
  #ended = false;
  #draining = false;
  #server: H1Downstream | H2Downstream | undefined;

  constructor(stream: ByteStream, connection: ConnectionFacts, mayBeTcp: boolean, o: HttpOptions) {
    this.#stream = stream;
    this.#connection = connection;
    this.#o = o;
    this.#mayBeTcp = mayBeTcp;
    this.done = new Promise((resolve) => (this.#resolve = resolve));
    this.#waiting = mayBeTcp ? afterSilence(o.clock, o.detectMs ?? DETECT_MS, () => this.#decide(this.#octets === 0 ? "other" : this.#guess())) : o.clock.after(IDLE_MS, () => this.#stream.destroy(new Error("nothing was ever said")));
    stream.attach(this);
  }

  get active(): number {
    return this.#server?.active ?? 0;
  }

  drain(): void {
    this.#draining = true;
    if (this.#server !== undefined) this.#server.drain();
    else if (!this.#decided && this.#octets === 0 && !this.#mayBeTcp) this.#stream.end();
  }

  destroy(reason: Error): void {
    if (this.#server !== undefined) this.#server.destroy(reason);
    else this.#stream.destroy(reason);
  }

  onData(bytes: Uint8Array): void {
    if (this.#decided) {
      this.#pieces.push(bytes); // on the way when the stream was paused
      return;
    }
    this.#pieces.push(bytes);
    this.#octets += bytes.length;
    const seen = this.#look();
    if (seen === "more" && this.#octets < SNIFF_MAX_OCTETS) {
      // A beginning that stays one: HTTP/1 has the answer, and its own patience.
      if (!this.#mayBeTcp && this.#octets === bytes.length) this.#wait(HEAD_MS, () => this.#decide("http1"));
      return;
    }
    this.#decide(seen === "more" ? "http1" : seen);
  }

  onEnd(): void {
    this.#ended = true;
    if (this.#decided) return;
    if (this.#octets === 0 && !this.#mayBeTcp) {
      this.#stream.end();
      return;
    }
    this.#decide(this.#octets === 0 ? "other" : this.#guess());
  }

  onDrain(): void {}

  onClose(): void {
    this.#waiting?.cancel();
    if (!this.#decided) this.#resolve({ kind: "served" });
    this.#decided = true;
  }

  #wait(ms: number, task: () => void): void {
    this.#waiting?.cancel();
    this.#waiting = this.#o.clock.after(ms, task);
  }

  #look(): ReturnType<typeof detectProtocol> {
    const [first] = this.#pieces;
    return detectProtocol(this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces));
  }

  /** The rest does not come: what would it be? */
  #guess(): "http1" | "http2" | "other" {
    const seen = this.#look();
    return seen === "more" ? "other" : seen;
  }

  #decide(seen: "http1" | "http2" | "other"): void {
    if (this.#decided) return;
    this.#decided = true;
    this.#waiting?.cancel();
    this.#stream.pause();
    // What a ByteStream delivers in this turn still comes here; then the stream has a new handler.
    atEndOfTurn(() => this.#handOver(seen));
  }

  #handOver(seen: "http1" | "http2" | "other"): void {
    const stream = new ReplayStream(this.#stream, this.#pieces, this.#ended);
    const tls = this.#pieces[0]?.[0] === TLS_HANDSHAKE;
    this.#pieces = [];
    if (seen === "other" && this.#mayBeTcp) return this.#resolve({ kind: "tcp", stream, tls });
    const over = (): void => this.#resolve({ kind: "served" });
    this.#server = seen === "http2" ? new H2Downstream(stream, this.#connection, this.#o, over) : new H1Downstream(stream, this.#connection, this.#o, over);
    if (this.#draining) this.#server.drain();
  }
}
