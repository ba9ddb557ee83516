// Owns how a key signs and how a signature is checked: the algorithm identifier on paper, the digest in use (RFC 5758, 8017, 8410).
import { sign as signNow, verify, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { oid, sequence, TAG } from "./der.ts";

interface Algorithm {
  /** DER of the AlgorithmIdentifier. */
  readonly identifier: Buffer;
  /** null: the key decides (Ed25519). */
  readonly digest: string | null;
}

const NULL = Buffer.from([0x05, 0x00]);
const ecdsa = (last: number, digest: string): Algorithm => ({ identifier: sequence(oid(`1.2.840.10045.4.3.${last}`)), digest });
const rsa = (last: number, digest: string): Algorithm => ({ identifier: sequence(oid(`1.2.840.113549.1.1.${last}`), NULL), digest });
const ECDSA: Readonly<Record<string, Algorithm>> = { prime256v1: ecdsa(2, "sha256"), secp384r1: ecdsa(3, "sha384"), secp521r1: ecdsa(4, "sha512") };
const RSA = rsa(11, "sha256");
const ED25519: Algorithm = { identifier: sequence(oid("1.3.101.112")), digest: null };

/** undefined: this kind of key cannot sign here. */
export function algorithmOf(key: KeyObject): Algorithm | undefined {
  if (key.asymmetricKeyType === "rsa") return RSA;
  if (key.asymmetricKeyType === "ed25519") return ED25519;
  return key.asymmetricKeyType === "ec" ? ECDSA[key.asymmetricKeyDetails?.namedCurve ?? ""] : undefined;
}

const signLater = promisify((digest: string | null, data: Buffer, key: KeyObject, done: (error: Error | null, signature: Buffer) => void) => signNow(digest, data, key, done));

/** RSA costs milliseconds and goes to the thread pool; a curve costs less than the way there. */
export function signWith(key: KeyObject, algorithm: Algorithm, data: Buffer): Buffer | Promise<Buffer> {
  return key.asymmetricKeyType === "rsa" ? signLater(algorithm.digest, data, key) : signNow(algorithm.digest, data, key);
}

/** Algorithms a request may be signed with, by their identifier: the digest, and the kind of key it takes. */
const ACCEPTED = new Map<string, { digest: string | null; key: string }>([
  ...[ecdsa(2, "sha256"), ecdsa(3, "sha384"), ecdsa(4, "sha512")].map((a) => [a, "ec"] as const),
  ...[RSA, rsa(12, "sha384"), rsa(13, "sha512")].map((a) => [a, "rsa"] as const),
  [ED25519, "ed25519"] as const,
].map(([a, key]) => [a.identifier.toString("hex"), { digest: a.digest, key }]));

/** False also for an algorithm that is not accepted or does not fit the key. */
export function checkSignature(identifier: Buffer, data: Buffer, key: KeyObject, signature: Buffer): boolean {
  const algorithm = ACCEPTED.get(identifier.toString("hex"));
  return algorithm !== undefined && algorithm.key === key.asymmetricKeyType && verify(algorithm.digest, data, key, signature);
}

/** The bytes of a BIT STRING of whole octets. */
export function wholeBits(element: { tag: number; content: Buffer }): Buffer {
  if (element.tag !== TAG.bits || element.content[0] !== 0) throw new Error("the signature is not a BIT STRING of whole octets");
  return element.content.subarray(1);
}
