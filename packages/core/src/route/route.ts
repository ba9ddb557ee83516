// Owns the shape of routing for one service: sorted rules, what each does to a request and its answer, and where it sends it.
import type { Cidr } from "../net/cidr.ts";
import type { ServiceKey } from "../workload/workload.ts";
import type { AuthorizationProvider } from "./authorization-provider.ts";
import type { RequestMatch, TextMatch } from "./match.ts";

/** Which object, rule and match a route was made of: named in logs, denials and `ambit why`. */
export interface RouteOrigin {
  readonly kind: "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "VirtualService";
  readonly namespace: string;
  readonly name: string;
  /** Index of the rule in the object. */
  readonly rule: number;
  /** `rules[].name`, or VirtualService `http[].name`. */
  readonly ruleName: string | undefined;
  /** Index of the match in the rule. */
  readonly match: number;
  /** Epoch milliseconds: older wins ties. */
  readonly createdAt: number;
}

/** In the order remove, set, add as Envoy applies them; names lower case; `add` appends with a comma. */
export interface HeaderChange {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export type PathRewrite =
  | { readonly kind: "full"; readonly value: string }
  /** Replaces the prefix that matched (element-wise for `path-prefix` matches). */
  | { readonly kind: "prefix"; readonly value: string }
  | { readonly kind: "regex"; readonly pattern: string; readonly substitution: string };

export interface Redirect {
  readonly scheme: string | undefined;
  readonly hostname: string | undefined;
  readonly port: number | "derive-from-scheme" | undefined;
  readonly path: PathRewrite | undefined;
  readonly status: number;
}
export interface Rewrite { readonly hostname: string | undefined; readonly path: PathRewrite | undefined }
/** A share as a fraction: 1 of 1 = always. */
export interface Fraction { readonly numerator: number; readonly denominator: number }
export interface Mirror { readonly backend: Backend; readonly fraction: Fraction }

export interface Cors {
  /** `https://*.example.com` is a regex here already. */
  readonly origins: readonly TextMatch[];
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  readonly exposeHeaders: readonly string[];
  /** Seconds; undefined: the header is left out (VirtualService) . */
  readonly maxAgeS: number | undefined;
  readonly credentials: boolean;
  /** What happens to a preflight from elsewhere. */
  readonly unmatchedPreflight: "forward" | "answer";
}

export interface Fault {
  readonly delay: { readonly ms: number; readonly fraction: Fraction } | undefined;
  readonly abort: { readonly fraction: Fraction; readonly answer: { readonly httpStatus: number } | { readonly grpcStatus: number } } | undefined;
}

/** What is done to a request and its answer; the same on a rule and on a backend. */
export interface Filters {
  readonly request: HeaderChange | undefined;
  readonly response: HeaderChange | undefined;
  readonly rewrite: Rewrite | undefined;
  readonly mirrors: readonly Mirror[];
  readonly cors: Cors | undefined;
}

/** Milliseconds; undefined: none. `request` spans retries, `attempt` is one try. */
export interface Timeouts { readonly requestMs: number | undefined; readonly attemptMs: number | undefined }

export type RetryCondition =
  | "5xx" | "gateway-error" | "reset" | "reset-before-request" | "connect-failure" | "refused-stream" | "retriable-4xx"
  | "retriable-status-codes" | "retriable-headers" | "envoy-ratelimited"
  | "cancelled" | "deadline-exceeded" | "internal" | "resource-exhausted" | "unavailable";

export interface RetryPolicy {
  /** Tries after the first; 0: none. */
  readonly retries: number;
  readonly on: readonly RetryCondition[];
  readonly statuses: readonly number[];
  /** Milliseconds: base of the jittered exponential, and its cap. */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  /** Milliseconds that are waited at least (Gateway API `retry.backoff`). Default 0. */
  readonly backoffMinMs?: number;
  /** Where it failed may be tried again as any other place (VirtualService `retryIgnorePreviousHosts: false`). */
  readonly samePlaces?: boolean;
  /** Lower case; of an answer, for `retriable-headers`. */
  readonly headers?: readonly string[];
}

export interface SessionPersistence {
  readonly kind: "cookie" | "header";
  readonly name: string;
  /** Milliseconds; undefined: a session cookie. */
  readonly absoluteTimeoutMs: number | undefined;
  /** Of the cookie. */
  readonly path: string;
}

/** One service port as a destination. `subset` is of the destination's DestinationRule. */
export interface Backend { readonly service: ServiceKey; readonly port: number; readonly subset: string | undefined }

/** `redirectTo`: its share of requests is answered with it, and sent nowhere. */
export type WeightedBackend = { readonly weight: number; readonly filters: Filters; readonly redirectTo?: Redirect | undefined } & (
  | { readonly kind: "service"; readonly backend: Backend }
  /** Cannot be resolved: its share of requests gets 500. */
  | { readonly kind: "invalid"; readonly why: string }
);

export type RouteAction =
  | { readonly kind: "forward"; readonly backends: readonly WeightedBackend[] }
  | { readonly kind: "redirect"; readonly redirect: Redirect }
  | { readonly kind: "respond"; readonly status: number; readonly body: string }
  /** A rule that cannot be carried out as written answers 500 and says why; it is never skipped. */
  | { readonly kind: "fail"; readonly status: 500; readonly why: string };

/** One match with what its rule does. */
export interface HttpRoute {
  readonly origin: RouteOrigin;
  readonly match: RequestMatch;
  readonly action: RouteAction;
  readonly filters: Filters;
  readonly timeouts: Timeouts;
  /** undefined: the mesh's default. */
  readonly retry: RetryPolicy | undefined;
  readonly fault: Fault | undefined;
  readonly session: SessionPersistence | undefined;
  /** Must allow the request before anything is done for it (filter ExternalAuth). */
  readonly externalAuth?: AuthorizationProvider | undefined;
}

/** TLSRoute (by SNI) and TCPRoute (no names); also VirtualService tls and tcp. */
export interface TcpRoute {
  readonly origin: RouteOrigin;
  /** Exact or `*.suffix`; empty: any. */
  readonly sniHosts: readonly string[];
  readonly sourceNamespace: string | undefined;
  readonly sourceLabels: Readonly<Record<string, string>>;
  /** Of the address that the client dialled; undefined: any. */
  readonly destinationSubnets?: readonly Cidr[] | undefined;
  readonly backends: readonly WeightedBackend[];
}

/** Of one level (producer, or consumer in one namespace) and one port: exactly one kind of route applies. */
export type PortRoutes =
  /** In order of precedence: the first that matches wins; none: 404 (gRPC: UNIMPLEMENTED), or, `fallThrough` (VirtualService without match), the service itself. */
  | { readonly kind: "http" | "grpc"; readonly routes: readonly HttpRoute[]; readonly fallThrough: boolean }
  | { readonly kind: "tls" | "tcp"; readonly routes: readonly TcpRoute[] };

export interface ServiceRoutes {
  /** By service port; a port that is missing has no routes and goes to the service's own endpoints. */
  readonly producer: ReadonlyMap<number, PortRoutes>;
  /** Client namespace → by service port; a namespace that is here uses only these for that port. */
  readonly consumers: ReadonlyMap<string, ReadonlyMap<number, PortRoutes>>;
}
