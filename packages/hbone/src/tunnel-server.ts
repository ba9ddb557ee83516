// Owns the serving end of tunnels: CONNECT requests in, accepted as byte streams or refused with a status.
import type { MeshError } from "@ambit/core";
import { ErrorCode, fieldValue, type Fields, type H2Stream, type Limits } from "@ambit/http";
import { systemClock, type Clock, Stop, type StopSignal } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import { parseAuthority, type Authority } from "./authority.ts";
import type { PeerInfo } from "./peer-info.ts";
import { TunnelConnection, type StreamOwner } from "./tunnel-connection.ts";
import { TunnelStream } from "./tunnel-stream.ts";

/** A CONNECT that waits for its answer. Exactly one of `accept` and `refuse` is to be called; both are harmless when the peer is gone. */
export interface TunnelRequest {
  /** As sent. */
  readonly authority: string;
  readonly target: Authority;
  /** Regular fields; values of a repeated name are joined by a comma. */
  readonly headers: ReadonlyMap<string, string>;
  readonly peer: PeerInfo;
  /** Aborted when the peer gives up before the answer. */
  readonly signal: StopSignal;
  /** Answers 200. */
  accept(headers?: Readonly<Record<string, string>>): ByteStream;
  refuse(status: number, headers?: Readonly<Record<string, string>>): void;
}

export interface TunnelServerOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<Limits>;
  /** A request that got 400 before anybody was asked: not CONNECT, or its authority is missing or unreadable. */
  readonly onBadRequest?: (why: string) => void;
}

export interface TunnelSession {
  readonly peer: PeerInfo;
  readonly openStreams: number;
  /** Settles when the connection is gone; with the reason when it did not end gracefully. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** No new streams; waits for those under way, at most `deadlineMs`, then cuts them with `reason`. */
  drain(deadlineMs: number, reason: MeshError): Promise<void>;
  destroy(reason: MeshError): void;
}

export function serveTunnels(stream: ByteStream, peer: PeerInfo, options: TunnelServerOptions, onRequest: (request: TunnelRequest) => void): TunnelSession {
  const clock = options.clock ?? systemClock;
  let onClosed: (error: Error | undefined) => void = () => {};
  const closed = new Promise<Error | undefined>((resolve) => (onClosed = resolve));
  const tunnel = new TunnelConnection("server", stream, { clock, ...(options.limits === undefined ? {} : { limits: options.limits }) }, {
    onClosed,
    onRequest: (h2stream, fields) => {
      const problem = serve(h2stream, fields);
      if (problem === undefined) return;
      answer(tunnel, h2stream, 400, {});
      options.onBadRequest?.(problem);
    },
  });

  const serve = (h2stream: H2Stream<StreamOwner>, fields: Fields): string | undefined => {
    if (!h2stream.connect) return `method is ${fieldValue(fields, ":method") ?? ""}, not CONNECT`;
    const authority = fieldValue(fields, ":authority");
    if (authority === undefined) return "CONNECT without authority";
    const target = parseAuthority(authority);
    if (!target.ok) return target.error;
    onRequest(new PendingRequest(tunnel, h2stream, authority, target.value, fields, peer));
    return undefined;
  };

  return {
    peer,
    closed,
    get openStreams() {
      return tunnel.h2.openStreams;
    },
    async drain(deadlineMs, reason) {
      tunnel.drain();
      const timer = clock.after(deadlineMs, () => tunnel.close(reason), { hold: true });
      await closed;
      timer.cancel();
    },
    destroy: (reason) => tunnel.close(reason),
  };
}

class PendingRequest implements TunnelRequest {
  readonly authority: string;
  readonly target: Authority;
  readonly peer: PeerInfo;
  readonly #tunnel: TunnelConnection;
  readonly #h2stream: H2Stream<StreamOwner>;
  readonly #stream: TunnelStream;
  readonly #fields: Fields;
  #headers: ReadonlyMap<string, string> | undefined;
  #abort: Stop | undefined;
  #gone = false;
  #answered = false;

  constructor(tunnel: TunnelConnection, h2stream: H2Stream<StreamOwner>, authority: string, target: Authority, fields: Fields, peer: PeerInfo) {
    this.#tunnel = tunnel;
    this.#h2stream = h2stream;
    this.authority = authority;
    this.target = target;
    this.peer = peer;
    this.#fields = fields;
    this.#stream = new TunnelStream(tunnel, h2stream);
    this.#stream.onGone = () => {
      this.#gone = true;
      this.#abort?.abort(new Error("the peer gave up the tunnel request"));
    };
  }

  get headers(): ReadonlyMap<string, string> {
    return (this.#headers ??= headerMap(this.#fields));
  }

  get signal(): StopSignal {
    this.#abort ??= new Stop();
    if (this.#gone) this.#abort.abort(new Error("the peer gave up the tunnel request"));
    return this.#abort;
  }

  accept(headers: Readonly<Record<string, string>> = {}): ByteStream {
    if (!this.#answered) this.#tunnel.h2.respond(this.#h2stream, [":status", "200", ...Object.entries(headers).flat()], false);
    this.#answered = true;
    this.#stream.onGone = undefined;
    this.#tunnel.touch();
    return this.#stream;
  }

  refuse(status: number, headers: Readonly<Record<string, string>> = {}): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#stream.onGone = undefined;
    answer(this.#tunnel, this.#h2stream, status, headers);
  }
}

/** A whole answer; NO_ERROR then tells the peer that its half is not wanted either (RFC 9113 §8.1). */
function answer(tunnel: TunnelConnection, stream: H2Stream<StreamOwner>, status: number, headers: Readonly<Record<string, string>>): void {
  tunnel.h2.respond(stream, [":status", String(status), ...Object.entries(headers).flat()], true);
  tunnel.h2.reset(stream, ErrorCode.NO_ERROR);
  tunnel.changed();
}

export function headerMap(fields: Fields): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (name.startsWith(":")) continue;
    const before = map.get(name);
    map.set(name, before === undefined ? value : `${before},${value}`);
  }
  return map;
}
