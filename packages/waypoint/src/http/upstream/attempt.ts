// Owns one attempt: what was asked and written before it had a connection, and that its events come once and in order.
import type { Fields } from "@ambit/http";
import type { UpstreamEndpoint } from "../options.ts";
import type { DestinationLimits } from "./limits.ts";
import type { Attempt, AttemptEvents, AttemptFailure, AttemptRequest } from "./upstreams.ts";

/** One request on a connection. */
export interface Link {
  readonly sent: boolean;
  readonly stale: boolean;
  write(bytes: Uint8Array): boolean;
  end(trailers: Fields): void;
  pause(): void;
  resume(): void;
  /** No events follow. */
  abandon(): void;
}

/** Who counts it. */
export interface AttemptOwner {
  /** Once, before its last event. */
  left(attempt: UpstreamAttempt): void;
}

export class UpstreamAttempt implements Attempt {
  readonly endpoint: UpstreamEndpoint;
  readonly request: AttemptRequest;
  readonly fresh: boolean;
  /** Those of its destination. */
  readonly limits: DestinationLimits;
  /** It is among its owner's and its destination's requests; among those that wait for a connection. */
  counted = false;
  waiting = false;
  readonly #events: AttemptEvents;
  readonly #owner: AttemptOwner;
  #link: Link | undefined = undefined;
  /** As its link was at the end. */
  #wasSent = false;
  #wasStale = false;
  #over = false;
  /** Written before there was a connection: one piece, as `write` said that it is enough. */
  #early: Uint8Array[] | undefined = undefined;
  #earlyEnd: Fields | undefined = undefined;
  #paused = false;
  #answered = false;

  constructor(endpoint: UpstreamEndpoint, request: AttemptRequest, fresh: boolean, events: AttemptEvents, owner: AttemptOwner, limits: DestinationLimits) {
    this.endpoint = endpoint;
    this.request = request;
    this.fresh = fresh;
    this.limits = limits;
    this.#events = events;
    this.#owner = owner;
  }

  get over(): boolean {
    return this.#over;
  }

  get sent(): boolean {
    return this.#answered || (this.#link === undefined ? this.#wasSent : this.#link.sent);
  }

  get stale(): boolean {
    return !this.#answered && (this.#link === undefined ? this.#wasStale : this.#link.stale);
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    if (this.#link !== undefined) return this.#link.write(bytes);
    (this.#early ??= []).push(bytes);
    return false;
  }

  end(trailers: Fields): void {
    if (this.#over) return;
    if (this.#link === undefined) this.#earlyEnd = trailers;
    else this.#link.end(trailers);
  }

  pause(): void {
    this.#paused = true;
    this.#link?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#link?.resume();
  }

  abandon(): void {
    if (this.#over) return;
    this.#link?.abandon();
    this.#finish();
  }

  // ---- from the pool and the connection ----------------------------------------------------------------------------------------------------------

  /** The head is out: what waited follows. */
  began(link: Link): void {
    this.#link = link;
    if (this.#paused) link.pause();
    const early = this.#early;
    let room = true;
    if (early !== undefined) {
      this.#early = undefined;
      for (const piece of early) room = link.write(piece);
    }
    if (this.#earlyEnd !== undefined) link.end(this.#earlyEnd);
    else if (early !== undefined && room) this.#events.onWritable();
  }

  writable(): void {
    if (!this.#over) this.#events.onWritable();
  }

  informational(status: number, fields: Fields): void {
    if (!this.#over) this.#events.onInformational(status, fields);
  }

  answer(status: number, fields: string[], kind: "body" | "empty" | "upgraded"): void {
    this.#answered = true;
    if (!this.#over) this.#events.onAnswer(status, fields, kind);
  }

  data(bytes: Uint8Array): void {
    if (!this.#over) this.#events.onData(bytes);
  }

  trailers(fields: Fields): void {
    if (!this.#over) this.#events.onTrailers(fields);
  }

  /** The whole answer came. The rest of the request may still be written until `abandon`, so the link stays. */
  ended(): void {
    if (this.#over) return;
    this.#finish();
    this.#events.onEnd();
  }

  failed(failure: AttemptFailure): void {
    if (this.#over) return;
    this.#finish();
    this.#events.onFailed(failure);
  }

  #finish(): void {
    this.#over = true;
    const link = this.#link;
    if (link !== undefined) {
      this.#wasSent = link.sent;
      this.#wasStale = link.stale;
      this.#link = undefined;
    }
    this.#early = undefined;
    this.#owner.left(this);
  }
}
