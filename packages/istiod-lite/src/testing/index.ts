// Public names of @ambit/istiod-lite/testing: pieces of the control plane for simulations. Only for tests.
export { createSelfSigned, loadAuthority, type Authority } from "../ca/authority.ts";
export { AUTHORITY_USES, authorityKeyId, keyIdOf, organizationName, signCertificate, subjectKeyId } from "../ca/certificate.ts";
export { keepAuthority, REREAD_MS, type AuthorityKeeper, type AuthoritySource, type Material, type StoredRoots } from "../ca/keeper.ts";
export { createRoller, type Roller } from "../ca/roller.ts";
export { signWorkload } from "../ca/sign.ts";
export { addressSource } from "../push/address.ts";
export { authorizationSource } from "../push/authorization.ts";
export { createTicker, type Ticker } from "../push/debounce.ts";
export { createInbox, type Inbox } from "../sources/inbox.ts";
export type { SelfSignedRoot } from "../root-secret.ts";
export { auditServed } from "../push/audit.ts";
export { encodeAddress, encodePolicy } from "../push/encode.ts";
export { buildMesh, type Mesh } from "../collections/graph.ts";
export { DEFAULT_SETTINGS } from "../collections/settings.ts";
export { SOURCE_KINDS } from "../collections/kinds.ts";
export { watchKubernetes, type KubernetesSources } from "../sources/kubernetes.ts";
