// Owns the one table of failures: what each code means to a peer, a log, a metric and a retry. docs/errors.md is made from it.

export type FaultKind = "verdict" | "fault" | "reject" | "defect";
/** ztunnel's response flags in metrics; `-` is none. */
export type Flag = "-" | "DENY" | "CONNECT" | "TLS_FAILURE" | "H2_HANDSHAKE_FAILURE" | "NETWORK_POLICY" | "IDENTITY_ERROR" | "CERT_REVOKED";

export interface FaultRow {
  readonly kind: FaultKind;
  readonly flag: Flag;
  /** Status a tunnel peer gets; undefined: the stream is reset, there is nothing to say. */
  readonly hbone: number | undefined;
  /** Status an HTTP client of a waypoint gets. */
  readonly http: number | undefined;
  readonly level: "error" | "warn" | "info" | "debug";
  readonly retry: "no" | "once" | "yes" | "by-status" | "idempotent";
  /** What the message of such a failure must name. */
  readonly names: string;
}

const row = (kind: FaultKind, flag: Flag, hbone: number | undefined, http: number | undefined, level: FaultRow["level"], retry: FaultRow["retry"], names: string): FaultRow =>
  ({ kind, flag, hbone, http, level, retry, names });

export const FAULTS = {
  "policy-denied": row("verdict", "DENY", 401, 403, "warn", "no", "the policy, or that no allow policy matched"),
  "policy-revoked": row("verdict", "DENY", undefined, 403, "warn", "no", "the policy that now denies"),
  "self-call": row("verdict", "DENY", 503, 400, "warn", "no", "the port"),
  "unknown-source": row("verdict", "CONNECT", 503, undefined, "warn", "no", "the pod and how long we waited"),
  "destination-mismatch": row("reject", "DENY", 400, undefined, "warn", "no", "both addresses"),
  "no-healthy-endpoint": row("verdict", "CONNECT", 503, 503, "warn", "once", "the service, its endpoints in total and healthy"),
  "no-such-port": row("verdict", "CONNECT", 503, 503, "warn", "no", "the service, the port, the known ports"),
  "unknown-waypoint": row("verdict", "CONNECT", 503, 503, "warn", "no", "the waypoint and what named it"),
  "unknown-host": row("verdict", "CONNECT", 503, 503, "warn", "no", "the hostname of the authority"),
  "unsupported": row("verdict", "CONNECT", 503, 503, "warn", "no", "what was asked for and is not built"),
  "bad-authority": row("reject", "CONNECT", 400, 400, "warn", "no", "the authority"),
  "identity-unavailable": row("fault", "IDENTITY_ERROR", 503, 503, "error", "yes", "the identity, the CA's error, the next attempt"),
  "identity-mismatch": row("fault", "TLS_FAILURE", undefined, 503, "error", "no", "the expected set and what was presented"),
  "tls-handshake": row("fault", "TLS_FAILURE", undefined, 503, "warn", "yes", "the TLS library's reason"),
  "h2-handshake": row("fault", "H2_HANDSHAKE_FAILURE", undefined, 503, "warn", "yes", "the SETTINGS or GOAWAY code"),
  "connect-timeout": row("fault", "CONNECT", 503, 504, "warn", "yes", "the next hop"),
  "tunnel-timeout": row("fault", "NETWORK_POLICY", 503, 504, "warn", "yes", "the next hop and that a NetworkPolicy may block 15008"),
  "connect-refused": row("fault", "CONNECT", 503, 503, "warn", "yes", "the next hop"),
  "tunnel-refused": row("fault", "CONNECT", undefined, 503, "warn", "by-status", "the peer's status"),
  "upstream-reset": row("fault", "-", undefined, 502, "debug", "idempotent", "the bytes so far"),
  "downstream-reset": row("fault", "-", undefined, undefined, "debug", "no", "the bytes so far"),
  "dns-failed": row("fault", "CONNECT", 503, 503, "warn", "yes", "the hostname and the resolver"),
  "drained": row("fault", "-", undefined, 503, "info", "yes", "the deadline"),
  "overloaded": row("fault", "-", 503, 503, "warn", "no", "which bound and its value"),
  "need-exhausted": row("fault", "CONNECT", 503, 503, "warn", "no", "the last need"),
  "defect": row("defect", "-", undefined, 500, "error", "no", "the invariant"),
} as const satisfies Record<string, FaultRow>;

export type FaultCode = keyof typeof FAULTS;
export const faultRow = (code: FaultCode): FaultRow => FAULTS[code];
export const FAULT_CODES = Object.keys(FAULTS) as readonly FaultCode[];
