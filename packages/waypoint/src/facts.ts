// Owns what is known of one connection that came through a tunnel, and of one request on it.
import type { Identity, Service, SocketAddress, Workload } from "@ambit/core";

/** The CONNECT that carries everything. */
export interface ConnectionFacts {
  /** Joins the lines and samples of one connection. */
  readonly id: string;
  /** Verified by the tunnel's handshake: the client itself, or a proxy that forwards for it. */
  readonly peer: Identity;
  /** The client's own address, as its ztunnel says. */
  readonly source: SocketAddress;
  /** The client's workload, when the mesh knows one at that address with that identity. */
  readonly sourceWorkload: Workload | undefined;
  /** What the client dialled. A workload: pod traffic, which has no routes. */
  readonly destination: { readonly kind: "service"; readonly service: Service } | { readonly kind: "workload"; readonly workload: Workload };
  /** The VIP (or pod address) and port that the client dialled. */
  readonly address: SocketAddress;
}

/** A verified token. */
export interface TokenFacts {
  readonly issuer: string;
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Base64url, as it was in the token. */
  readonly payload: string;
  /** Index into the applicable JWT rules: the one that verified it. */
  readonly rule: number;
  /** Where it was found. */
  readonly location: TokenLocation;
}

export interface TokenLocation { readonly kind: "header" | "query" | "cookie"; readonly name: string }

/** Of the query's parameters: `set` replaces every one of the name, `remove` takes them out. */
export interface QueryChange { readonly set: readonly (readonly [string, string])[]; readonly remove: readonly string[] }

/** What external authorization said (`plan/need.ts`). */
export interface CheckFacts {
  readonly provider: string;
  readonly verdict:
    | { readonly kind: "allow"; readonly set: readonly (readonly [string, string])[]; readonly append: readonly (readonly [string, string])[]; readonly remove: readonly string[]; readonly toDownstream: readonly (readonly [string, string])[]; readonly query?: QueryChange }
    | { readonly kind: "deny"; readonly status: number; readonly headers: readonly (readonly [string, string])[]; readonly body: string }
    | { readonly kind: "failed"; readonly why: string; readonly bodyTooLarge: boolean };
}

export interface RequestFacts {
  readonly connection: ConnectionFacts;
  readonly protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";
  readonly method: string;
  readonly scheme: "http" | "https";
  /** As sent, with a port if there was one. */
  readonly authority: string;
  /** Path and query as sent. */
  readonly target: string;
  /** Names (lower case) and values in turn, pseudo-fields excluded. */
  readonly fields: readonly string[];
  /** `content-type` says application/grpc…. */
  readonly grpc: boolean;
  /** `websocket`, or another protocol named by Upgrade or :protocol. */
  readonly upgrade: string | undefined;
  /** Epoch milliseconds. */
  readonly now: number;
  /** undefined: tokens were not looked at yet. An error: the 401's reason. */
  readonly token: { readonly kind: "none" } | { readonly kind: "valid"; readonly tokens: readonly TokenFacts[] } | { readonly kind: "invalid"; readonly reason: string } | undefined;
  /** By provider. */
  readonly checks: ReadonlyMap<string, CheckFacts>;
}

/** `GET / HTTP/1.1` as a service port understands it: what the shell should expect of the octets. */
export type PortProtocol = "http1" | "http2" | "grpc" | "tcp" | "tls" | "detect";
