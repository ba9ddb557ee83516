// Owns which key exchanges TLS of this thread agrees to.
import tls from "node:tls";

const POST_QUANTUM = "X25519MLKEM768";
/** Post-quantum first, then what every peer has. */
let groups = `${POST_QUANTUM}:X25519:P-256`;

/** In OpenSSL's words, of tunnels. */
export const tunnelGroups = (): string => groups;

/**
 * From now on TLS of this thread is 1.3 with a post-quantum key exchange, or fails: tunnels, the control plane, servers outside the mesh. Threads have each their own;
 * contexts that were made before stay as they are.
 */
export function requirePostQuantum(): void {
  groups = POST_QUANTUM;
  tls.DEFAULT_ECDH_CURVE = POST_QUANTUM;
  tls.DEFAULT_MIN_VERSION = "TLSv1.3";
}
