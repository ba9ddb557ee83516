// Owns the asking end of one tunnel: opens CONNECT streams in it and waits for their answers.
import { STATUS_CODES } from "node:http";
import { MeshError } from "@ambit/core";
import { ErrorCode, errorCodeName, type Fields, type H2Stream, type Limits } from "@ambit/http";
import type { Clock, StopSignal } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import { parseRefusal, REFUSAL_HEADER, type Refusal } from "./refusal.ts";
import { TunnelConnection, type StreamOwner } from "./tunnel-connection.ts";
import { headerMap } from "./tunnel-server.ts";
import { TunnelStream } from "./tunnel-stream.ts";

/** The peer connects to the application in at most 10 s and may wait 5 s for its own state first; then its answer travels. */
export const ANSWER_MS = 20_000;

export interface OpenRequest {
  readonly authority: string;
  /** Regular fields, lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface OpenedTunnel {
  readonly stream: ByteStream;
  readonly responseHeaders: ReadonlyMap<string, string>;
}

const UNAUTHORIZED = 401;

/** The peer answered with another status than 200; what more it told is in `refusal`. */
export class TunnelRefused extends MeshError {
  readonly status: number;
  readonly responseHeaders: ReadonlyMap<string, string>;
  readonly refusal: Refusal | undefined;

  constructor(status: number, responseHeaders: ReadonlyMap<string, string>) {
    const refusal = parseRefusal(responseHeaders.get(REFUSAL_HEADER));
    super(status === UNAUTHORIZED ? "peer-denied" : "tunnel-refused", `http status: ${status} ${STATUS_CODES[status] ?? "Unknown"}${describe(refusal)}`);
    this.status = status;
    this.responseHeaders = responseHeaders;
    this.refusal = refusal;
  }
}

function describe(r: Refusal | undefined): string {
  if (r === undefined) return "";
  const by = r.policy === undefined ? (r.reason === "no-allow-matched" ? ": no allow policy of the destination matched" : "") : `: policy ${r.policy}${r.reason === "missing-policy" ? ", which it cannot evaluate" : ""}`;
  return ` (refused by the destination's proxy, ${r.code}${by})`;
}

/** The peer says that it did not look at the request: another tunnel may carry it. */
export class NotProcessed extends MeshError {
  constructor(message: string) {
    super("upstream-reset", message);
  }
}

export class TunnelClient {
  readonly #tunnel: TunnelConnection;
  readonly #clock: Clock;
  readonly #maxStreams: number;
  #draining = false;
  readonly closed: Promise<Error | undefined>;

  /** `onChange`: a stream ended, the peer changed its mind about how many it allows, or the tunnel is over. */
  constructor(stream: ByteStream, options: { readonly clock: Clock; readonly maxStreams: number; readonly limits?: Partial<Limits>; readonly onChange?: () => void }) {
    this.#clock = options.clock;
    this.#maxStreams = options.maxStreams;
    let settle: (error: Error | undefined) => void = () => {};
    this.closed = new Promise((resolve) => (settle = resolve));
    this.#tunnel = new TunnelConnection("client", stream, options, {
      onChange: () => options.onChange?.(),
      onClosed: (error) => {
        settle(error);
        options.onChange?.();
      },
    });
  }

  /** May another stream be opened in this tunnel now? */
  get hasRoom(): boolean {
    return this.usable && this.#tunnel.h2.canOpen && this.#tunnel.h2.openStreams < this.#maxStreams;
  }

  /** Will it ever again? */
  get usable(): boolean {
    return !this.#tunnel.over && !this.#tunnel.h2.goneAway && !this.#draining;
  }

  get openStreams(): number {
    return this.#tunnel.h2.openStreams;
  }

  /** Rejects with TunnelRefused, NotProcessed or another MeshError, or with the signal's reason. Only while `hasRoom`. */
  open(request: OpenRequest, signal?: StopSignal): Promise<OpenedTunnel> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      const fields = [":method", "CONNECT", ":authority", request.authority, ...Object.entries(request.headers).flat()];
      const pending = new PendingOpen(this.#tunnel, resolve, reject, signal);
      const stream = this.#tunnel.h2.request(fields, false, pending);
      if (stream === undefined) return reject(new NotProcessed("the tunnel has no room for another stream"));
      pending.begin(stream, this.#clock);
      this.#tunnel.touch();
    });
  }

  /** Graceful: closes when its last stream ended. */
  drain(): void {
    this.#draining = true;
    this.#tunnel.drain();
  }

  destroy(reason: Error | undefined): void {
    this.#tunnel.close(reason);
  }
}

/** A request on its way, until the answer makes it a TunnelStream. */
class PendingOpen implements StreamOwner {
  readonly #tunnel: TunnelConnection;
  readonly #resolve: (opened: OpenedTunnel) => void;
  readonly #reject: (error: unknown) => void;
  readonly #signal: StopSignal | undefined;
  #stream: H2Stream<StreamOwner> | undefined;
  #stop: () => void = () => {};

  constructor(tunnel: TunnelConnection, resolve: (opened: OpenedTunnel) => void, reject: (error: unknown) => void, signal: StopSignal | undefined) {
    this.#tunnel = tunnel;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signal = signal;
  }

  begin(stream: H2Stream<StreamOwner>, clock: Clock): void {
    this.#stream = stream;
    const timer = clock.after(ANSWER_MS, () => this.#giveUp(new MeshError("connect-timeout", `the tunnel's peer gave no answer within ${ANSWER_MS / 1000} s`)), { hold: true });
    const onAbort = (): void => this.#giveUp(this.#signal?.reason);
    this.#signal?.addEventListener("abort", onAbort, { once: true });
    this.#stop = () => {
      timer.cancel();
      this.#signal?.removeEventListener("abort", onAbort);
    };
  }

  onResponse(status: number, fields: Fields): void {
    if (this.#stream === undefined) return;
    this.#stop();
    if (status === 200) {
      this.#resolve({ stream: new TunnelStream(this.#tunnel, this.#stream), responseHeaders: headerMap(fields) });
      return;
    }
    this.#giveUp(new TunnelRefused(status, headerMap(fields)));
  }

  onReset(code: number, processed: boolean, error: Error | undefined): void {
    this.#stop();
    if (!processed) return this.#reject(new NotProcessed(`the tunnel's peer refused the stream: ${errorCodeName(code)}`));
    if (error instanceof MeshError) return this.#reject(error);
    const cause = error === undefined ? {} : { cause: error };
    const what = error === undefined ? `reset by the peer: ${errorCodeName(code)}` : error.message;
    if (this.#tunnel.h2.settled) return this.#reject(new MeshError("upstream-reset", `the tunnel stream broke before its answer: ${what}`, cause));
    // In TLS 1.3 the client is done before the server has judged its certificate: the refusal comes only now.
    if (isTlsError(error)) return this.#reject(new MeshError("tls-handshake", `the tunnel's peer refused the TLS handshake, perhaps our certificate: ${what}`, cause));
    this.#reject(new MeshError("h2-handshake", `the tunnel broke during the HTTP/2 handshake, perhaps the peer does not trust our certificate: ${what}`, cause));
  }

  onData(): void {}
  onEnd(): void {}
  onWritable(): void {}

  #giveUp(reason: unknown): void {
    this.#stop();
    if (this.#stream !== undefined) this.#tunnel.h2.reset(this.#stream, ErrorCode.CANCEL);
    this.#tunnel.changed();
    this.#reject(reason);
  }
}

function isTlsError(error: Error | undefined): boolean {
  const cause = error?.cause;
  return cause instanceof Error && "code" in cause && String(cause.code).startsWith("ERR_SSL_");
}
