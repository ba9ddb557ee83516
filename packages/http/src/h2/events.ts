// Owns the vocabulary in which a connection speaks to its shell.
import type { Fields } from "../hpack/decoder.ts";
import type { ConnectionError } from "./error-code.ts";
import type { PeerSettings } from "./settings.ts";
import type { H2Stream } from "./stream.ts";

/** Events must not throw. They may call every command. After `onReset` nothing more comes for a stream. */
export interface ConnectionEvents<C> {
  /** Server: a request, well-formed by RFC 9113; of a CONNECT, `:authority` may be missing; `:protocol` makes it an extended one. `endStream`: it has no body. `fields` are the receiver's: nothing here keeps the list. */
  onRequest?(stream: H2Stream<C>, fields: string[], endStream: boolean): void;
  /** Client: a response head of 1xx, before the final one. */
  onInformational?(stream: H2Stream<C>, status: number, fields: Fields): void;
  /** Client: the final response head; `fields` as of a request. */
  onResponse?(stream: H2Stream<C>, status: number, fields: string[], endStream: boolean): void;
  /** Before `onEnd`. Not on a CONNECT. */
  onTrailers?(stream: H2Stream<C>, fields: Fields): void;
  /** The peer gets credit for these octets only by `consumed`. They may be kept. */
  onData(stream: H2Stream<C>, bytes: Uint8Array): void;
  /** The peer ended its half. */
  onEnd(stream: H2Stream<C>): void;
  /**
   * The stream is over: the peer reset it, broke its rules (so we reset it), or the connection ended. `processed` false: the peer did not look at it,
   * it may be tried elsewhere. What the shell still holds of it is given back by `consumed` or `reset`.
   */
  onReset(stream: H2Stream<C>, code: number, processed: boolean): void;
  /** After `data` took less than it was given: try again. */
  onWritable(stream: H2Stream<C>): void;
  /** Called after each SETTINGS of the peer; the first one completes the handshake. */
  onSettings?(settings: Readonly<PeerSettings>): void;
  onPong?(): void;
  /** The peer takes no new streams. */
  onGoaway?(lastStreamId: number, code: number, debug: string): void;
  /** The peer broke the connection's rules; streams were reset before. The output (its GOAWAY) should still be sent, then the transport closed. */
  onFailed(error: ConnectionError): void;
}
