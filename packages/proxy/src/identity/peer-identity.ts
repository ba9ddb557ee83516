// Owns who a TLS peer is: the URI names of its certificate, read from the DER itself, and the checks against what we expect.
import { formatIdentity, parseIdentity, sameIdentity, type Identity, type Result } from "@ambit/core";
import { err } from "@ambit/core";
import { elements, expectTag, hex, type Element } from "./der.ts";

/** A certificate larger than this is not one of the mesh's. */
const LEAF_MAX_BYTES = 64 * 1024;
const SUBJECT_ALT_NAME = "551d11";
const BASIC_CONSTRAINTS = "551d13";
const TAG = { sequence: 0x30, boolean: 0x01, octets: 0x04, oid: 0x06, extensions: 0xa3, uri: 0x86 } as const;

/** Exactly one URI name, and it is a SPIFFE id: with two, each side could believe another one. */
export function identityOfLeaf(der: Uint8Array): Result<Identity, string> {
  let uris: readonly string[];
  try {
    uris = uriNames(der);
  } catch (error) {
    return err(`the peer's certificate cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const [uri] = uris;
  if (uri === undefined || uris.length > 1) return err(`the peer's certificate has ${uris.length} URI names instead of one`);
  return parseIdentity(uri);
}

/** Server side: anybody of the local workload's trust domain; policy restricts further. */
export function verifyTrustDomain(trustDomain: string): (der: Uint8Array) => Result<Identity, string> {
  return (der) => {
    const id = identityOfLeaf(der);
    if (!id.ok || id.value.trustDomain === trustDomain) return id;
    return err(`the peer ${formatIdentity(id.value)} is not of trust domain ${trustDomain}`);
  };
}

/** Client side: one of the identities that may serve the next hop. */
export function verifyExpected(expected: readonly Identity[]): (der: Uint8Array) => Result<Identity, string> {
  return (der) => {
    const id = identityOfLeaf(der);
    if (!id.ok || expected.some((e) => sameIdentity(e, id.value))) return id;
    return err(`the peer is ${formatIdentity(id.value)}, expected ${expected.map(formatIdentity).join(" or ")}`);
  };
}

/** RFC 5280 4.2.1.6: the uniformResourceIdentifier names, as written. Throws on DER that is not a certificate, and on one that is an authority's. */
export function uriNames(der: Uint8Array): string[] {
  if (der.length > LEAF_MAX_BYTES) throw new Error(`${der.length} bytes is too large`);
  const [certificate] = elements(der);
  const [tbs] = elements(expectTag(certificate, TAG.sequence, "certificate"));
  const extensions = elements(expectTag(tbs, TAG.sequence, "tbsCertificate")).find((e) => e.tag === TAG.extensions);
  if (extensions === undefined) return [];
  const [list] = elements(extensions.body);
  return elements(expectTag(list, TAG.sequence, "extensions")).flatMap((extension) => {
    const [id, ...rest] = elements(expectTag(extension, TAG.sequence, "extension"));
    const name = hex(expectTag(id, TAG.oid, "extension id"));
    if (name !== SUBJECT_ALT_NAME && name !== BASIC_CONSTRAINTS) return [];
    const [value] = elements(expectTag(rest.find((e) => e.tag !== TAG.boolean), TAG.octets, "extension value"));
    if (name === BASIC_CONSTRAINTS) return refuseAuthority(value);
    return elements(expectTag(value, TAG.sequence, "subjectAltName")).filter((n) => n.tag === TAG.uri).map((n) => Buffer.from(n.body).toString("latin1"));
  });
}

/** RFC 5280 4.2.1.9. An authority's key speaks for nobody: it would speak for everybody. */
function refuseAuthority(value: Element | undefined): never[] {
  const [ca] = elements(expectTag(value, TAG.sequence, "basicConstraints"));
  if (ca?.tag === TAG.boolean && ca.body[0] !== 0) throw new Error("it is an authority's");
  return [];
}
