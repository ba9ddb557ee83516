// Owns the reaction to changed trust: new revocation lists, and new bundles that came with a certificate, are held against every live tunnel.
import type { CertBundle, CrlFile, PeerTrust } from "@ambit/proxy/identity";
import type { Identity } from "@ambit/core";
import type { Logger } from "@ambit/runtime";

export interface TrustWatchOptions {
  readonly trust: PeerTrust;
  readonly crls: CrlFile | undefined;
  readonly certificates: { onRotate(listener: (certificate: CertBundle & { readonly identity: Identity }) => void): () => void };
  readonly log: Logger;
}

/** Returns the way to stop, which closes the file too. */
export function watchTrust(o: TrustWatchOptions): () => void {
  const say = (tunnels: number, why: string): void => { if (tunnels > 0) o.log.warn("tunnels cut", { tunnels, why }); };
  const stopLists = o.crls?.onChange(() => say(o.trust.listsChanged(), "a certificate was revoked"));
  const stopBundles = o.certificates.onRotate((certificate) => say(o.trust.bundleChanged(certificate.identity, certificate), "the trust bundle changed"));
  return () => {
    stopLists?.();
    stopBundles();
    o.crls?.close();
  };
}
