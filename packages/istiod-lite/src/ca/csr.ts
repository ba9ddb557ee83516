// Owns the reading of certificate requests (PKCS#10, RFC 2986) from peers: what is refused, and why.
import { createPublicKey, type KeyObject } from "node:crypto";
import { err, ok, type Result } from "@ambit/core";
import { readChildren, readWhole, TAG } from "./der.ts";
import { pemBlocks } from "./pem.ts";
import { checkSignature, wholeBits } from "./signature.ts";

/** An RSA-8192 request is 3 KiB; anything near this is not a request. */
export const CSR_MAX_BYTES = 16 * 1024;
/** Below this RSA is breakable; above the upper bound verification costs too much. */
const RSA_MIN_BITS = 2048;
const RSA_MAX_BITS = 8192;
const CURVES: ReadonlySet<string> = new Set(["prime256v1", "secp384r1", "secp521r1"]);

export interface SigningRequest {
  /** DER of the SubjectPublicKeyInfo, as the certificate will carry it. */
  readonly publicKey: Buffer;
  readonly keyType: string;
}

/** Proves that the sender holds the key. Names in the request are not read: the identity comes from elsewhere. */
export function parseCsr(pem: string): Result<SigningRequest, string> {
  if (pem.length > CSR_MAX_BYTES) return err(`csr: longer than ${CSR_MAX_BYTES} bytes`);
  const blocks = pemBlocks(pem).filter((b) => b.label === "CERTIFICATE REQUEST" || b.label === "NEW CERTIFICATE REQUEST");
  const [block] = blocks;
  if (block === undefined) return err("csr: no PEM block CERTIFICATE REQUEST");
  if (blocks.length > 1) return err("csr: more than one PEM block CERTIFICATE REQUEST");
  try {
    return parseDer(block.der);
  } catch (error) {
    // Our reader and OpenSSL throw on hostile bytes; none of it is ours.
    return err(`csr: not a certificate request: ${error instanceof Error ? error.message.slice(0, 200) : "unreadable"}`);
  }
}

function parseDer(bytes: Buffer): Result<SigningRequest, string> {
  const [info, algorithm, signature, ...more] = readChildren(readWhole(bytes, "the request"), TAG.sequence, "the request");
  if (info === undefined || algorithm === undefined || signature === undefined || more.length > 0) throw new Error("it does not have its three parts");
  const [version, subject, spki] = readChildren(info, TAG.sequence, "the request's body");
  if (version === undefined || subject === undefined || spki === undefined) throw new Error("the body is cut short");
  if (version.tag !== TAG.integer || version.content.length !== 1 || version.content[0] !== 0) throw new Error("its version is not 0");
  if (subject.tag !== TAG.sequence || spki.tag !== TAG.sequence) throw new Error("subject or key is not a sequence");
  const key = createPublicKey({ key: spki.whole, format: "der", type: "spki" });
  const bad = refuseKey(key);
  if (bad !== undefined) return err(bad);
  if (!checkSignature(algorithm.whole, info.whole, key, wholeBits(signature))) return err("csr: the signature does not match its key");
  // As OpenSSL writes the key it read: what the peer adds around it does not get into a certificate.
  return ok({ publicKey: key.export({ type: "spki", format: "der" }), keyType: key.asymmetricKeyType ?? "" });
}

function refuseKey(key: KeyObject): string | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case "ec":
      return CURVES.has(details?.namedCurve ?? "") ? undefined : `csr: the curve ${details?.namedCurve ?? "(none)"} is not one of P-256, P-384, P-521`;
    case "rsa": {
      const bits = details?.modulusLength ?? 0;
      if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS) return `csr: an RSA key of ${bits} bits; ${RSA_MIN_BITS} to ${RSA_MAX_BITS} are accepted`;
      return (details?.publicExponent ?? 0n) < 3n ? "csr: an RSA key with a public exponent below 3" : undefined;
    }
    case "ed25519":
      return undefined;
    default:
      return `csr: a key of type ${key.asymmetricKeyType ?? "unknown"} is not accepted`;
  }
}
