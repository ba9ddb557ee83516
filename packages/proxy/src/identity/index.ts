// Public names of @ambit/proxy/identity: certificates, and who a TLS peer is.
export { createCaClient, type CaClient } from "./ca-client.ts";
export { createCertStore, type CertStatus, type CertStore, type WorkloadCertificate } from "./cert-store.ts";
export { identityOfLeaf, verifyExpected, verifyTrustDomain } from "./peer-identity.ts";
export { createTlsContexts, type CertBundle, type TlsContexts } from "./tls-contexts.ts";
