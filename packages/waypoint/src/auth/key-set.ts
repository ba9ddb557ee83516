// Owns public keys of issuers: reading a JWKS (RFC 7517) and which key an algorithm may use, so that no token can choose its own check.
import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { err, ok, type Result } from "@ambit/core";

/** Octets of one key set: an issuer has a handful of keys of a kilobyte each. */
const JWKS_MAX = 256 * 1024;
const KEYS_MAX = 100;
/** Bits: shorter RSA keys prove nothing today (RFC 7518 §3.3). */
const RSA_MIN_BITS = 2048;

export interface PublicKey {
  readonly id: string | undefined;
  /** Which algorithms it verifies: of its kind, or the one that it names. */
  readonly algorithms: readonly string[];
  readonly key: KeyObject;
}

const RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const CURVES: Readonly<Record<string, readonly string[]>> = { "P-256": ["ES256"], "P-384": ["ES384"], "P-521": ["ES512"], Ed25519: ["EdDSA"] };

/** Public signing keys. Keys of kinds that are no use here (symmetric ones are never used, encryption keys) are left out; nothing left is an error. */
export function parseKeySet(text: string): Result<readonly PublicKey[], string> {
  if (text.length > JWKS_MAX) return err(`longer than ${JWKS_MAX} octets`);
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (error) {
    return err(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const list: unknown = typeof read === "object" && read !== null && "keys" in read ? read.keys : undefined;
  if (!Array.isArray(list)) return err("no list of keys");
  if (list.length > KEYS_MAX) return err(`more than ${KEYS_MAX} keys`);
  const keys = list.flatMap((item: unknown) => publicKey(item) ?? []);
  return keys.length === 0 ? err("no key that verifies signatures") : ok(keys);
}

function publicKey(item: unknown): PublicKey | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const { kty, crv, alg, kid, use, n, e, x, y } = item as Readonly<Record<string, unknown>>;
  if (use !== undefined && use !== "sig") return undefined;
  const possible = kty === "RSA" ? RSA : (kty === "EC" || kty === "OKP") && typeof crv === "string" && Object.hasOwn(CURVES, crv) ? (CURVES[crv] ?? []) : [];
  const algorithms = alg === undefined ? possible : possible.filter((a) => a === alg);
  if (algorithms.length === 0) return undefined;
  try {
    // Only the public parts: a private key that was published must not become one here.
    const jwk = JSON.parse(JSON.stringify({ kty, crv, n, e, x, y })) as JsonWebKey;
    const key = createPublicKey({ key: jwk, format: "jwk" });
    if (kty === "RSA" && (key.asymmetricKeyDetails?.modulusLength ?? 0) < RSA_MIN_BITS) return undefined;
    return { id: typeof kid === "string" ? kid : undefined, algorithms, key };
  } catch {
    return undefined;
  }
}

/** Key sets by their text; parsed once. */
export class KeySets {
  readonly #sets = new Map<string, Result<readonly PublicKey[], string>>();

  get(text: string): Result<readonly PublicKey[], string> {
    const known = this.#sets.get(text);
    if (known !== undefined) return known;
    if (this.#sets.size >= SETS_MAX) this.#sets.clear();
    const parsed = parseKeySet(text);
    this.#sets.set(text, parsed);
    return parsed;
  }
}
/** One for each issuer and each of its rotations; beyond, they are parsed again. */
const SETS_MAX = 64;
