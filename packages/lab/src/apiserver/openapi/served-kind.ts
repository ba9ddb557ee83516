// Owns what the OpenAPI documents need to know about a served resource; a registry row fits.
import type { JsonObject } from "../json.ts";

export interface ServedKind {
  readonly group: string;
  readonly version: string;
  /** Plural name as in URLs. */
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly status: object | null;
  readonly scale: object | null;
  readonly subresources: readonly string[];
  /** Set for custom resources: the structural schema of this version. */
  readonly custom: { readonly schema: JsonObject } | null;
}

/** `api/v1` or `apis/GROUP/VERSION`, the name of a document in the index of v3. */
export function documentPath(kind: { group: string; version: string }): string {
  return kind.group === "" ? `api/${kind.version}` : `apis/${kind.group}/${kind.version}`;
}

/** `io.istio.security.v1.AuthorizationPolicy`, the name of a custom kind's definition. */
export function customName(kind: ServedKind): string {
  return [...kind.group.split(".").toReversed(), kind.version, kind.kind].join(".");
}
