// Owns the bounds of HTTP/1.1 messages and what is said of one that is refused.

export interface H1Limits {
  /** Octets of a head, start line included; trailers meet the same bound. */
  readonly headMax: number;
  /** Fields of a head, or of trailers. */
  readonly fieldsMax: number;
}

/** Envoy's defaults: what works through another proxy works through ours. */
export const H1_LIMITS: H1Limits = { headMax: 60 << 10, fieldsMax: 100 };

/** Octets of a chunk's size line: 16 digits and an extension that nobody uses; extensions without end are an attack. */
export const CHUNK_LINE_MAX = 256;
/** Digits of a chunk size: beyond 2^52 nothing can be counted. */
export const CHUNK_DIGITS_MAX = 13;
/** Empty lines before a start line that are passed over (RFC 9112 §2.2 asks for one). */
export const EMPTY_LINES_MAX = 2;
/** Informational answers before the final one. */
export const INFORMATIONAL_MAX = 32;
/** Names in `Connection`: eight are known. */
export const CONNECTION_OPTIONS_MAX = 16;

/** Why a message is refused. `status`: what a server answers (a client's caller answers 502). */
export interface H1Problem { readonly status: 400 | 417 | 431 | 501 | 505; readonly reason: string }

/** Thrown inside the codec only. */
export class H1Error extends Error {
  override readonly name = "H1Error";
  readonly status: H1Problem["status"];

  constructor(status: H1Problem["status"], reason: string) {
    super(reason);
    this.status = status;
  }
}
