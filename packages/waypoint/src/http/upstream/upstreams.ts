// Owns the shape of the upstream side: attempts at endpoints, over pooled connections, within the limits of their destination.
import type { Fields } from "@ambit/http";
import type { AttemptOutcome, UpstreamEndpoint } from "../options.ts";

/** What is sent. Framing (length, chunks, END_STREAM) is the connection's. */
export interface AttemptRequest {
  readonly method: string;
  readonly authority: string;
  readonly target: string;
  /** Without host, framing and hop-by-hop fields. */
  readonly fields: Fields;
  /** `none`: complete with the head. A number: octets that will be written. `unknown`: until `end`. */
  readonly body: "none" | "unknown" | number;
  /** The protocol to switch to, if the upstream agrees. */
  readonly upgrade: string | undefined;
  readonly retry: boolean;
}

/** Why there is no (whole) answer. */
export type AttemptFailure = Exclude<AttemptOutcome["result"], { kind: "answered" }>;

/** They come one after another, never during a command. After `onEnd` or `onFailed` nothing more comes. */
export interface AttemptEvents {
  onInformational(status: number, fields: Fields): void;
  /** `upgraded`: what follows is the other protocol's octets, both ways. `end`: no body, no trailers; `onEnd` follows. */
  onAnswer(status: number, fields: Fields, upgraded: boolean): void;
  onData(bytes: Uint8Array): void;
  onTrailers(fields: Fields): void;
  /** The whole answer came. */
  onEnd(): void;
  onFailed(failure: AttemptFailure): void;
  /** After `write` returned false. */
  onWritable(): void;
}

export interface Attempt {
  readonly endpoint: UpstreamEndpoint;
  /** Octets of the request may have left. */
  readonly sent: boolean;
  /** It is the second or a later request of its connection. */
  readonly reused: boolean;
  /** Takes all; false: wait for `onWritable` before more. */
  write(bytes: Uint8Array): boolean;
  end(trailers: Fields): void;
  /** No more of the answer's body than one window, or one read, until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends it without further events. */
  abandon(): void;
}

export interface HttpUpstreams {
  /** Requests under way or waiting at endpoints of this key. */
  active(key: string): number;
  attempt(endpoint: UpstreamEndpoint, request: AttemptRequest, events: AttemptEvents, fresh: boolean): Attempt;
  /** Closes idle connections of this key now, busy ones after their requests: the endpoint is gone. */
  forget(key: string): void;
  /** Closes every connection: idle ones at once, busy ones when their requests ended, at most after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}
