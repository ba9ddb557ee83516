// Owns which tunnel is reused: tunnels by key, one being made per key at a time, streams counted while they are open.
import { formatIdentity, formatSocketAddress, MeshError, type Identity, type SocketAddress } from "@ambit/core";
import type { Limits } from "@ambit/http";
import { systemClock, type Clock, throwIfStopped, type StopSignal } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import { NotProcessed, TunnelClient, type OpenedTunnel, type OpenRequest } from "./tunnel-client.ts";

/** Streams open at once in one tunnel, as ambient peers do. */
export const STREAMS_MAX = 100;
/** A tunnel that nobody asked for in this time is released. */
export const UNUSED_RELEASE_MS = 300_000;
/** TCP and TLS together; ambient peers wait so long. */
export const TUNNEL_CONNECT_MS = 10_000;
/** A stream the peer did not process is tried once more, elsewhere. */
const TRIES = 2;

/** What two streams must share to share a tunnel. */
export interface PoolKey {
  readonly source: Identity;
  /** Identities that may answer at the next hop; at least one. */
  readonly expected: readonly Identity[];
  readonly nextHop: SocketAddress;
  readonly sourceIp: string;
}

export const poolKeyId = (key: PoolKey): string =>
  [formatIdentity(key.source), formatSocketAddress(key.nextHop), key.sourceIp, ...key.expected.map(formatIdentity).sort()].join("|");

export interface PoolOptions {
  /** A byte stream whose mutual TLS handshake (ALPN h2, identity among `expected`) is done. The signal ends an attempt that took too long. */
  readonly connect: (key: PoolKey, signal: AbortSignal) => Promise<ByteStream>;
  readonly maxStreams?: number;
  readonly unusedReleaseMs?: number;
  readonly connectMs?: number;
  readonly clock?: Clock;
  readonly limits?: Partial<Limits>;
}

export interface TunnelState {
  readonly key: PoolKey;
  readonly openStreams: number;
}

export interface Pool {
  /**
   * A stream to `authority` through a tunnel for `key`. Rejects with a MeshError (`tunnel-timeout`, `connect-timeout`, `connect-refused`, `tls-handshake`,
   * `identity-mismatch`, `h2-handshake`, `upstream-reset`, `drained`, or a TunnelRefused with its status) or with the signal's reason.
   */
  open(key: PoolKey, request: OpenRequest, signal?: StopSignal): Promise<OpenedTunnel>;
  /** Takes tunnels out of use; open streams go on, unless a reason to cut them is given. */
  closeWhere(matches: (key: PoolKey) => boolean, cut?: MeshError): void;
  /** Closes tunnels without open streams. */
  closeIdle(): void;
  /** Opens nothing more; waits for open streams, at most `deadlineMs`, then cuts them. */
  drain(deadlineMs: number): Promise<void>;
  tunnels(): TunnelState[];
}

export function createPool(options: PoolOptions): Pool {
  return new TunnelPool(options);
}

interface Entry {
  readonly key: PoolKey;
  readonly tunnels: Set<TunnelClient>;
  /** Settles (never rejects) with what went wrong, if anything. */
  creating: Promise<unknown> | undefined;
  usedAt: number;
}

class TunnelPool implements Pool {
  readonly #options: PoolOptions;
  readonly #clock: Clock;
  readonly #maxStreams: number;
  readonly #releaseMs: number;
  readonly #entries = new Map<string, Entry>();
  /** Every tunnel that is not closed, also those out of use. */
  readonly #alive = new Map<TunnelClient, PoolKey>();
  readonly #attempts = new Set<AbortController>();
  #draining = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#maxStreams = options.maxStreams ?? STREAMS_MAX;
    this.#releaseMs = options.unusedReleaseMs ?? UNUSED_RELEASE_MS;
  }

  async open(key: PoolKey, request: OpenRequest, signal?: StopSignal): Promise<OpenedTunnel> {
    for (let tries = 1; ; ) {
      throwIfStopped(signal);
      const entry = this.#entry(key);
      // Found and used in one step, so that nobody else takes the room in between.
      const opening = tunnelWithRoom(entry)?.open(request, signal);
      if (opening === undefined) {
        entry.creating ??= this.#create(entry);
        const failure = await abortable(entry.creating, signal);
        if (failure !== undefined) throw failure;
        continue;
      }
      try {
        return await opening;
      } catch (error) {
        if (!(error instanceof NotProcessed) || tries >= TRIES) throw error;
        tries++;
      }
    }
  }

  closeWhere(matches: (key: PoolKey) => boolean, cut?: MeshError): void {
    for (const [id, entry] of this.#entries) {
      if (!matches(entry.key)) continue;
      this.#entries.delete(id); // a tunnel still being made for it is retired when it comes
      for (const tunnel of entry.tunnels) tunnel.drain();
    }
    if (cut === undefined) return;
    for (const [tunnel, key] of this.#alive) if (matches(key)) tunnel.destroy(cut);
  }

  closeIdle(): void {
    for (const [tunnel] of this.#alive) if (tunnel.openStreams === 0) tunnel.drain();
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const reason = new MeshError("drained", `tunnels were drained, ${deadlineMs} ms deadline`);
    for (const attempt of this.#attempts) attempt.abort(reason);
    this.closeWhere(() => true);
    const timer = this.#clock.after(deadlineMs, () => {
      for (const tunnel of this.#alive.keys()) tunnel.destroy(reason);
    }, { hold: true });
    await Promise.all([...this.#alive.keys()].map((t) => t.closed));
    timer.cancel();
  }

  tunnels(): TunnelState[] {
    return [...this.#alive].map(([tunnel, key]) => ({ key, openStreams: tunnel.openStreams }));
  }

  #entry(key: PoolKey): Entry {
    if (this.#draining) throw new MeshError("drained", "the tunnel pool is drained");
    const id = poolKeyId(key);
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = { key, tunnels: new Set(), creating: undefined, usedAt: 0 };
      this.#entries.set(id, entry);
      this.#releaseLater(id, entry, this.#releaseMs);
    }
    entry.usedAt = this.#clock.monotonic();
    return entry;
  }

  /** Resolves with what went wrong: everybody who waits shares it. */
  async #create(entry: Entry): Promise<unknown> {
    try {
      const stream = await this.#connect(entry.key);
      const tunnel: TunnelClient = new TunnelClient(stream, { clock: this.#clock, maxStreams: this.#maxStreams, onChange: () => {
        if (!tunnel.usable) entry.tunnels.delete(tunnel);
      }, ...(this.#options.limits === undefined ? {} : { limits: this.#options.limits }) });
      this.#alive.set(tunnel, entry.key);
      void tunnel.closed.then(() => this.#alive.delete(tunnel));
      if (this.#entries.get(poolKeyId(entry.key)) === entry) entry.tunnels.add(tunnel);
      else tunnel.drain();
      return undefined;
    } catch (error) {
      return error;
    } finally {
      entry.creating = undefined;
    }
  }

  #connect(key: PoolKey): Promise<ByteStream> {
    const limitMs = this.#options.connectMs ?? TUNNEL_CONNECT_MS;
    const abort = new AbortController();
    this.#attempts.add(abort);
    return new Promise<ByteStream>((resolve, reject) => {
      const timer = this.#clock.after(limitMs, () => abort.abort(timeoutFault(key, limitMs)), { hold: true });
      abort.signal.addEventListener("abort", () => reject(abort.signal.reason), { once: true });
      this.#options.connect(key, abort.signal).then((stream) => {
        if (abort.signal.aborted) stream.destroy();
        else resolve(stream);
      }, reject).finally(() => {
        timer.cancel();
        this.#attempts.delete(abort);
      });
    });
  }

  #releaseLater(id: string, entry: Entry, delayMs: number): void {
    this.#clock.after(delayMs, () => {
      if (this.#entries.get(id) !== entry) return;
      const left = entry.usedAt + this.#releaseMs - this.#clock.monotonic();
      if (left > 0 || entry.creating !== undefined) return this.#releaseLater(id, entry, Math.max(left, 1));
      this.#entries.delete(id);
      for (const tunnel of entry.tunnels) tunnel.drain();
    });
  }
}

function tunnelWithRoom(entry: Entry): TunnelClient | undefined {
  for (const tunnel of entry.tunnels) if (tunnel.hasRoom) return tunnel;
  return undefined;
}

/** The port that NetworkPolicies often forget. */
const HBONE_PORT = 15008;

function timeoutFault(key: PoolKey, limitMs: number): MeshError {
  const where = `${formatSocketAddress(key.nextHop)} after ${limitMs} ms`;
  return key.nextHop.port === HBONE_PORT
    ? new MeshError("tunnel-timeout", `connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: ${where}`)
    : new MeshError("connect-timeout", `connection timed out: ${where}`);
}

/** Waits for `work`, or rejects with the signal's reason; `work` goes on for others. */
function abortable<T>(work: Promise<T>, signal: StopSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
