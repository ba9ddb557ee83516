// Owns the shape of one request's way back to its client, the same for HTTP/1 and HTTP/2.
import type { BodySize, Fields } from "@ambit/http";

/** Commands. Each is harmless when the client is gone. */
export interface Downstream {
  informational(status: number, fields: Fields): void;
  /** The head. Of an answer that has no body (HEAD, 304) `size` is what is said only. `last`: the rest of the request is not wanted. */
  respond(status: number, fields: Fields, size: BodySize, last: boolean): void;
  /** The other protocol's octets follow, both ways. */
  upgrade(protocol: string, fields: Fields): void;
  /** Takes all; false: wait for `onWritable` of the exchange before more. */
  write(bytes: Uint8Array): boolean;
  /** The answer is complete. The exchange is over for the connection. */
  end(trailers: Fields): void;
  /** The answer cannot be completed: the client must see that. The exchange is over. */
  cut(): void;
  /** Of the request's body no more than a window, or a read, until `resumeBody`. */
  pauseBody(): void;
  resumeBody(): void;
}

/** What a connection tells its exchange. */
export interface DownstreamEvents {
  onBody(bytes: Uint8Array): void;
  onBodyTrailers(fields: Fields): void;
  onBodyEnd(): void;
  /** The client went away before the end; nothing can be sent. `protocol`: it broke the rules in the body. */
  onClientGone(protocol: boolean): void;
  onWritable(): void;
}
