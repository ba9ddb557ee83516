// Owns what is known about the other end of a tunnel.
import type { Identity, SocketAddress } from "@ambit/core";

export interface PeerInfo {
  /** Verified by the TLS handshake. */
  readonly identity: Identity;
  /** SHA-256 of the leaf certificate (DER), lower-case hexadecimal. */
  readonly certificateFingerprint: string;
  readonly remote: SocketAddress;
  readonly local: SocketAddress;
}
