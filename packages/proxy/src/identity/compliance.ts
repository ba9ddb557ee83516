// Owns Istio's variable for what TLS of a proxy must be beyond what it is anyway.
import { env } from "@ambit/runtime";
import { requirePostQuantum } from "@ambit/transport";

export const COMPLIANCE = {
  ...env.string("COMPLIANCE_POLICY", "", "`pqc`: TLS without a post-quantum key exchange (X25519MLKEM768) fails: tunnels, the control plane, servers outside the mesh"),
  parse: (text: string): string => {
    if (text !== "pqc") throw new Error(`"${text}" is not supported; \`pqc\` is`);
    return text;
  },
};

/** In each thread, before it makes its first connection. */
export function comply(policy: string): void {
  if (policy === "pqc") requirePostQuantum();
}
