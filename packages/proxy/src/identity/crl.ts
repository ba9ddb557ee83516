// Owns certificate revocation lists (RFC 5280 §5): what they say, and whether a peer's certificate is on one.
import { verify as verifySignature, type X509Certificate } from "node:crypto";
import { err, ok, type Result } from "@ambit/core";
import { elements, expectTag, hex } from "./der.ts";

export interface Crl {
  /** The issuer's name, DER in hexadecimal: names are compared octet for octet. */
  readonly issuer: string;
  /** Serial numbers, hexadecimal without leading zeros. */
  readonly serials: ReadonlySet<string>;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
  /** undefined: an algorithm that has its own digest. */
  readonly digest: string | undefined;
}

/** A list of a million entries is about this large; more is a mistake or an attack on memory. */
export const CRL_MAX_BYTES = 64 * 1024 * 1024;
const TAG = { sequence: 0x30, integer: 0x02, bits: 0x03, oid: 0x06, boolean: 0x01, extensions: 0xa0 } as const;
const PEM = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g;

/** The digest of each signature algorithm that a mesh CA may use, by its object identifier. */
const DIGESTS: Readonly<Record<string, string | undefined>> = {
  "2a8648ce3d040302": "sha256", "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512",
  "2a864886f70d01010b": "sha256", "2a864886f70d01010c": "sha384", "2a864886f70d01010d": "sha512", "2b6570": undefined,
};
/** What an extension may say without changing which certificates are meant: the authority's key, the list's number. */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set(["551d23", "551d14"]);

/** A file of PEM blocks (others than lists are passed over) or one DER list. Nothing at all revokes nothing. Refused whole when any list is. */
export function parseCrls(bytes: Buffer): Result<readonly Crl[], string> {
  if (bytes.length > CRL_MAX_BYTES) return err(`${bytes.length} bytes exceed ${CRL_MAX_BYTES}`);
  const text = bytes.toString("latin1");
  const pem = text.trimStart().startsWith("-----BEGIN");
  const ders = pem ? [...text.matchAll(PEM)].map((m) => Buffer.from(m[1] ?? "", "base64")) : text.trim() === "" ? [] : [bytes];
  const out: Crl[] = [];
  for (const [i, der] of ders.entries()) {
    try {
      out.push(parseOne(der));
    } catch (error) {
      return err(`list ${i + 1}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return ok(out);
}

function parseOne(der: Uint8Array): Crl {
  const [list, rest] = elements(der);
  const [tbs, algorithm, signature] = elements(expectTag(list, TAG.sequence, "certificate list"));
  if (rest !== undefined || tbs === undefined) throw new Error("not one certificate list");
  const fields = elements(expectTag(tbs, TAG.sequence, "list body"));
  if (fields[0]?.tag === TAG.integer) fields.shift();
  const [, issuer, , ...more] = fields;
  expectTag(issuer, TAG.sequence, "issuer");
  // nextUpdate is a time; the revoked certificates, if any, the only sequence here.
  const revoked = more.find((e) => e.tag === TAG.sequence);
  for (const e of more) if (e.tag === TAG.extensions) refuseUnknown(e.body);
  const bits = expectTag(signature, TAG.bits, "signature");
  return {
    issuer: hex(issuer?.whole ?? new Uint8Array()), signed: tbs.whole, signature: bits.subarray(1), digest: digestOf(expectTag(algorithm, TAG.sequence, "algorithm")),
    serials: new Set((revoked === undefined ? [] : elements(revoked.body)).map((entry) => serialText(expectTag(elements(expectTag(entry, TAG.sequence, "entry"))[0], TAG.integer, "serial number")))),
  };
}

function digestOf(algorithm: Uint8Array): string | undefined {
  const id = hex(expectTag(elements(algorithm)[0], TAG.oid, "algorithm id"));
  if (!Object.hasOwn(DIGESTS, id)) throw new Error(`signature algorithm ${id} is not supported`);
  return DIGESTS[id];
}

/** A critical extension narrows or widens the list (a delta, only some reasons): to skip it would let revoked certificates in. */
function refuseUnknown(extensions: Uint8Array): void {
  for (const e of elements(expectTag(elements(extensions)[0], TAG.sequence, "extensions"))) {
    const [id, critical] = elements(expectTag(e, TAG.sequence, "extension"));
    const name = hex(expectTag(id, TAG.oid, "extension id"));
    if (critical?.tag === TAG.boolean && critical.body[0] !== 0 && !KNOWN_EXTENSIONS.has(name)) throw new Error(`critical extension ${name} is not supported`);
  }
}

const serialText = (bytes: Uint8Array): string => hex(bytes).replace(/^0+(?=.)/, "");

interface Names { readonly issuer: string; readonly subject: string; readonly serial: string }

function namesOf(certificate: X509Certificate): Names {
  const [tbs] = elements(expectTag(elements(certificate.raw)[0], TAG.sequence, "certificate"));
  const fields = elements(expectTag(tbs, TAG.sequence, "certificate body"));
  if (fields[0]?.tag !== TAG.integer) fields.shift(); // the version
  const [serial, , issuer, , subject] = fields;
  return { serial: serialText(expectTag(serial, TAG.integer, "serial number")), issuer: hex(issuer?.whole ?? new Uint8Array()), subject: hex(subject?.whole ?? new Uint8Array()) };
}

/** Longer paths are no mesh's. */
const PATH_MAX = 8;

/**
 * Which certificate on the way from `leaf` to a root is revoked; undefined: none that is known. `others` are all certificates that may be
 * on that way. A list counts for a certificate that it names if the issuer's key signed it; where the issuer is not among `others` (a server
 * is not shown a client's intermediates) its name and the serial number must do. An outdated list still counts, as in Istio.
 */
export function revokedOn(leaf: X509Certificate, others: readonly X509Certificate[], crls: readonly Crl[]): string | undefined {
  let at = leaf;
  for (let depth = 0; depth < PATH_MAX; depth++) {
    const names = namesOf(at);
    const current = at;
    const issuer = others.find((c) => c.fingerprint256 !== current.fingerprint256 && namesOf(c).subject === names.issuer && current.verify(c.publicKey));
    const listed = crls.some((crl) => crl.issuer === names.issuer && crl.serials.has(names.serial) && (issuer === undefined || signedBy(crl, issuer)));
    if (listed) return `${depth === 0 ? "the certificate" : "an intermediate certificate"} with serial number ${names.serial} is on its issuer's revocation list`;
    if (issuer === undefined) return undefined;
    at = issuer;
  }
  return undefined;
}

const signedBy = (crl: Crl, issuer: X509Certificate): boolean => verifySignature(crl.digest, crl.signed, issuer.publicKey, crl.signature);
