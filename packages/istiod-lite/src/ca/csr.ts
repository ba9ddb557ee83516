// Owns the reading of certificate requests (PKCS#10, RFC 2986) from peers: what is refused, and why.
import { createPublicKey, type KeyObject } from "node:crypto";
import { err, ok, type Result } from "@ambit/core";
import { pemBlocks } from "./pem.ts";
import { x509 } from "./x509.ts";

/** An RSA-8192 request is 3 KiB; anything near this is not a request. */
export const CSR_MAX_BYTES = 16 * 1024;
/** Below this RSA is breakable; above the upper bound verification costs too much. */
const RSA_MIN_BITS = 2048;
const RSA_MAX_BITS = 8192;
const CURVES: ReadonlySet<string> = new Set(["prime256v1", "secp384r1", "secp521r1"]);

export interface SigningRequest {
  readonly publicKey: InstanceType<typeof x509.PublicKey>;
  readonly keyType: string;
}

/** Proves that the sender holds the key. Names in the request are not read: the identity comes from elsewhere. */
export async function parseCsr(pem: string): Promise<Result<SigningRequest, string>> {
  if (pem.length > CSR_MAX_BYTES) return err(`csr: longer than ${CSR_MAX_BYTES} bytes`);
  const blocks = pemBlocks(pem).filter((b) => b.label === "CERTIFICATE REQUEST" || b.label === "NEW CERTIFICATE REQUEST");
  const [block] = blocks;
  if (block === undefined) return err("csr: no PEM block CERTIFICATE REQUEST");
  if (blocks.length > 1) return err("csr: more than one PEM block CERTIFICATE REQUEST");
  try {
    const csr = new x509.Pkcs10CertificateRequest(block.der);
    const key = createPublicKey({ key: Buffer.from(csr.publicKey.rawData), format: "der", type: "spki" });
    const bad = refuseKey(key);
    if (bad !== undefined) return err(bad);
    if (!(await csr.verify())) return err("csr: the signature does not match its key");
    return ok({ publicKey: csr.publicKey, keyType: key.asymmetricKeyType ?? "" });
  } catch (error) {
    // The parser throws errors of many kinds on hostile bytes; none of them is ours.
    return err(`csr: not a certificate request: ${error instanceof Error ? error.message.slice(0, 200) : "unreadable"}`);
  }
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
