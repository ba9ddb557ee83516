// Owns the shapes of one delta xDS conversation inside the house: the wire types stop at wire/decode.ts and wire/encode.ts.

/** Address resources: workloads and services (Istio workload API). */
export const ADDRESS_TYPE = "type.googleapis.com/istio.workload.Address";
/** Authorization resources: L4 policies. */
export const AUTHORIZATION_TYPE = "type.googleapis.com/istio.security.Authorization";
/** One per waypoint: ADR 0025. */
export const WAYPOINT_TYPE = "type.googleapis.com/ambit.waypoint.v1.WaypointConfig";

/** Subscribing to this name means everything of the type. */
export const WILDCARD = "*";

export interface XdsNode {
  readonly id: string;
  /** google.protobuf.Struct as plain JSON. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface DeltaRequest {
  readonly node: XdsNode | undefined;
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: ReadonlyMap<string, string>;
  /** Empty for a spontaneous request, else the response that this answers. */
  readonly nonce: string;
  /** Present in a NACK. */
  readonly error: string | undefined;
}

export interface DeltaResource {
  readonly name: string;
  /** Opaque; empty when the type goes without versions. */
  readonly version: string;
  readonly aliases: readonly string[];
  /** The encoded message inside the Any. */
  readonly bytes: Uint8Array;
}

export interface DeltaResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly DeltaResource[];
  readonly removed: readonly string[];
  /** More chunks of the same push follow (our servers only; others send whole pushes). */
  readonly partial: boolean;
  /** Over everything that a wildcard client must hold after this response (our servers only, now and then). */
  readonly checksum?: string | undefined;
}
