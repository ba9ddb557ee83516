// Owns how a certificate is put together (RFC 5280): parts in, signed DER and PEM out. What the parts should be is decided elsewhere.
import { createHash, randomBytes, type KeyObject, type X509Certificate } from "node:crypto";
import { bits, context, der, integer, octets, oid, readChildren, readWhole, sequence, TAG, time, TRUE, type Element } from "./der.ts";
import { toPem } from "./pem.ts";
import { algorithmOf, signWith } from "./signature.ts";

export interface CertificateParts {
  /** DER of the issuer's Name. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** DER of each Extension. */
  readonly extensions: readonly Buffer[];
}

const VERSION_3 = context(0, true, integer(Buffer.from([2])));
export const EMPTY_NAME = sequence();

/** The certificate as PEM. */
export async function signCertificate(parts: CertificateParts, key: KeyObject): Promise<string> {
  const algorithm = algorithmOf(key);
  if (algorithm === undefined) throw new Error(`defect: a key of type ${key.asymmetricKeyType ?? "unknown"} got past the check`);
  const body = sequence(VERSION_3, integer(newSerial()), algorithm.identifier, parts.issuer, sequence(time(parts.notBefore), time(parts.notAfter)),
    parts.subject, parts.publicKey, context(3, true, sequence(...parts.extensions)));
  return toPem("CERTIFICATE", sequence(body, algorithm.identifier, bits(await signWith(key, algorithm, body))));
}

/** 127 random bits, positive, never zero (RFC 5280 §4.1.2.2 asks for at most 20 octets). */
function newSerial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = 0x40 | ((bytes[0] ?? 0) & 0x3f);
  return bytes;
}

const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [TRUE] : []), octets(value));

export const organizationName = (name: string): Buffer => sequence(der(TAG.set, sequence(oid("2.5.4.10"), der(TAG.utf8, Buffer.from(name)))));

/** With an empty subject the names must be critical (RFC 5280 §4.2.1.6). */
export const subjectAltNames = (names: { readonly uri?: string; readonly dnsNames?: readonly string[] }): Buffer =>
  extension("2.5.29.17", true, sequence(...(names.uri === undefined ? [] : [context(6, false, Buffer.from(names.uri, "latin1"))]), ...(names.dnsNames ?? []).map((n) => context(2, false, Buffer.from(n, "latin1")))));

/** Digital signature and key encipherment; TLS server and client; not an authority. */
export const LEAF_USES: readonly Buffer[] = [
  extension("2.5.29.15", true, bits(Buffer.from([0xa0]), 5)),
  extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))),
  extension("2.5.29.19", true, sequence()),
];
/** Signs certificates and revocation lists, nothing else. */
export const AUTHORITY_USES: readonly Buffer[] = [extension("2.5.29.19", true, sequence(TRUE)), extension("2.5.29.15", true, bits(Buffer.from([0x06]), 1))];

export const subjectKeyId = (id: Buffer): Buffer => extension("2.5.29.14", false, octets(id));
export const authorityKeyId = (id: Buffer): Buffer => extension("2.5.29.35", false, sequence(context(0, false, id)));

/** SHA-1 over the key's bits (RFC 5280 §4.2.1.2, method 1). */
export function keyIdOf(publicKey: Buffer): Buffer {
  const [, key] = readChildren(readWhole(publicKey, "the public key"), TAG.sequence, "the public key");
  return createHash("sha1").update((key?.content ?? Buffer.alloc(1)).subarray(1)).digest();
}

export interface IssuerFacts {
  /** DER of its subject, which its leaves name as their issuer, byte for byte. */
  readonly name: Buffer;
  readonly keyId: Buffer;
}

/** Throws on a certificate that is not one of version 3; Node has parsed it before. */
export function issuerFacts(certificate: X509Certificate): IssuerFacts {
  const [body] = readChildren(readWhole(certificate.raw, "the certificate"), TAG.sequence, "the certificate");
  if (body === undefined) throw new Error("the certificate is empty");
  const fields = readChildren(body, TAG.sequence, "the certificate's body");
  // [0] version is there in every certificate that may have extensions; without it everything is one place earlier.
  const at = fields[0]?.tag === 0xa0 ? 4 : 3;
  const [name, publicKey] = [fields[at + 1], fields[at + 2]];
  if (name === undefined || publicKey === undefined) throw new Error("the certificate has no subject or no key");
  return { name: name.whole, keyId: statedKeyId(fields) ?? keyIdOf(publicKey.whole) };
}

const SUBJECT_KEY_ID = oid("2.5.29.14");

function statedKeyId(fields: readonly Element[]): Buffer | undefined {
  const list = fields.find((f) => f.tag === 0xa3);
  if (list === undefined) return undefined;
  for (const e of readChildren(readWhole(list.content, "the extensions"), TAG.sequence, "the extensions")) {
    const parts = readChildren(e, TAG.sequence, "an extension");
    if (parts[0]?.whole.equals(SUBJECT_KEY_ID) === true) return readWhole(parts.at(-1)?.content ?? Buffer.alloc(0), "the key identifier").content;
  }
  return undefined;
}
