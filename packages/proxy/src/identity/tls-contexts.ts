// Owns the TLS credentials of our workloads: one context per identity and certificate, made anew when the certificate changes.
import { formatIdentity, MeshError, type Identity } from "@ambit/core";
import { createTlsCredentials, type TlsCredentials } from "@ambit/transport";
import { errorText } from "@ambit/runtime";

/** What a certificate store hands out. */
export interface CertBundle {
  readonly chainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
}

/** The credentials, and what they were made of: peers are judged by its roots. */
export interface TlsMaterial { readonly credentials: TlsCredentials; readonly bundle: CertBundle }

export interface TlsContexts {
  /** Waits for a certificate if there is none yet. Rejects with `identity-unavailable`. */
  material(identity: Identity): Promise<TlsMaterial>;
  forget(identity: Identity): void;
}

/** `fetch` gives the current certificate, obtaining one if necessary. */
export function createTlsContexts(fetch: (identity: Identity) => Promise<CertBundle>): TlsContexts {
  const made = new Map<string, TlsMaterial>();
  return {
    async material(identity) {
      const uri = formatIdentity(identity);
      const bundle = await fetch(identity).catch((cause: unknown) => {
        throw new MeshError("identity-unavailable", `no certificate for ${uri}: ${errorText(cause)}`, { cause });
      });
      const known = made.get(uri);
      if (known !== undefined && known.bundle.chainPem === bundle.chainPem && known.bundle.rootsPem === bundle.rootsPem) return known;
      const credentials = createTlsCredentials({ chain: bundle.chainPem, key: bundle.keyPem, roots: bundle.rootsPem });
      const material = { bundle, credentials };
      made.set(uri, material);
      return material;
    },
    forget: (identity) => void made.delete(formatIdentity(identity)),
  };
}
