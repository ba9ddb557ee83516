// Owns the shape of what is to be done with one request.
import type { TraceContext } from "../telemetry/trace-context.ts";
import type { AuthorizationProvider, Backend, Cors, HeaderChange, RetryPolicy, RouteOrigin, SessionPersistence } from "@ambit/core";

/** One step of a decision, for `ambit why` and the trace log. */
export interface Because { readonly step: string; readonly saw: string; readonly chose: string }

/** Envoy's short flags, as in access logs. */
export type ResponseFlag =
  | "-" | "UH" | "UF" | "UO" | "NR" | "NC" | "URX" | "DC" | "UT" | "LR" | "UR" | "UC" | "DI" | "FI" | "RL" | "UAEX" | "IH" | "SI" | "DPE" | "UPE" | "UMSDR" | "OM";

/** An answer of our own. A gRPC client gets it as a status, other clients as written. */
export interface LocalReply {
  readonly status: number;
  /** Names (lower case) and values in turn. */
  readonly fields: readonly string[];
  readonly body: string;
  readonly flag: ResponseFlag;
  /** Envoy's response code details, e.g. `rbac_access_denied_matched_policy[ns[shop]-policy[deny]-rule[0]]`. */
  readonly details: string;
  /** Of a gRPC answer, where it is not what `status` maps to. */
  readonly grpcStatus?: number;
}

/** A request as it leaves for a backend. */
export interface OutgoingHead {
  readonly method: string;
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  /** Names (lower case) and values in turn; hop-by-hop fields are gone already. */
  readonly fields: readonly string[];
}

/** What a policy would have done, or was asked to record. */
export interface Remark { readonly kind: "audit" | "dry-run-allow" | "dry-run-deny" | "dry-run-custom"; readonly policy: string; readonly rule: number }

export type RequestNeed =
  /** Verify the tokens of the request by the rules that apply (`plan/tokens.ts` lists them). */
  | { readonly kind: "token" }
  /** Ask this provider; `of`: itself, where no configuration knows it by name (a route's own). */
  | { readonly kind: "check"; readonly provider: string; readonly policy: string; readonly of?: AuthorizationProvider };

export type RequestPlan =
  | { readonly kind: "need"; readonly need: RequestNeed }
  | { readonly kind: "reply"; readonly reply: LocalReply; readonly origin: RouteOrigin | undefined; readonly delayMs: number; readonly remarks: readonly Remark[]; readonly because: readonly Because[]; trace?: Trace }
  | {
    readonly kind: "forward";
    /** undefined: no route, the service itself. */
    readonly origin: RouteOrigin | undefined;
    /** A workload: pod traffic passes on to the pod it was meant for. */
    readonly to: { readonly kind: "service"; readonly backend: Backend } | { readonly kind: "workload" };
    readonly head: OutgoingHead;
    /** Done to the answer, in order; then `cors`. */
    readonly answer: readonly HeaderChange[];
    readonly cors: { readonly rule: Cors; readonly origin: string } | undefined;
    /** `deadline`: `requestMs` is the client's own (grpc-timeout), shorter than the route's. */
    readonly timeouts: { readonly requestMs: number | undefined; readonly attemptMs: number | undefined; readonly deadline: boolean };
    readonly retry: RetryPolicy;
    readonly mirrors: readonly { readonly backend: Backend; readonly head: OutgoingHead }[];
    /** A fault's delay; 0: none. */
    readonly delayMs: number;
    readonly session: SessionPersistence | undefined;
    readonly remarks: readonly Remark[];
    readonly because: readonly Because[];
    trace?: Trace;
  };

/** What is traced has it from whoever carries the plan out: the decision does not depend on it, and is not its business. */
type Trace = TraceContext | undefined;
