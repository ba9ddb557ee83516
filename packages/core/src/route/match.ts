// Owns the shape of what a route asks of a request: path, method, headers, query, and where it comes from.

/** A value compared with text. `regex` is RE2 syntax and must match the whole value. */
export type TextMatch =
  | { readonly kind: "exact"; readonly value: string }
  | { readonly kind: "prefix"; readonly value: string }
  | { readonly kind: "regex"; readonly value: string }
  | { readonly kind: "present" };

/**
 * `path-prefix`: element-wise (`/abc` matches `/abc`, `/abc/`, `/abc/d`, not `/abcd`; Gateway API PathPrefix).
 * `prefix`: of the raw string (VirtualService). `ignoreCase` only with exact and prefix (VirtualService).
 */
export interface PathMatch {
  readonly kind: "exact" | "path-prefix" | "prefix" | "regex";
  readonly value: string;
  readonly ignoreCase: boolean;
}

/** Header names are lower case; `:authority` and `:scheme` may be named. `invert` = withoutHeaders. */
export interface HeaderMatch { readonly name: string; readonly value: TextMatch; readonly invert: boolean }
/** Of the first value of that name. */
export interface QueryMatch { readonly name: string; readonly value: TextMatch }

/** gRPC service and method; undefined = any. */
export interface GrpcMethodMatch {
  readonly kind: "exact" | "regex";
  readonly service: string | undefined;
  readonly method: string | undefined;
}

/** Every field that is given must hold. A field that is undefined or empty asks nothing. */
export interface RequestMatch {
  readonly path: PathMatch | undefined;
  readonly method: TextMatch | undefined;
  readonly grpc: GrpcMethodMatch | undefined;
  readonly headers: readonly HeaderMatch[];
  readonly query: readonly QueryMatch[];
  /** VirtualService sourceNamespace and sourceLabels, of the client's workload. */
  readonly sourceNamespace: string | undefined;
  readonly sourceLabels: Readonly<Record<string, string>>;
  /** Claims of the verified token (`@request.auth.claims.a`), by path. */
  readonly claims: readonly { readonly path: readonly string[]; readonly value: TextMatch; readonly invert: boolean }[];
}
