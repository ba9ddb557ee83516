// Owns the shape of the upstream side: attempts at endpoints, over pooled connections, within the limits of their destination.
import type { Fields } from "@ambit/http";
import type { KeptOctets } from "../body-buffer.ts";
import type { EventTime } from "../event-time.ts";
import type { TimerWheel } from "../timer-wheel.ts";
import type { AttemptOutcome, UpstreamEndpoint } from "../options.ts";

/** What is sent. Framing (length, chunks, END_STREAM) is the connection's. */
export interface AttemptRequest {
  readonly method: string;
  readonly authority: string;
  readonly target: string;
  /** Without host, framing and hop-by-hop fields. */
  readonly passed: Fields;
  /** Behind them, likewise. */
  readonly added: Fields;
  /** `none`: complete with the head. A number: octets that will be written. `unknown`: until `end`. */
  readonly body: "none" | "unknown" | number;
  /** The protocol to switch to, if the upstream agrees. */
  readonly upgrade: string | undefined;
}

/** Why there is no (whole) answer. */
export type AttemptFailure = Exclude<AttemptOutcome["result"], { kind: "answered" }>;

/** They come one after another, never during a command. After `onEnd` or `onFailed` nothing more comes. */
export interface AttemptEvents {
  onInformational(status: number, fields: Fields): void;
  /** The final head; `fields` are given away. `upgraded`: what follows is the other protocol's octets, both ways. `empty`: no body, no trailers; `onEnd` follows. */
  onAnswer(status: number, fields: string[], kind: "body" | "empty" | "upgraded"): void;
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
  /** It is the second or a later request of its connection, and nothing of an answer came: the peer may have closed it before. */
  readonly stale: boolean;
  /** Takes all; false: wait for `onWritable` before more. */
  write(bytes: Uint8Array): boolean;
  end(trailers: Fields): void;
  /** No more of the answer's body than one window, or one read, until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends it without further events. */
  abandon(): void;
}

/** What all requests of a process share. */
export interface Shared {
  readonly wheel: TimerWheel;
  readonly time: EventTime;
  readonly kept: KeptOctets;
  /** Mirrored requests under way. */
  mirrors: number;
}

export interface HttpUpstreams {
  readonly shared: Shared;
  /** Requests under way or waiting at endpoints of this key. */
  active(key: string): number;
  /** `fresh`: on a connection that had no request before. */
  attempt(endpoint: UpstreamEndpoint, request: AttemptRequest, events: AttemptEvents, fresh: boolean): Attempt;
  /** Counts a retry of the endpoint's destination against its limit or budget; undefined: not now. Call the result when the retry is over. */
  retry(endpoint: UpstreamEndpoint): (() => void) | undefined;
  /** Closes idle connections of this key now, busy ones after their requests: the endpoint is gone. */
  forget(key: string): void;
  /** Closes every connection: idle ones at once, busy ones when their requests ended, at most after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}
