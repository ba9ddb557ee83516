// Owns the one table of failures: what each code means to a peer, in a metric and in a message. docs/errors.md is made from it.

export type FaultKind = "verdict" | "fault" | "reject" | "defect";
/** ztunnel's response flags in metrics; `-` is none. */
export type Flag = "-" | "DENY" | "CONNECT" | "TLS_FAILURE" | "H2_HANDSHAKE_FAILURE" | "NETWORK_POLICY" | "IDENTITY_ERROR" | "CERT_REVOKED";

export interface FaultRow {
  readonly kind: FaultKind;
  readonly flag: Flag;
  /** Status a tunnel peer gets; undefined: the stream is reset, there is nothing to say. */
  readonly hbone: number | undefined;
  /** What the message of such a failure must name. */
  readonly names: string;
}

const row = (kind: FaultKind, flag: Flag, hbone: number | undefined, names: string): FaultRow => ({ kind, flag, hbone, names });

export const FAULTS = {
  "policy-denied": row("verdict", "DENY", 401, "the policy, or that no allow policy matched"),
  "policy-revoked": row("verdict", "DENY", undefined, "the policy that now denies"),
  "self-call": row("verdict", "DENY", 503, "the port"),
  "unknown-source": row("verdict", "CONNECT", 503, "the pod and how long we waited"),
  "destination-mismatch": row("reject", "DENY", 400, "both addresses"),
  "no-healthy-endpoint": row("verdict", "CONNECT", 503, "the service, its endpoints in total and healthy"),
  "no-such-port": row("verdict", "CONNECT", 503, "the service, the port, the known ports"),
  "unknown-waypoint": row("verdict", "CONNECT", 503, "the waypoint and what named it"),
  "unknown-gateway": row("verdict", "CONNECT", 503, "the network gateway, or what crossing to the other network lacks"),
  "unknown-host": row("verdict", "CONNECT", 503, "the hostname of the authority"),
  "unsupported": row("verdict", "CONNECT", 503, "what was asked for and is not built"),
  "not-served": row("verdict", "CONNECT", 404, "what was asked for and the waypoint"),
  "no-configuration": row("verdict", "CONNECT", 503, "that none has come"),
  "bad-authority": row("reject", "CONNECT", 400, "the authority"),
  "identity-unavailable": row("fault", "IDENTITY_ERROR", 503, "the identity, the CA's error, the next attempt"),
  "identity-mismatch": row("fault", "TLS_FAILURE", undefined, "the expected set and what was presented"),
  "cert-revoked": row("fault", "CERT_REVOKED", undefined, "which certificate, and its serial number"),
  "trust-changed": row("fault", "TLS_FAILURE", undefined, "that the bundle changed"),
  "tls-handshake": row("fault", "TLS_FAILURE", undefined, "the TLS library's reason"),
  "h2-handshake": row("fault", "H2_HANDSHAKE_FAILURE", undefined, "the SETTINGS or GOAWAY code"),
  "connect-timeout": row("fault", "CONNECT", 503, "the next hop"),
  "tunnel-timeout": row("fault", "NETWORK_POLICY", 503, "the next hop and that a NetworkPolicy may block 15008"),
  "connect-refused": row("fault", "CONNECT", 503, "the next hop"),
  "tunnel-refused": row("fault", "CONNECT", undefined, "the peer's status, and its own code if it tells"),
  "peer-denied": row("fault", "DENY", undefined, "the peer's status, and the policy if it tells"),
  "upstream-reset": row("fault", "-", undefined, "what broke in the tunnel"),
  "downstream-reset": row("fault", "-", undefined, "the next hop that was being connected to"),
  "dns-failed": row("fault", "CONNECT", 503, "the hostname and the resolver"),
  "drained": row("fault", "-", undefined, "the deadline"),
  "overloaded": row("fault", "-", 503, "which bound and its value"),
  "lookup-timeout": row("fault", "CONNECT", 503, "the name that the control plane was asked for"),
  "need-exhausted": row("fault", "CONNECT", 503, "the last need"),
  "defect": row("defect", "-", undefined, "the invariant"),
} as const satisfies Record<string, FaultRow>;

export type FaultCode = keyof typeof FAULTS;
export const faultRow = (code: FaultCode): FaultRow => FAULTS[code];
export const FAULT_CODES = Object.keys(FAULTS) as readonly FaultCode[];
