// Owns the connections to endpoints of one key: which attempt gets which connection, which waits, which are closed.
import { MeshError } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { UpstreamEndpoint, UpstreamsOptions } from "../options.ts";
import type { EventTime } from "../event-time.ts";
import type { AttemptOwner, UpstreamAttempt } from "./attempt.ts";
import { H1Upstream } from "./h1-upstream.ts";
import { H2Upstream } from "./h2-upstream.ts";
import type { DestinationLimits } from "./limits.ts";

export class EndpointPool implements AttemptOwner {
  /** Attempts under way or waiting. */
  active = 0;
  readonly #o: UpstreamsOptions;
  readonly #clock: Clock;
  readonly #time: EventTime;
  /** Of the destination, shared with its other endpoints. */
  readonly limits: DestinationLimits;
  /** `room`: a connection ended, and not only an attempt. */
  readonly #onRoom: (room: boolean) => void;
  #endpoint: UpstreamEndpoint;
  /** Waiting for a connection, oldest first. */
  readonly #waiting = new Set<UpstreamAttempt>();
  readonly #h1 = new Set<H1Upstream>();
  /** Of `#h1`: those that may take an attempt, the last to become so is the first to be asked. */
  readonly #idle: H1Upstream[] = [];
  readonly #h2: H2Upstream[] = [];
  readonly #connecting = new Set<AbortController>();
  #forgotten = false;

  constructor(endpoint: UpstreamEndpoint, o: UpstreamsOptions, time: EventTime, limits: DestinationLimits, onRoom: (room: boolean) => void) {
    this.#endpoint = endpoint;
    this.#o = o;
    this.#clock = o.clock;
    this.#time = time;
    this.limits = limits;
    this.#onRoom = onRoom;
  }

  get empty(): boolean {
    return this.active === 0 && this.#h1.size === 0 && this.#h2.length === 0 && this.#connecting.size === 0;
  }

  count(attempt: UpstreamAttempt): void {
    attempt.counted = true;
    attempt.limits.requests++;
    this.active++;
  }

  /** False: the attempt would have to wait, and may not. */
  take(attempt: UpstreamAttempt): boolean {
    this.#endpoint = attempt.endpoint;
    if (this.#startNow(attempt)) return true;
    if (!this.limits.mayWait(attempt.endpoint)) return false;
    this.#waiting.add(attempt);
    attempt.waiting = true;
    this.limits.pending++;
    this.#connectIfNeeded();
    return true;
  }

  /** An attempt is over: it waits no more and counts no more. */
  left(attempt: UpstreamAttempt): void {
    this.#waitsNoMore(attempt);
    if (!attempt.counted) return;
    attempt.counted = false;
    attempt.limits.requests--;
    this.active--;
    this.#onRoom(false);
  }

  #waitsNoMore(attempt: UpstreamAttempt): void {
    if (!attempt.waiting) return;
    attempt.waiting = false;
    this.#waiting.delete(attempt);
    this.limits.pending--;
  }

  /** Another pool of the destination gave a connection back. */
  wake(): void {
    if (this.#waiting.size > 0) this.#connectIfNeeded();
  }

  /** Closes connections that were idle for too long. */
  sweep(now: number): void {
    const { idleTimeoutMs } = this.#endpoint.pool;
    for (const connection of this.#idle.slice()) if (now - connection.idleSince >= idleTimeoutMs) connection.close();
    for (const connection of this.#h2.slice()) if (connection.active === 0 && now - connection.idleSince >= idleTimeoutMs) connection.close();
  }

  /** Idle connections end now, busy ones after their requests; new attempts open new ones, unless nobody asks. */
  forget(): void {
    this.#forgotten = true;
    for (const connection of this.#idle.slice()) connection.close();
    for (const connection of this.#h2.slice()) connection.retire();
  }

  destroy(): void {
    for (const abort of this.#connecting) abort.abort(new MeshError("drained", "the waypoint drains"));
    for (const connection of [...this.#h1]) connection.onClose(new MeshError("drained", "the waypoint drains"));
    for (const connection of this.#h2.slice()) connection.close();
  }

  /** On a connection that is there. */
  #startNow(attempt: UpstreamAttempt): boolean {
    if (this.#endpoint.protocol === "http1") {
      if (attempt.fresh) return false;
      for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
        if (!connection.usable) continue;
        connection.start(attempt);
        return true;
      }
      return false;
    }
    for (let i = 0; i < this.#h2.length; i++) {
      const connection = this.#h2[i];
      if (connection === undefined || !this.#takes(connection, attempt)) continue;
      this.#startOn(connection, attempt);
      return true;
    }
    return false;
  }

  #takes(connection: H2Upstream, attempt: UpstreamAttempt): boolean {
    return connection.settled && connection.usable && !(attempt.fresh && connection.served > 0) && !this.#worn(connection);
  }

  #worn(connection: H1Upstream | H2Upstream): boolean {
    const most = this.#endpoint.pool.maxRequestsPerConnection;
    return most !== undefined && most > 0 && connection.served >= most;
  }

  #startOn(connection: H2Upstream, attempt: UpstreamAttempt): void {
    connection.start(attempt);
    if (this.#worn(connection)) connection.retire();
  }

  #connectIfNeeded(): void {
    // An HTTP/2 connection will take many, as far as its settings are not known yet.
    const wanted = this.#endpoint.protocol === "http1" ? this.#waiting.size : Math.min(1, this.#waiting.size);
    let unsettled = 0;
    for (const connection of this.#h2) if (!connection.settled && !connection.over) unsettled++;
    while (this.#connecting.size + unsettled < wanted && this.limits.mayConnect(this.#endpoint)) this.#connect();
  }

  #connect(): void {
    const endpoint = this.#endpoint;
    const abort = new AbortController();
    this.#connecting.add(abort);
    this.limits.connections++;
    let timeout = false;
    const timer = this.#clock.after(endpoint.pool.connectTimeoutMs, () => {
      timeout = true;
      abort.abort(new MeshError("connect-timeout", `no connection within ${endpoint.pool.connectTimeoutMs} ms`));
    });
    this.#o.open(endpoint, abort.signal).then((stream) => {
      timer.cancel();
      this.#connecting.delete(abort);
      if (abort.signal.aborted) {
        stream.destroy();
        this.#notConnected(String(abort.signal.reason), timeout);
      } else this.#connected(stream, endpoint);
    }, (error: unknown) => {
      timer.cancel();
      this.#connecting.delete(abort);
      const slow = timeout || (error instanceof MeshError && error.code === "connect-timeout");
      this.#notConnected(error instanceof Error ? error.message : String(error), slow);
    });
  }

  /** HTTP/1: the oldest attempt pays for it. HTTP/2: all that waited for this one connection. */
  #notConnected(why: string, timeout: boolean): void {
    this.limits.connections--;
    const attempts = this.#endpoint.protocol === "http1" ? [...this.#waiting].slice(0, 1) : [...this.#waiting];
    for (const attempt of attempts) attempt.failed({ kind: "connect", why, timeout });
    this.#connectIfNeeded();
  }

  #connected(stream: ByteStream, endpoint: UpstreamEndpoint): void {
    if (endpoint.protocol === "http1") {
      const connection = new H1Upstream(stream, this.#clock, this.#time, { onIdle: (c) => this.#onIdle(c), onGone: (c) => this.#onH1Gone(c) });
      this.#h1.add(connection);
      this.#onIdle(connection);
      return;
    }
    const connection = new H2Upstream(stream, this.#clock, this.#time, { onChange: (c) => this.#onChange(c), onGone: (c) => this.#onH2Gone(c) });
    connection.idleSince = this.#time.monotonic;
    this.#h2.push(connection);
    // A peer that says nothing is not connected yet.
    this.#clock.after(endpoint.pool.connectTimeoutMs, () => { if (!connection.settled) connection.close(); });
  }

  #onIdle(connection: H1Upstream): void {
    if (!connection.usable || this.#worn(connection)) return connection.close();
    if (this.#waiting.size > 0) for (const attempt of this.#waiting) {
      if (attempt.fresh && connection.served > 0) continue;
      this.#waitsNoMore(attempt);
      return connection.start(attempt);
    }
    if (this.#forgotten && this.active === 0) return connection.close();
    connection.idleSince = this.#time.monotonic;
    this.#idle.push(connection);
  }

  #onChange(connection: H2Upstream): void {
    if (connection.over) return this.#onH2Gone(connection);
    if (connection.active === 0) connection.idleSince = this.#time.monotonic;
    if (this.#waiting.size === 0 || !connection.settled) return;
    for (const attempt of this.#waiting) {
      if (!connection.usable || this.#worn(connection)) break;
      if (attempt.fresh && connection.served > 0) continue;
      this.#waitsNoMore(attempt);
      this.#startOn(connection, attempt);
    }
    if (this.#waiting.size > 0) this.#connectIfNeeded();
  }

  #onH1Gone(connection: H1Upstream): void {
    if (!this.#h1.delete(connection)) return;
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.limits.connections--;
    this.#onRoom(true);
    this.#connectIfNeeded();
  }

  #onH2Gone(connection: H2Upstream): void {
    const at = this.#h2.indexOf(connection);
    if (at < 0) return;
    this.#h2.splice(at, 1);
    this.limits.connections--;
    if (!connection.settled) for (const attempt of [...this.#waiting]) attempt.failed({ kind: "connect", why: "the upstream closed the connection before its settings", timeout: false });
    this.#onRoom(true);
    this.#connectIfNeeded();
  }
}
