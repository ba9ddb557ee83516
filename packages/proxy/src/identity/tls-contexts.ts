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

export interface TlsContexts {
  /** Waits for a certificate if there is none yet. Rejects with `identity-unavailable`. */
  credentials(identity: Identity): Promise<TlsCredentials>;
  forget(identity: Identity): void;
}

/** `fetch` gives the current certificate, obtaining one if necessary. */
export function createTlsContexts(fetch: (identity: Identity) => Promise<CertBundle>): TlsContexts {
  const made = new Map<string, { readonly bundle: CertBundle; readonly credentials: TlsCredentials }>();
  return {
    async credentials(identity) {
      const uri = formatIdentity(identity);
      const bundle = await fetch(identity).catch((cause: unknown) => {
        throw new MeshError("identity-unavailable", `no certificate for ${uri}: ${errorText(cause)}`, { cause });
      });
      const known = made.get(uri);
      if (known !== undefined && known.bundle.chainPem === bundle.chainPem && known.bundle.rootsPem === bundle.rootsPem) return known.credentials;
      const credentials = createTlsCredentials({ chain: bundle.chainPem, key: bundle.keyPem, roots: bundle.rootsPem });
      made.set(uri, { bundle, credentials });
      return credentials;
    },
    forget: (identity) => void made.delete(formatIdentity(identity)),
  };
}
