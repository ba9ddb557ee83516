// Owns the shape of an L7 AuthorizationPolicy: as the user wrote it (rules of from, to, when), checked and with every name resolved.
import type { Cidr } from "../net/cidr.ts";
import type { ServiceKey } from "../workload/workload.ts";
import type { ServiceAccountMatch, StringMatch } from "./policy.ts";

/** A path, or a template with `{*}` (one segment) and `{**}` (any number). */
export type PathPattern = StringMatch | { readonly kind: "template"; readonly value: string };

/** Each list: empty = no constraint; otherwise one of it must match. `not`: none of it may. */
export interface Either<T> { readonly any: readonly T[]; readonly not: readonly T[] }

export interface PolicySource {
  /** Without `spiffe://`; already expanded to every alias of the trust domain. */
  readonly principals: Either<StringMatch>;
  readonly namespaces: Either<StringMatch>;
  readonly serviceAccounts: Either<ServiceAccountMatch>;
  readonly trustDomains: Either<StringMatch>;
  readonly ipBlocks: Either<Cidr>;
  readonly remoteIpBlocks: Either<Cidr>;
  /** `ISS/SUB`. */
  readonly requestPrincipals: Either<StringMatch>;
}

export interface PolicyOperation {
  readonly hosts: Either<StringMatch>;
  readonly methods: Either<StringMatch>;
  readonly paths: Either<PathPattern>;
  readonly ports: Either<number>;
}

export type ConditionKey =
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "source.ip" | "remote.ip" | "destination.ip" }
  | { readonly kind: "source.namespace" | "source.principal" | "source.serviceAccount" | "source.trustDomain" | "destination.port" | "connection.sni" }
  | { readonly kind: "auth.principal" | "auth.audiences" | "auth.presenter" }
  | { readonly kind: "auth.claims"; readonly path: readonly string[] };

/** Values as text matches; for IPs as blocks, for ports as numbers, for service accounts as pairs. */
export interface PolicyCondition {
  readonly key: ConditionKey;
  readonly strings: Either<StringMatch>;
  readonly blocks: Either<Cidr>;
  readonly ports: Either<number>;
  readonly accounts: Either<ServiceAccountMatch>;
}

/** from: one of (empty = anybody); to: one of (empty = anything); when: all. */
export interface RequestRule {
  readonly from: readonly PolicySource[];
  readonly to: readonly PolicyOperation[];
  readonly when: readonly PolicyCondition[];
}

/** What a policy is attached to; `route` is a named (or every) rule of an HTTPRoute or GRPCRoute. */
export type PolicyTarget =
  | { readonly kind: "waypoint" }
  | { readonly kind: "service"; readonly service: ServiceKey }
  | { readonly kind: "route"; readonly route: { readonly kind: "HTTPRoute" | "GRPCRoute"; readonly namespace: string; readonly name: string; readonly ruleName: string | undefined } };

export interface RequestPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly action: "allow" | "deny" | "audit" | "custom";
  /** Of CUSTOM. */
  readonly provider: string | undefined;
  readonly dryRun: boolean;
  readonly targets: readonly PolicyTarget[];
  readonly rules: readonly RequestRule[];
  /** It could not be understood: it denies what it is attached to, naming this (ADR 0005). */
  readonly refused: string | undefined;
}

export interface JwtRule {
  readonly issuer: string;
  /** Empty: not checked. */
  readonly audiences: readonly string[];
  /** The keys, as fetched by the control plane or inline; undefined: they could not be had, and every token fails. */
  readonly jwks: string | undefined;
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[];
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  readonly forwardOriginalToken: boolean;
  readonly outputPayloadToHeader: string | undefined;
  readonly outputClaimToHeaders: readonly { readonly header: string; readonly claim: string }[];
  readonly spaceDelimitedClaims: readonly string[];
}

export interface RequestAuthentication {
  readonly namespace: string;
  readonly name: string;
  readonly targets: readonly PolicyTarget[];
  readonly rules: readonly JwtRule[];
  readonly refused: string | undefined;
}
