// Public names of @ambit/proxy/identity: certificates, and who a TLS peer is.
export { createCaClient, type CaClient } from "./ca-client.ts";
export { createCertStore, type CertStatus, type CertStore, type WorkloadCertificate } from "./cert-store.ts";
export { openCrlFile, type CrlFile } from "./crl-file.ts";
export { createPeerTrust, type PeerToTrust, type PeerTrust } from "./peer-trust.ts";
export { identityOfLeaf, verifyExpected, verifyTrustDomain } from "./peer-identity.ts";
export { comply, COMPLIANCE } from "./compliance.ts";
export { createTlsContexts, type CertBundle, type TlsContexts, type TlsMaterial } from "./tls-contexts.ts";
