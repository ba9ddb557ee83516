// Owns every connection to every endpoint: one pool a key, one set of limits a destination.
import type { Timer } from "@ambit/runtime";
import { KeptOctets } from "../body-buffer.ts";
import type { UpstreamEndpoint, UpstreamsOptions } from "../options.ts";
import { EventTime } from "../event-time.ts";
import { TimerWheel } from "../timer-wheel.ts";
import { UpstreamAttempt } from "./attempt.ts";
import { DestinationLimits } from "./limits.ts";
import { EndpointPool } from "./pool.ts";
import type { Attempt, AttemptEvents, AttemptRequest, HttpUpstreams, Shared } from "./upstreams.ts";

/** How often idle connections are looked at: idle timeouts are of seconds to an hour. */
const SWEEP_MS = 1000;

export function createHttpUpstreams(o: UpstreamsOptions): HttpUpstreams {
  return new Upstreams(o);
}

class Upstreams implements HttpUpstreams {
  readonly shared: Shared;
  readonly #o: UpstreamsOptions;
  readonly #pools = new Map<string, EndpointPool>();
  readonly #limits = new Map<string, DestinationLimits>();
  readonly #sweeps: Timer;
  #drained: (() => void) | undefined;
  /** The deadline of draining is over: nothing is tried any more. */
  #closed = false;

  constructor(o: UpstreamsOptions) {
    this.#o = o;
    this.shared = { wheel: new TimerWheel(o.clock), time: new EventTime(o.clock), kept: new KeptOctets(), mirrors: 0 };
    this.#sweeps = o.clock.every(SWEEP_MS, () => this.#sweep());
  }

  active(key: string): number {
    return this.#pools.get(key)?.active ?? 0;
  }

  attempt(endpoint: UpstreamEndpoint, request: AttemptRequest, events: AttemptEvents, fresh: boolean): Attempt {
    const pool = this.#poolOf(endpoint);
    // Endpoints of one key may be of several destinations: two ports of a service that lead to one of its pods.
    const limits = pool.limits.cluster === endpoint.cluster ? pool.limits : this.#limitsOf(endpoint);
    const attempt = new UpstreamAttempt(endpoint, request, fresh, events, pool, limits);
    if (this.#closed) queueMicrotask(() => attempt.failed({ kind: "connect", why: "the waypoint drains", timeout: false }));
    else if (!limits.mayRequest(endpoint)) queueMicrotask(() => attempt.failed({ kind: "overflow", limit: "requests" }));
    else {
      pool.count(attempt);
      if (!pool.take(attempt)) queueMicrotask(() => attempt.failed({ kind: "overflow", limit: "pending" }));
    }
    return attempt;
  }

  retry(endpoint: UpstreamEndpoint): (() => void) | undefined {
    const limits = this.#limitsOf(endpoint);
    if (!limits.mayRetry(endpoint)) return undefined;
    limits.retries++;
    let over = false;
    return () => {
      if (!over) limits.retries--;
      over = true;
    };
  }

  forget(key: string): void {
    this.#pools.get(key)?.forget();
  }

  async drain(deadlineMs: number): Promise<void> {
    const done = new Promise<void>((resolve) => (this.#drained = resolve));
    const timer = this.#o.clock.after(deadlineMs, () => {
      this.#closed = true;
      for (const pool of this.#pools.values()) pool.destroy();
      this.#onRoom(undefined);
    }, { hold: true });
    for (const pool of this.#pools.values()) pool.forget();
    this.#onRoom(undefined);
    await done;
    timer.cancel();
    this.#sweeps.cancel();
  }

  #limitsOf(endpoint: UpstreamEndpoint): DestinationLimits {
    let limits = this.#limits.get(endpoint.cluster);
    if (limits === undefined) this.#limits.set(endpoint.cluster, (limits = new DestinationLimits(endpoint.cluster)));
    return limits;
  }

  #poolOf(endpoint: UpstreamEndpoint): EndpointPool {
    const pool = this.#pools.get(endpoint.key);
    if (pool !== undefined) return pool;
    const limits = this.#limitsOf(endpoint);
    const made = new EndpointPool(endpoint, this.#o, this.shared.time, limits, (room) => this.#onRoom(room ? limits : undefined));
    this.#pools.set(endpoint.key, made);
    return made;
  }

  /** A connection (of `limits`) or an attempt ended: others of the destination may have waited for it. */
  #onRoom(limits: DestinationLimits | undefined): void {
    if (limits !== undefined && limits.pending > 0) for (const pool of this.#pools.values()) if (pool.limits === limits) pool.wake();
    if (this.#drained === undefined) return;
    for (const pool of this.#pools.values()) if (!pool.empty) return;
    this.#drained();
  }

  #sweep(): void {
    const now = this.#o.clock.monotonic();
    for (const [key, pool] of this.#pools) {
      pool.sweep(now);
      if (pool.empty) this.#pools.delete(key);
    }
    const used = new Set([...this.#pools.values()].map((pool) => pool.limits));
    for (const [cluster, limits] of this.#limits) if (limits.empty && !used.has(limits)) this.#limits.delete(cluster);
  }
}
