// Owns the shape of an external authorization provider: where it is, what it is told, what is taken of its answer.
import type { ServiceKey } from "../workload/workload.ts";

/** Octets of a body that waypoints hold back, at most, for a provider to see it. */
export const CHECKED_BODY_MAX_OCTETS = 1 << 20;

/** An ext_authz provider: of MeshConfig, or of one rule of a route (its filter ExternalAuth). */
export interface AuthorizationProvider {
  readonly name: string;
  readonly protocol: "http" | "grpc";
  readonly service: ServiceKey;
  readonly port: number;
  readonly timeoutMs: number;
  readonly failOpen: boolean;
  readonly statusOnError: number;
  /** HTTP only. */
  readonly pathPrefix: string;
  readonly includeRequestHeaders: readonly string[];
  /** gRPC only: nothing of the client's fields but these, lower case; undefined: all. */
  readonly onlyRequestHeaders?: readonly string[] | undefined;
  readonly includeAdditionalHeaders: readonly (readonly [string, string])[];
  readonly includeRequestBody: { readonly maxBytes: number; readonly allowPartial: boolean; readonly packAsBytes: boolean } | undefined;
  /** `*`: all but those that are about the provider's own answer. */
  readonly headersToUpstreamOnAllow: readonly string[];
  readonly headersToDownstreamOnDeny: readonly string[];
  readonly headersToDownstreamOnAllow: readonly string[];
}
