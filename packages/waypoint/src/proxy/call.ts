// Owns requests that the waypoint makes itself (to a collector, to an authorization provider): one call, one bounded answer.
import type { Backend } from "@ambit/core";
import type { Fields } from "@ambit/http";
import type { UpstreamChoice } from "../http/options.ts";
import type { Attempt, AttemptFailure, HttpUpstreams } from "../http/upstream/upstreams.ts";

/** An answer longer than this is cut off: nobody here reads more. */
export const ANSWER_MAX_BYTES = 1024 * 1024;

export interface CallRequest {
  readonly backend: Backend;
  readonly protocol: "http1" | "http2";
  /** Ends the call. */
  readonly signal: AbortSignal;
  readonly method: string;
  readonly authority: string;
  readonly target: string;
  readonly fields: Fields;
  readonly body: Uint8Array;
}

export interface CallAnswer {
  readonly status: number;
  readonly fields: Fields;
  readonly trailers: Fields;
  readonly body: Uint8Array;
}

/** Rejects with a sentence when there is no whole answer. */
export type Call = (request: CallRequest) => Promise<CallAnswer>;

export interface CallOptions {
  readonly upstreams: HttpUpstreams;
  readonly choose: (backend: Backend, protocol: "http1" | "http2") => UpstreamChoice;
}

export const createCall = (o: CallOptions): Call => (request) => new Promise((resolve, reject) => {
  const choice = o.choose(request.backend, request.protocol);
  if (choice.kind === "none") return reject(new Error(`${request.backend.service} cannot be reached: ${choice.reply.details}`));
  const parts: Uint8Array[] = [];
  let octets = 0;
  let status = 0;
  let head: Fields = [];
  let trailers: Fields = [];
  let over = false;
  const end = (settle: () => void): void => {
    if (over) return;
    over = true;
    request.signal.removeEventListener("abort", onAbort);
    settle();
  };
  const fail = (why: string): void => end(() => reject(new Error(`${request.backend.service}: ${why}`)));
  let attempt: Attempt | undefined = undefined as Attempt | undefined;
  const onAbort = (): void => { attempt?.abandon(); fail("given up"); };
  request.signal.addEventListener("abort", onAbort, { once: true });
  if (request.signal.aborted) return onAbort();
  attempt = o.upstreams.attempt(choice.endpoint, {
    method: request.method, authority: request.authority, target: request.target, passed: request.fields, added: [], body: request.body.length, upgrade: undefined,
  }, {
    onInformational: () => undefined,
    onAnswer: (answered, fields) => { status = answered; head = fields; },
    onData: (bytes) => {
      octets += bytes.length;
      if (octets > ANSWER_MAX_BYTES) { attempt?.abandon(); return fail(`the answer is longer than ${ANSWER_MAX_BYTES} octets`); }
      parts.push(bytes);
    },
    onTrailers: (fields) => { trailers = fields; },
    onEnd: () => end(() => resolve({ status, fields: head, trailers, body: Buffer.concat(parts) })),
    onFailed: (failure) => fail(describe(failure)),
    onWritable: () => undefined,
  }, false);
  if (request.body.length > 0) attempt.write(request.body);
  attempt.end([]);
});

function describe(failure: AttemptFailure): string {
  switch (failure.kind) {
    case "connect": return `no connection: ${failure.why}`;
    case "overflow": return `the limit of ${failure.limit} is reached`;
    case "reset": return `the connection broke: ${failure.why}`;
    case "timeout": return "the attempt took too long";
    case "abandoned": return "given up";
  }
}
