// Owns the reaction to changed trust: new revocation lists, and new bundles that came with a certificate, are held against every live tunnel.
import type { CertStore, CrlFile, PeerTrust } from "@ambit/proxy/identity";
import type { Logger } from "@ambit/runtime";

export interface TrustWatchOptions {
  readonly trust: PeerTrust;
  readonly crls: CrlFile | undefined;
  readonly certificates: Pick<CertStore, "onRotate">;
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
