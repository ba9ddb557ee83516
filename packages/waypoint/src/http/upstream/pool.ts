// Owns the connections to endpoints of one key: which attempt gets which connection, which waits, which are closed.
import { MeshError } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { UpstreamEndpoint, UpstreamsOptions } from "../options.ts";
import type { UpstreamAttempt } from "./attempt.ts";
import { H1Upstream } from "./h1-upstream.ts";
import { H2Upstream } from "./h2-upstream.ts";
import type { DestinationLimits } from "./limits.ts";

type Connection = H1Upstream | H2Upstream;

export class EndpointPool {
  /** Attempts under way or waiting. */
  active = 0;
  readonly #o: UpstreamsOptions;
  readonly #clock: Clock;
  /** Of the destination, shared with its other endpoints. */
  readonly limits: DestinationLimits;
  readonly #onRoom: () => void;
  #endpoint: UpstreamEndpoint;
  /** Waiting for a connection, oldest first. */
  readonly #waiting = new Set<UpstreamAttempt>();
  readonly #idle: H1Upstream[] = [];
  readonly #all = new Set<Connection>();
  readonly #connecting = new Set<AbortController>();
  #forgotten = false;

  constructor(endpoint: UpstreamEndpoint, o: UpstreamsOptions, limits: DestinationLimits, onRoom: () => void) {
    this.#endpoint = endpoint;
    this.#o = o;
    this.#clock = o.clock;
    this.limits = limits;
    this.#onRoom = onRoom;
  }

  get empty(): boolean {
    return this.active === 0 && this.#all.size === 0 && this.#connecting.size === 0;
  }

  /** False: the attempt would have to wait, and may not. */
  take(attempt: UpstreamAttempt): boolean {
    this.#endpoint = attempt.endpoint;
    const connection = this.#usable(attempt.fresh);
    if (connection !== undefined) {
      this.#start(connection, attempt);
      return true;
    }
    if (!this.limits.mayWait(attempt.endpoint)) return false;
    this.#waiting.add(attempt);
    this.limits.pending++;
    this.#connectIfNeeded();
    return true;
  }

  /** An attempt that is over: it waits no more. */
  left(attempt: UpstreamAttempt): void {
    if (this.#waiting.delete(attempt)) this.limits.pending--;
  }

  /** Another pool of the destination gave a connection back. */
  wake(): void {
    if (this.#waiting.size > 0) this.#connectIfNeeded();
  }

  /** Closes connections that were idle for too long. */
  sweep(now: number): void {
    for (const connection of this.#all) {
      const idle = connection instanceof H1Upstream ? this.#idle.includes(connection) : connection.active === 0;
      if (idle && now - connection.idleSince >= this.#endpoint.pool.idleTimeoutMs) connection.close();
    }
  }

  /** Idle connections end now, busy ones after their requests; new attempts open new ones, unless nobody asks. */
  forget(): void {
    this.#forgotten = true;
    for (const connection of this.#idle.slice()) connection.close();
    for (const connection of this.#all) if (connection instanceof H2Upstream) connection.retire();
  }

  destroy(): void {
    for (const abort of this.#connecting) abort.abort(new MeshError("drained", "the waypoint drains"));
    for (const connection of [...this.#all]) {
      if (connection instanceof H1Upstream) connection.onClose(new MeshError("drained", "the waypoint drains"));
      else connection.close();
    }
  }

  #usable(fresh: boolean): Connection | undefined {
    if (this.#endpoint.protocol === "http1") {
      if (fresh) return undefined;
      for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) if (connection.usable) return connection;
      return undefined;
    }
    for (const connection of this.#all) if (connection instanceof H2Upstream && connection.settled && connection.usable && !(fresh && connection.served > 0) && !this.#worn(connection)) return connection;
    return undefined;
  }

  #worn(connection: Connection): boolean {
    const most = this.#endpoint.pool.maxRequestsPerConnection;
    return most !== undefined && most > 0 && connection.served >= most;
  }

  #start(connection: Connection, attempt: UpstreamAttempt): void {
    connection.start(attempt);
    if (connection instanceof H2Upstream && this.#worn(connection)) connection.retire();
  }

  #connectIfNeeded(): void {
    // An HTTP/2 connection will take many, as far as its settings are not known yet.
    const wanted = this.#endpoint.protocol === "http1" ? this.#waiting.size : Math.min(1, this.#waiting.size);
    const unsettled = [...this.#all].filter((c) => c instanceof H2Upstream && !c.settled && !c.over).length;
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
      const connection = new H1Upstream(stream, this.#clock, { onIdle: (c) => this.#onIdle(c), onGone: (c) => this.#onGone(c) });
      this.#all.add(connection);
      this.#onIdle(connection);
      return;
    }
    const connection = new H2Upstream(stream, this.#clock, { onChange: (c) => this.#onChange(c), onGone: (c) => this.#onGone(c) });
    connection.idleSince = this.#clock.monotonic();
    this.#all.add(connection);
    // A peer that says nothing is not connected yet.
    this.#clock.after(endpoint.pool.connectTimeoutMs, () => { if (!connection.settled) connection.close(); });
  }

  #onIdle(connection: H1Upstream): void {
    if (!connection.usable || this.#worn(connection)) return connection.close();
    for (const attempt of this.#waiting) {
      if (attempt.fresh && connection.served > 0) continue;
      this.left(attempt);
      return this.#start(connection, attempt);
    }
    if (this.#forgotten && this.active === 0) return connection.close();
    connection.idleSince = this.#clock.monotonic();
    this.#idle.push(connection);
  }

  #onChange(connection: H2Upstream): void {
    if (connection.over) return this.#onGone(connection);
    if (connection.active === 0) connection.idleSince = this.#clock.monotonic();
    if (!connection.settled) return;
    for (const attempt of this.#waiting) {
      if (!connection.usable || this.#worn(connection)) break;
      if (attempt.fresh && connection.served > 0) continue;
      this.left(attempt);
      this.#start(connection, attempt);
    }
    if (this.#waiting.size > 0) this.#connectIfNeeded();
  }

  #onGone(connection: Connection): void {
    if (!this.#all.delete(connection)) return;
    if (connection instanceof H1Upstream) {
      const at = this.#idle.indexOf(connection);
      if (at >= 0) this.#idle.splice(at, 1);
    }
    this.limits.connections--;
    if (connection instanceof H2Upstream && !connection.settled) {
      for (const attempt of [...this.#waiting]) attempt.failed({ kind: "connect", why: "the upstream closed the connection before its settings", timeout: false });
    }
    this.#onRoom();
    this.#connectIfNeeded();
  }
}
