// Owns what serving HTTP asks of the rest of a waypoint, and what it tells it.
import type { Backend, ConnectionPool, RetryBudget, RetryPolicy, Service, SocketAddress, Workload } from "@ambit/core";
import type { Clock, Random } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import type { RequestFacts } from "../facts.ts";
import type { OutgoingHead, LocalReply, RequestNeed, RequestPlan, ResponseFlag } from "../plan/request-plan.ts";
import type { HttpUpstreams } from "./upstream/upstreams.ts";

export type ForwardPlan = Extract<RequestPlan, { kind: "forward" }>;
export type FinalPlan = Exclude<RequestPlan, { kind: "need" }>;
/** Where a forward goes: a route's backend, or the pod that was dialled. */
export type UpstreamGoal = ForwardPlan["to"];

/** One endpoint as it was chosen, and how to speak to it. */
export interface UpstreamEndpoint {
  /** Requests share connections among endpoints of equal key: whatever makes two streams of `open` differ must be in it. */
  readonly key: string;
  readonly protocol: "http1" | "http2";
  /** What the application sees as its scheme: https when `open` makes TLS inside the tunnel. */
  readonly scheme: "http" | "https";
  /** Scope of limits and counters, as Istio names clusters: `outbound|80|v1|reviews.shop.svc.cluster.local`. */
  readonly cluster: string;
  readonly address: SocketAddress;
  readonly workload: Workload | undefined;
  readonly service: Service | undefined;
  readonly pool: ConnectionPool;
  readonly retryBudget: RetryBudget | undefined;
}

export type UpstreamChoice =
  /** `answer`: names and values in turn that the answer gets, e.g. the cookie of a session. */
  | { readonly kind: "endpoint"; readonly endpoint: UpstreamEndpoint; readonly answer: readonly string[] }
  | { readonly kind: "none"; readonly reply: LocalReply };
/** May carry more than this: `onOutcome` gets back the very object that `choose` made. */
export type ChosenEndpoint = Extract<UpstreamChoice, { kind: "endpoint" }>;

/** How one attempt went. */
export interface AttemptOutcome {
  readonly endpoint: UpstreamEndpoint;
  /** 1 = the first. */
  readonly attempt: number;
  readonly durationMs: number;
  /** Octets of the request, its head included, may have reached the endpoint. */
  readonly sent: boolean;
  readonly result:
    /** A final head came; its `fields` go on to the client in place, so in `onOutcome` they are as it got them. `grpcStatus`: of the head (trailers-only), and, in `onOutcome`, of the trailers. `whole` false: it was cut off later by the upstream. */
    | { readonly kind: "answered"; readonly status: number; readonly fields: readonly string[]; readonly grpcStatus: number | undefined; readonly whole: boolean }
    /** No connection. */
    | { readonly kind: "connect"; readonly why: string; readonly timeout: boolean }
    /** A limit of the destination (`pool`) was reached; nothing was tried. */
    | { readonly kind: "overflow"; readonly limit: "connections" | "pending" | "requests" }
    /** Before any answer. `refused`: the peer says that it did not look at it. */
    | { readonly kind: "reset"; readonly by: "remote" | "connection" | "protocol"; readonly refused: boolean; readonly why: string }
    /** The attempt's own time was over. */
    | { readonly kind: "timeout" }
    /** We gave it up: the client is gone, or the request's time was over. */
    | { readonly kind: "abandoned" };
}

/** The first octets of a request's body, for external authorization. */
export interface BodyPeek { readonly bytes: Uint8Array; readonly complete: boolean }

export interface HttpOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly upstreams: HttpUpstreams;
  /** Pure, at once; called again with what `satisfy` made of the facts. */
  plan(facts: RequestFacts): RequestPlan;
  /** Answers one need; must not reject. `peek` waits for at most `maxBytes` of the body (bounded by BODY_PEEK_MAX_OCTETS). */
  satisfy(need: RequestNeed, facts: RequestFacts, peek: (maxBytes: number) => Promise<BodyPeek>): Promise<RequestFacts>;
  /** The endpoint of one attempt. `tried`: keys of endpoints that failed this request. `plan` undefined: for a mirror. */
  choose(goal: UpstreamGoal, facts: RequestFacts, tried: readonly string[], plan: ForwardPlan | undefined): UpstreamChoice;
  /** Writes the trace context of a plan that has one into the fields of its request, in place, before each attempt. */
  propagate?(plan: ForwardPlan, fields: string[]): void;
  retryable(policy: RetryPolicy, outcome: AttemptOutcome): boolean;
  /** Once for every endpoint that `choose` gave, mirrors included, at the end of its attempt. */
  onOutcome(outcome: AttemptOutcome, chosen: ChosenEndpoint): void;
  /** Once for every request, at its end, whatever happened. */
  onRequest(record: RequestRecord): void;
  /** Take HTTP/1.0 requests; else they get 426. Default: no. */
  readonly http10?: boolean;
  /** Pass `Expect: 100-continue` on and wait for the upstream's word; else it is answered here, after the plan. Default: no. */
  readonly forwardExpect?: boolean;
  /** Of the `server` field; undefined: the upstream's passes. */
  readonly serverName?: string;
  /** Only with protocol `detect`: how long a silent client is waited for before the stream is given back as TCP. Default DETECT_MS. */
  readonly detectMs?: number;
}

export interface UpstreamsOptions {
  readonly clock: Clock;
  /** A new stream to the endpoint. Rejects with a MeshError; must stop when the signal aborts. */
  open(endpoint: UpstreamEndpoint, signal: AbortSignal): Promise<ByteStream>;
}

export type Served =
  /** The connection is over, and everything on it recorded. */
  | { readonly kind: "served" }
  /** It is not HTTP: whatever was read comes first out of `stream`. */
  | { readonly kind: "tcp"; readonly stream: ByteStream; /** It began as TLS does. */ readonly tls: boolean };

export interface HttpSession {
  /** Never rejects. */
  readonly done: Promise<Served>;
  /** Requests under way. */
  readonly active: number;
  /** GOAWAY, or `Connection: close` on the next answer; a quiet HTTP/1 connection ends a second later. */
  drain(): void;
  /** Ends everything now. */
  destroy(reason: Error): void;
}

/** All that logs, metrics and traces need of one request. Times are milliseconds since `startedAt`; undefined: it did not come to that. */
export interface RequestRecord {
  /** As last judged. Of what could not be read as a request, method and target are empty. */
  readonly facts: RequestFacts;
  /** undefined: it never came to a plan. */
  readonly plan: FinalPlan | undefined;
  /** As sent upstream. */
  readonly requestId: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** The whole request was read. */
  readonly requestEndMs: number | undefined;
  /** The last attempt began. */
  readonly upstreamStartMs: number | undefined;
  /** The answer's head came. */
  readonly responseStartMs: number | undefined;
  /** Of the answer as the client got it; 0: none went out. */
  readonly status: number;
  readonly grpcStatus: number | undefined;
  /** Empty: `-`. */
  readonly flags: readonly ResponseFlag[];
  /** Envoy's response code details. */
  readonly details: string;
  /** Body octets from and to the client. */
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** gRPC messages; 0 otherwise. */
  readonly requestMessages: number;
  readonly responseMessages: number;
  /** Of the last attempt. */
  readonly endpoint: UpstreamEndpoint | undefined;
  /** Tries made; 0: it was answered here. */
  readonly attempts: number;
  /** As it left, fields added here included. */
  readonly outgoing: OutgoingHead | undefined;
  /** As the client got them. */
  readonly responseFields: readonly string[];
  readonly responseTrailers: readonly string[];
  /** Why the upstream failed, in words. */
  readonly upstreamFailure: string | undefined;
  /** The connection was switched to another protocol: octets above are the tunnel's. */
  readonly upgraded: boolean;
  /** Which mirrors were sent. */
  readonly mirrors: readonly Backend[];
}
